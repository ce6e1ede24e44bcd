"""The command line as a person uses it: real processes, exit codes, messages, Ctrl+C, a terminal and a log file."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import job_tasks
import pytest
from watching import alive, wait_until

from MRISegSuiteLib.cli.arguments import labels
from MRISegSuiteLib.cli.progress_lines import ProgressLines, duration
from MRISegSuiteLib.jobs import Job, JobState, Result

HERE = str(Path(__file__).parent)


@pytest.fixture
def mriseg(repository, tmp_path):
    environment = dict(os.environ) | {
        "MRISEG_EXTRA_TASKS": job_tasks.ENVIRONMENT,
        "PYTHONPATH": HERE,
        "MRISEG_MODELS": str(tmp_path / "models"),
    }
    environment.pop("MRISEG_WORKER_FOLDER", None)

    def call(*arguments, popen=False, **options):
        command = [sys.executable, str(repository / "MRISegSuite" / "Scripts" / "mriseg.py"), *map(str, arguments)]
        options = {"env": environment, "cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                   "text": True, "stdin": subprocess.DEVNULL} | options
        return subprocess.Popen(command, **options) if popen else subprocess.run(command, **options)

    return call


def job_file(folder, task, inputs=None, parameters=None):
    folder.mkdir(parents=True, exist_ok=True)
    return Job(task, inputs or {}, parameters or {}).write(folder)


@pytest.mark.parametrize("arguments, words", [
    ([], "no command was given"),
    (["kneee"], "invalid choice"),
    (["knee", "a.nii"], "--out"),
    (["knee", "a.nii", "--out", "o", "--sides", "left"], "unrecognized arguments: --sides"),
    (["knee", "a.nii", "--out", "o", "--side", "up"], "--side"),
    (["knee", "a.nii", "--out", "o", "--device", "tpu"], "--device"),
    (["knee", "--out", "o"], "nothing to measure"),
    (["knee", "a.nii", "--out", "o", "--labels", "femur=1"], "no --segmentation"),
    (["knee", "--segmentation", "s.nii", "--out", "o", "--labels", "femur=0"], "above 0"),
    (["knee", "--segmentation", "s.nii", "--out", "o", "--labels", "femur:1"], "NAME=NUMBER"),
    (["knee", "--segmentation", "s.nii", "--out", "o", "--model", "m"], "exclude each other"),
    (["models", "shoow"], "invalid choice"),
    (["run"], "JOB.json"),
])
def test_wrong_arguments_exit_2_and_touch_nothing(mriseg, tmp_path, arguments, words):
    done = mriseg(*arguments)
    assert done.returncode == 2 and words in done.stderr and done.stdout == "", done
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_exit_0(mriseg):
    for arguments in (["--help"], ["knee", "--help"], ["models", "--help"], ["test", "--help"], ["--version"]):
        assert mriseg(*arguments).returncode == 0, arguments
    text = mriseg("knee", "--help").stdout
    for option in ("--out", "--segmentation", "--labels", "--model", "--side", "--device"):
        assert option in text


def test_labels():
    assert labels("femur=1, femoral_cartilage=22") == {"femur": 1, "femoral_cartilage": 22}
    assert labels("femur=1+7,tibia=2") == {"femur": [1, 7], "tibia": 2}


@pytest.mark.parametrize("arguments, words", [
    (["knee", "absent.nii.gz", "--out", "out"], "absent.nii.gz does not exist"),
    (["knee", "--segmentation", "absent.nrrd", "--out", "out"], "absent.nrrd does not exist"),
    (["run", "absent.json"], "absent.json cannot be read"),
])
def test_missing_files_exit_2_in_one_readable_line(mriseg, tmp_path, arguments, words):
    done = mriseg(*arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_exits_2_before_anything_is_written(mriseg, tmp_path):
    (tmp_path / "a.nii").write_text("x")
    done = mriseg("knee", "a.nii", "--out", "out", "--model", "nobody-has-this")
    assert done.returncode == 2 and "nobody-has-this" in done.stderr and not (tmp_path / "out").exists()


def test_run_does_a_job_and_prints_where_the_results_are(mriseg, tmp_path):
    (tmp_path / "in.txt").write_text("abc")
    job = job_file(tmp_path / "out", "copy", {"image": "../in.txt"})
    done = mriseg("run", job)
    assert done.returncode == 0, done.stderr
    assert "results in" in done.stdout and "pictures/copy.txt" in done.stdout
    assert "warning: only a copy" in done.stdout
    assert re.search(r"^\[ *\d+ %\] \w+", done.stderr, re.M)
    assert Result.read(tmp_path / "out").status == "done"
    # elsewhere, with the input still found
    done = mriseg("run", job, "--out", tmp_path / "elsewhere")
    assert done.returncode == 0 and (tmp_path / "elsewhere" / "pictures" / "copy.txt").read_text() == "abc"


@pytest.mark.parametrize("task, exit_code, words", [
    ("wrong", 2, "The image is flat. Choose another one."),
    ("memory", 1, "more memory than there is"),
    ("die", 1, "SIGKILL"),
    ("absent_task", 2, "There is no task"),
])
def test_failures_exit_with_their_code_and_one_paragraph(mriseg, tmp_path, task, exit_code, words):
    done = mriseg("run", job_file(tmp_path / "out", task))
    assert done.returncode == exit_code
    message = done.stderr.strip().splitlines()[-1]
    assert words in message and "log.txt" in message and "Traceback" not in done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"job.json", "log.txt", "result.json"}


def test_an_unwritable_output_exits_2(mriseg, tmp_path):
    job = job_file(tmp_path / "job", "copy")
    (tmp_path / "file").write_text("x")
    done = mriseg("run", job, "--out", tmp_path / "file")
    assert done.returncode == 2 and "is a file, not a folder" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_with_exit_code_3_and_no_process_stays(mriseg, tmp_path, number):
    pids = tmp_path / "pids"
    running = mriseg("run", job_file(tmp_path / "out", "family", parameters={"pids": str(pids)}), popen=True,
                     start_new_session=True)
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    tree = [int(pid) for pid in pids.read_text().split()]
    begin = time.monotonic()
    running.send_signal(number)
    _, error = running.communicate(timeout=10)
    assert time.monotonic() - begin < 2.0
    assert running.returncode == 3 and "cancelled" in error and "Traceback" not in error
    assert not any(alive(pid) for pid in tree)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"job.json", "log.txt", "result.json"}
    assert json.loads((tmp_path / "out" / "result.json").read_text())["status"] == "cancelled"


def test_on_a_terminal_one_line_is_rewritten(mriseg, tmp_path):
    job = job_file(tmp_path / "out", "sleep", parameters={"steps": 30})
    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip("this machine has no pseudo terminals")
    running = mriseg("run", job, popen=True, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the terminal closes with its last writer
            break
    os.close(ours)
    assert running.wait() == 0
    running.stdout.close()
    text = shown.decode()
    assert text.count("\n") == 0 and text.count("\r") > 5 and "Sleeping" in text and text.endswith("\r")


def test_progress_words():
    assert [duration(s) for s in (0.4, 8, 59.7, 125, 5400)] == ["0 s", "8 s", "1:00 min", "2:05 min", "1:30 h"]

    class Terminal(list):
        write = list.append
        isatty = staticmethod(lambda: True)
        flush = staticmethod(lambda: None)

    terminal = Terminal()
    lines = ProgressLines(terminal)
    lines.show(JobState("running", "A long stage", 0.5, 130.0))
    lines.show(JobState("running", "Short", 0.51, None))
    lines.end()
    assert terminal[0] == "\r[ 50 %] A long stage, 2:10 min left"
    assert terminal[1].rstrip() == "\r[ 51 %] Short" and len(terminal[1]) == len(terminal[0])
    assert terminal[2].strip() == ""


def test_models_commands(mriseg, tmp_path):
    listed = mriseg("models", "list")
    assert listed.returncode == 0
    assert mriseg("models").stdout == listed.stdout
    for name in [line.split()[0] for line in listed.stdout.splitlines() if "  " in line]:
        shown = mriseg("models", "show", name)
        assert shown.returncode == 0 and json.loads(shown.stdout)["id"] == name
    assert mriseg("models", "check").returncode == 0
    for arguments in (["show", "absent"], ["check", "absent"], ["remove", "absent"], ["add", "absent"]):
        done = mriseg("models", *arguments)
        assert done.returncode == 2 and "absent" in done.stderr and "Traceback" not in done.stderr
    broken = tmp_path / "models" / "broken"
    broken.mkdir(parents=True)
    (broken / "model.json").write_text("{}")
    assert "broken" in mriseg("models", "list").stderr
    assert mriseg("models", "check").returncode == 2


def test_inside_slicer_the_script_ends_the_application_with_the_exit_code(repository, tmp_path):
    """As Slicer runs it: executed in __main__ with sys.argv set, sys.executable useless, PythonSlicer on PATH."""
    (tmp_path / "PythonSlicer").symlink_to(sys.executable)
    script = repository / "MRISegSuite" / "Scripts" / "mriseg.py"
    (tmp_path / "in.txt").write_text("abc")
    job = job_file(tmp_path / "out", "copy", {"image": str(tmp_path / "in.txt")})
    code = (
        "import sys, types, runpy\n"
        "slicer = types.ModuleType('slicer'); slicer.app = object()\n"
        "def leave(code): print('slicer exits with', code); raise SystemExit(0)\n"
        "slicer.util = types.SimpleNamespace(exit=leave); sys.modules['slicer'] = slicer\n"
        "script, sys.executable = sys.argv[1], ''\n"
        "sys.argv = sys.argv[1:]\n"
        "exec(open(script, encoding='ascii').read(), globals() | {'__file__': script})\n"
    )
    environment = dict(os.environ) | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": HERE,
        "MRISEG_EXTRA_TASKS": job_tasks.ENVIRONMENT, "MRISEG_WORKER_FOLDER": str(tmp_path / "packages"),
    }
    for arguments, exit_code in ((["run", str(job)], 0), (["knee", "--out", "x"], 2), (["--help"], 0)):
        done = subprocess.run([sys.executable, "-c", code, str(script), *arguments], capture_output=True, text=True,
                              env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL)
        assert done.stdout.strip().endswith(f"slicer exits with {exit_code}"), done.stderr + done.stdout
    assert (tmp_path / "out" / "pictures" / "copy.txt").exists()
