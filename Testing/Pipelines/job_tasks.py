"""Small real tasks for the tests of the worker process; named to it through MRISEG_EXTRA_TASKS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from MRISegSuiteLib.errors import WrongContent
from MRISegSuiteLib.jobs import Measurement, Result

NAMES = [
    "copy", "sleep", "family", "wrong", "memory", "bug", "fill_disk", "die", "exit_quietly", "many_files",
    "torch_memory", "lists_absent", "segfault", "missing_package",
]
ENVIRONMENT = ";".join(f"{name}=job_tasks:{name}" for name in NAMES)


def copy(job, context):
    context.progress("Copying", 0.2)
    text = Path(job.inputs["image"]).read_text()
    (context.folder / "pictures").mkdir()
    (context.folder / "pictures" / "copy.txt").write_text(text)
    context.warn("only a copy")
    context.progress("Measuring", 0.6)
    return Result(
        files={"table": "pictures/copy.txt"},
        measurements=[Measurement("volume", "femur", "whole", len(text), "mm3", "counted", (1.0, float("nan")))],
        model={"id": "m", "version": "1", "sha256": "0" * 64},
        parameters={"side": "left"},
    )


def sleep(job, context):
    (context.folder / "half.txt").write_text("half")
    steps = int(job.parameters.get("steps", 600))
    for step in range(steps):
        context.progress("Sleeping", step / steps)
        time.sleep(job.parameters.get("step_s", 0.05))
    return Result(files={"table": "half.txt"})


def family(job, context):
    """A child in our group, a grandchild in a session of its own; both write their pids beside the job."""
    pids = Path(job.parameters["pids"])
    tell = f"import os, subprocess, sys, time; open({str(pids)!r}, 'a').write(str(os.getpid()) + '\\n')\n"
    grandchild = tell + "time.sleep(60)"
    child = tell + f"subprocess.Popen([sys.executable, '-c', {grandchild!r}], start_new_session=True); time.sleep(60)"
    subprocess.Popen([sys.executable, "-c", child])
    return sleep(job, context)


def wrong(job, context):
    (context.folder / "half.txt").write_text("half")
    raise WrongContent("The image is flat.", "Choose another one.")


def memory(job, context):
    return bytearray(1 << 60)


def torch_memory(job, context):
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes")


def bug(job, context):
    return 1 / 0


def fill_disk(job, context):
    with open(context.folder / "large.bin", "wb") as stream:
        for _ in range(job.parameters["megabytes"]):
            stream.write(b"\1" * (1 << 20))
    return Result(files={"table": "large.bin"})


def die(job, context):
    (context.folder / "half.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(5)


def segfault(job, context):
    import faulthandler

    os.kill(os.getpid(), signal.SIGSEGV)
    faulthandler.is_enabled()
    time.sleep(5)


def exit_quietly(job, context):
    os._exit(0)


def missing_package(job, context):
    import a_package_that_nobody_has  # noqa: F401


def lists_absent(job, context):
    return Result(files={"table": "absent.csv"})


def many_files(job, context):
    """Enough files that a kill lands in the middle of moving them in."""
    names = {}
    for number in range(job.parameters["count"]):
        (context.folder / f"f{number}.txt").write_text("whole\n" * 20)
        names[f"f{number}"] = f"f{number}.txt"
    return Result(files=names)
