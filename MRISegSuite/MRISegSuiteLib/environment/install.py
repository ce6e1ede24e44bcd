"""Filling the worker's folder of packages: a job of its own, so that it has progress, a log and a real cancel.

Everything is installed into a folder aside, tried out there, and renamed at the end: the environment that was there
before stays in use until the new one is whole.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..errors import DiskFull, SuiteError, WorkerCrashed, error_from_write
from ..files import replace, write_json
from ..jobs import Job, JobProcess, JobState, Result
from ..jobs.tasks import EXTRA_TASKS_VARIABLE
from .packages import LARGE_MODELS, PACKAGES, pip_steps
from .worker_environment import MANIFEST, TORCH_INDEXES, WorkerEnvironment

# A package that both Slicer (or the worker) and the folder hold must be the same version: they meet in one process.
_SLICERS_OWN = ("torch", "numpy", "scipy", "SimpleITK", "vtk", "pydicom", "pillow", "packaging", "python-dateutil",
                "requests")
_TASK = "install_environment"


class InstallProcess:
    """A running installation. Poll it from a GUI timer like a :class:`JobProcess`.

    ``folder`` holds log.txt with pip's own words; it stays after a failure, and goes after success or cancel.
    """

    def __init__(self, environment: WorkerEnvironment, wheels: Path | None, accelerator: str | None):
        self.target = environment.folder
        packages = environment.packages_to_install()
        _check_room(self.target, environment.megabytes_to_install(accelerator or "cpu"))
        self.folder = Path(tempfile.mkdtemp(prefix="mriseg-install-"))
        parameters = {
            "target": str(self.target),
            "packages": [package.name for package in packages],
            "wheels": None if wheels is None else str(wheels),
            "accelerator": accelerator,
        }
        # The task is known to this one worker only: a job file from elsewhere must not install packages.
        variables = environment.variables_to_install() | {EXTRA_TASKS_VARIABLE: f"{_TASK}={__name__}:run"}
        self._process = JobProcess.for_job(Job(_TASK, {}, parameters), self.folder,
                                           python=str(environment.python), environment=variables)
        self._process.start()

    def poll(self) -> JobState:
        """Where the installation stands."""
        return self._settled(self._process.poll())

    def cancel(self) -> JobState:
        """End pip and all it started; what was there before is unchanged."""
        return self._settled(self._process.cancel())

    def wait(self, timeout: float | None = None) -> JobState:
        """Poll until it has ended."""
        return self._settled(self._process.wait(timeout))

    def _settled(self, state: JobState) -> JobState:
        if state.status != "running":
            shutil.rmtree(_aside(self.target), ignore_errors=True)
            if state.status != "failed":
                shutil.rmtree(self.folder, ignore_errors=True)
        return state


def run(job: Job, context) -> Result:
    """The task: fill the folder ``target`` (worker process)."""
    target = Path(job.parameters["target"])
    packages = [package for package in (*PACKAGES, *LARGE_MODELS) if package.name in job.parameters["packages"]]
    aside = _aside(target)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
    except OSError as exception:
        raise error_from_write(exception, aside) from exception
    constraints = context.folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in _own_versions().items()))
    steps = pip_steps(packages, sys.executable, str(aside), job.parameters["wheels"], str(constraints),
                      TORCH_INDEXES.get(job.parameters["accelerator"]))
    for number, step in enumerate(steps):
        _run_pip(step, context, 0.9 * number / len(steps), 0.9 * (number + 1) / len(steps))
    context.progress("Trying the packages", 0.92)
    versions = _try_out(aside, packages)
    write_json(aside / MANIFEST, {"schema_version": 1, "python": sys.version.split()[0], "versions": versions,
                                  "made": time.strftime("%Y-%m-%dT%H:%M:%S")})
    context.progress("Putting the packages in place", 0.98)
    _swap(aside, target)
    return Result(parameters={"versions": versions})


def _run_pip(command, context, start: float, end: float) -> None:
    context.log.info("%s", " ".join(command))
    fraction = start
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace")
    last = []
    for line in process.stdout:
        line = line.strip()
        context.log.info("pip: %s", line)
        last = (last + [line])[-40:]
        if line.startswith(("Collecting", "Downloading", "Processing", "Installing")):
            # pip tells no total, so every line brings the bar a tenth of the rest further.
            fraction += (end - fraction) * (0.5 if line.startswith("Installing") else 0.1)
            context.progress(_short(line), fraction)
    if process.wait() != 0:
        raise _pip_error(last)


def _pip_error(lines: list[str]) -> SuiteError:
    text = " ".join(lines)
    if "No space left" in text:
        return DiskFull("There is no space left for the worker's packages.", "Free some space and install again.")
    if "No matching distribution" in text and "connection" not in text.lower():
        wanted = next((line for line in reversed(lines) if "No matching distribution" in line), "")
        return WorkerCrashed(f"pip did not find a package: {wanted}",
                             "For an offline folder, put the wheels for this Python and platform into it.")
    if any(words in text.lower() for words in ("connection", "name resolution", "temporary failure", "getaddrinfo")):
        return WorkerCrashed("The package index could not be reached.",
                             "Check the network, or install from a folder of wheels.")
    errors = [line for line in lines if line.lower().startswith("error")]
    return WorkerCrashed(f"pip failed: {(errors or lines or ['no message'])[-1]}", "The details are in log.txt.")


def _try_out(folder: Path, packages) -> dict:
    """Import every package in a process that sees the folder as the worker will, and run a tensor operation."""
    code = (
        "import importlib, importlib.metadata as m, json, sys\n"
        "for name in sys.argv[1].split(','): importlib.import_module(name)\n"
        "import torch; assert (torch.ones(3, 3) @ torch.ones(3, 3)).sum().item() == 27.0\n"
        "print(json.dumps({n: m.version(n) for n in sys.argv[2].split(',')}))"
    )
    path = os.pathsep.join([str(folder)] + [p for p in [os.environ.get("PYTHONPATH")] if p])
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(p.module for p in packages), ",".join(p.name for p in packages)],
        env=dict(os.environ) | {"PYTHONPATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise WorkerCrashed(f"The packages were installed but do not work: {lines[-1]}", "The details are in log.txt.")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _swap(aside: Path, target: Path) -> None:
    former = target.with_name(f".{target.name}.former-{os.getpid()}")
    try:
        if target.exists():
            replace(target, former)
        replace(aside, target)
    except OSError as exception:
        if former.exists() and not target.exists():
            replace(former, target)
        raise error_from_write(exception, target) from exception
    shutil.rmtree(former, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.installing")


def _own_versions() -> dict:
    found = {}
    for name in _SLICERS_OWN:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not in this Python: pip may choose
    return found


def _check_room(target: Path, megabytes: int) -> None:
    existing = next(folder for folder in [target, *target.resolve().parents] if folder.exists())
    free = shutil.disk_usage(existing).free / 1e6
    if free < megabytes:
        raise DiskFull(f"The worker's packages take about {megabytes} MB; {existing} has {free:.0f} MB free.",
                       "Free some space, or set the variable MRISEG_WORKER_FOLDER to a folder on another disk.")


def _short(line: str) -> str:
    """``Downloading torch-2.13.0-cp312-….whl (200 MB)`` as a stage for a person."""
    words = line.split()
    if words[0] == "Installing":
        return "Installing the packages"
    name = words[1].rsplit("/", 1)[-1].split("-")[0].split(">")[0].split("=")[0]
    size = " ".join(words[2:]) if words[0] == "Downloading" and len(words) > 2 and words[2].startswith("(") else ""
    return f"{words[0]} {name} {size}".strip()
