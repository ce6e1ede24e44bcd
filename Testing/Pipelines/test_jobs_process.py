"""Jobs in real worker processes: result, progress, failure of every kind, cancel, timeout, kill at any moment."""

import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import job_tasks
import pytest
from watching import alive, wait_until

from MRISegSuiteLib.errors import BadArguments, Cancelled, SuiteError, UnwritableOutput
from MRISegSuiteLib.jobs import Job, JobProcess, Result

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def test_tasks(monkeypatch):
    monkeypatch.setenv("MRISEG_EXTRA_TASKS", job_tasks.ENVIRONMENT)
    monkeypatch.setenv("PYTHONPATH", HERE + os.pathsep + os.environ["PYTHONPATH"])


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.txt"
    path.write_text("twelve bytes")
    return path


def started(folder, task, inputs=None, parameters=None, **options):
    process = JobProcess.for_job(Job(task, inputs or {}, parameters or {}), folder, **options)
    process.start()
    return process


def names_in(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_a_job_leaves_the_result_of_the_public_contract(tmp_path, image):
    folder = tmp_path / "new" / "out"
    process = started(folder, "copy", {"image": str(image)}, {"device": "cpu"})
    state = process.wait(30)
    assert (state.status, state.fraction, state.error) == ("done", 1.0, None), state
    assert names_in(folder) == {"job.json", "log.txt", "result.json", "pictures/copy.txt"}
    record = json.loads((folder / "result.json").read_text())
    assert list(record) == ["schema_version", "task", "status", "inputs", "model", "software", "parameters",
                            "timings_s", "files", "measurements", "warnings"]
    assert record["inputs"] == [
        {"role": "image", "file": str(image), "sha256": hashlib.sha256(image.read_bytes()).hexdigest()}
    ]
    assert record["files"] == {"table": "pictures/copy.txt"}
    assert record["measurements"] == [{"name": "volume", "structure": "femur", "region": "whole", "value": 12.0,
                                       "unit": "mm3", "method": "counted", "interval": [1.0, None]}]
    assert record["warnings"] == ["only a copy"]
    assert record["parameters"] == {"device": "cpu", "side": "left"}
    assert set(record["timings_s"]) == {"Checking the inputs", "Copying", "Measuring", "total"}
    assert record["software"]["MRISegSuite"] and record["software"]["python"]
    assert json.loads(json.dumps(process.result().measurements[0].value)) == 12.0
    assert "task copy" in (folder / "log.txt").read_text()


def test_progress_tells_stage_fraction_and_time_left_and_polling_is_cheap(tmp_path):
    process = started(tmp_path, "sleep", parameters={"steps": 80, "step_s": 0.05})
    states, polls, start = [], [], time.perf_counter()
    while not states or states[-1].status == "running":
        begin = time.perf_counter()
        states.append(process.poll())
        if states[-1].status == "running":
            polls.append(time.perf_counter() - begin)
        time.sleep(0.02)
    took = time.perf_counter() - start
    fractions = [state.fraction for state in states]
    assert fractions == sorted(fractions) and states[-1].status == "done"
    assert {"Sleeping"} <= {state.stage for state in states}
    estimates = [state.seconds_left for state in states if state.status == "running" and state.seconds_left]
    assert estimates and 0.1 * took < max(estimates) < 2.0 * took and estimates[-1] < 0.25 * took
    assert statistics.median(polls) < 0.01  # a single one may have waited for a busy computer
    again = JobProcess(tmp_path)
    begin = time.perf_counter()
    for _ in range(200):
        again._running_state()
    assert (time.perf_counter() - begin) / 200 < 0.005


@pytest.mark.parametrize("task, code, words, exit_code", [
    ("wrong", "wrong_content", "The image is flat. Choose another one.", 2),
    ("memory", "out_of_memory", "more memory than there is", 1),
    ("torch_memory", "out_of_memory", "more memory than there is", 1),
    ("bug", "worker_crashed", "ZeroDivisionError", 1),
    ("die", "worker_crashed", "SIGKILL", 1),
    ("segfault", "worker_crashed", "SIGSEGV", 1),
    ("exit_quietly", "worker_crashed", "no result", 1),
    ("missing_package", "worker_crashed", "lacks the package a_package_that_nobody_has", 1),
    ("lists_absent", "worker_crashed", "absent.csv", 1),
    ("no_such_task", "bad_arguments", "The tasks are", 2),
])
def test_every_failure_is_typed_said_in_a_sentence_and_leaves_nothing_behind(tmp_path, task, code, words, exit_code):
    process = started(tmp_path, task)
    state = process.wait(30)
    assert state.status == "failed" and state.error.code == code and state.error.exit_code == exit_code
    assert words in state.message and "\n" not in state.message
    assert names_in(tmp_path) == {"job.json", "log.txt", "result.json"}
    assert not list(tmp_path.glob(".*"))
    record = Result.read(tmp_path)
    assert record.status == "failed" and record.files == {} and record.failure().code == code
    with pytest.raises(type(state.error)):
        process.result()
    log = (tmp_path / "log.txt").read_text()
    if task in ("bug", "lists_absent"):
        assert "Traceback" in log
    if task in ("wrong", "no_such_task", "memory"):  # foreseen: the sentence and what was behind it
        assert "Traceback" not in log and f"{code}: {state.message}" in log
        assert ("Caused by MemoryError" in log) == (task == "memory")
    if task == "segfault":
        assert "Fatal Python error: Segmentation fault" in (tmp_path / "log.txt").read_text()


def test_a_missing_input_is_named(tmp_path):
    state = started(tmp_path / "out", "copy", {"image": str(tmp_path / "absent.nii")}).wait(30)
    assert state.error.exit_code == 2 and "absent.nii does not exist" in state.message


def test_cancel_ends_the_whole_tree_within_two_seconds(tmp_path):
    pids = tmp_path / "pids"
    folder = tmp_path / "out"
    process = started(folder, "family", parameters={"pids": str(pids)})
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    wait_until(lambda: list(folder.glob(".partial-*/half.txt")))
    tree = [process.pid] + [int(pid) for pid in pids.read_text().split()]
    assert all(alive(pid) for pid in tree)
    begin = time.monotonic()
    state = process.cancel()
    assert time.monotonic() - begin < 2.0
    assert not any(alive(pid) for pid in tree)
    assert state.status == "cancelled" and isinstance(state.error, Cancelled) and state.error.exit_code == 3
    assert names_in(folder) == {"job.json", "log.txt", "result.json"}
    assert process.cancel() == state and process.poll() == state


def test_timeout(tmp_path):
    state = started(tmp_path, "sleep", timeout_s=1.0).wait(30)
    assert state.error.code == "timed_out" and "1 s" in state.message
    assert names_in(tmp_path) == {"job.json", "log.txt", "result.json"}


def test_the_worker_and_its_children_end_when_the_parent_is_killed(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import sys,time; from MRISegSuiteLib.jobs import Job, JobProcess\n"
        f"p = JobProcess.for_job(Job('family', {{}}, {{'pids': {str(pids)!r}}}), {str(tmp_path / 'out')!r})\n"
        "p.start(); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    tree = [worker] + [int(pid) for pid in pids.read_text().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(alive(pid) for pid in tree), 5)
    # What it left is removed by the next run in that folder.
    assert list((tmp_path / "out").glob(".partial-*"))
    assert started(tmp_path / "out", "many_files", parameters={"count": 2}).wait(30).status == "done"
    assert names_in(tmp_path / "out") == {"job.json", "log.txt", "result.json", "f0.txt", "f1.txt"}


def test_a_kill_at_any_moment_leaves_nothing_half_written_and_the_next_run_is_clean(tmp_path):
    count, chance, outcomes, first = 3000, random.Random(7), [], tmp_path / "f0.txt"
    # At random moments, and until a kill did land while the files were being moved in (on a busy machine not at once).
    while len(outcomes) < 6 or ((False, True) not in outcomes and len(outcomes) < 30):
        process = started(tmp_path, "many_files", parameters={"count": count})
        if len(outcomes) % 2:
            while not first.exists() and process._process.poll() is None:
                time.sleep(0.0005)
        else:
            time.sleep(chance.uniform(0.1, 0.9))
        os.kill(process.pid, signal.SIGKILL)
        process._process.wait()
        # Seen from outside, before anybody tidies up: complete with result.json, or no result.json.
        complete = (tmp_path / "result.json").exists()
        if complete:
            assert len(list(tmp_path.glob("f*.txt"))) == count
        outcomes.append((complete, len(list(tmp_path.glob("f*.txt"))) > 0))
        if len(outcomes) % 3 == 0:
            continue  # nobody tidies up: the next run has to
        state = process.poll()
        assert state.status == ("done" if complete else "failed")
        if not complete:
            assert names_in(tmp_path) == {"job.json", "log.txt", "result.json"}
    assert (False, True) in outcomes, outcomes
    assert started(tmp_path, "many_files", parameters={"count": 3}).wait(30).status == "done"
    assert names_in(tmp_path) == {"job.json", "log.txt", "result.json", "f0.txt", "f1.txt", "f2.txt"}
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_a_killed_run_was_writing_goes_too(tmp_path):
    """Killed between writing progress aside and renaming it: seen once on a busy computer."""
    process = started(tmp_path, "sleep", parameters={"steps": 600, "step_s": 0.05})
    wait_until(lambda: (tmp_path / "progress.json").exists())
    os.kill(process.pid, signal.SIGKILL)
    process._process.wait()
    (tmp_path / f".progress.json.{process.pid}.tmp").write_text("{")
    assert process.poll().status == "failed"
    assert names_in(tmp_path) == {"job.json", "log.txt", "result.json"}


def test_disk_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.name == "posix" and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True
    ).returncode == 0
    if not mounted:
        pytest.skip("no right to mount a small disk here")
    try:
        state = started(disk / "out", "fill_disk", parameters={"megabytes": 4}).wait(30)
        assert state.error.code == "disk_full" and state.error.exit_code == 1, state
        assert names_in(disk / "out") == {"job.json", "log.txt", "result.json"}
        (disk / "other.bin").write_bytes(b"\0" * 1000)
        with open(disk / "filler.bin", "wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(b"\0" * 4096)
        with pytest.raises(SuiteError) as caught:
            started(disk / "second", "copy")
        assert caught.value.code == "disk_full"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_on_file_size_counts_as_a_full_disk(tmp_path):
    resource = pytest.importorskip("resource")
    Job("fill_disk", {}, {"megabytes": 4}).write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "MRISegSuiteLib.jobs.worker", str(tmp_path)], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert done.returncode == 1 and "no space left" in done.stderr.lower()
    assert names_in(tmp_path) == {"job.json", "log.txt", "result.json"}
    assert Result.read(tmp_path).failure().code == "disk_full"


def test_unwritable_outputs_are_refused_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(UnwritableOutput) as caught:
            started(folder, "copy")
        assert str(folder) in str(caught.value)


def test_two_runs_cannot_share_a_folder(tmp_path):
    first = started(tmp_path, "sleep")
    wait_until(lambda: list(tmp_path.glob(".partial-*")))
    with pytest.raises(UnwritableOutput, match="Another run"):
        started(tmp_path, "copy")
    assert first.poll().status == "running"
    assert first.cancel().status == "cancelled"


def test_running_again_replaces_results_but_never_what_a_person_made(tmp_path, image):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for _ in range(2):
        assert started(folder, "many_files", parameters={"count": 2}).wait(30).status == "done"
    assert started(folder, "copy", {"image": str(image)}).wait(30).status == "done"
    assert names_in(folder) == {"job.json", "log.txt", "result.json", "mine.txt", "pictures/copy.txt"}
    # a result as the input of the next run in the same folder
    with pytest.raises(BadArguments, match="which a new run would replace"):
        started(folder, "copy", {"image": str(folder / "pictures" / "copy.txt")})
    # a result that somebody edited afterwards
    later = time.time() + 60
    (folder / "pictures" / "copy.txt").write_text("edited")
    os.utime(folder / "pictures" / "copy.txt", (later, later))
    with pytest.raises(BadArguments, match="changed after the run"):
        started(folder, "copy", {"image": str(image)})
    assert (folder / "pictures" / "copy.txt").read_text() == "edited"
    # a foreign file in the way of a product
    other = tmp_path / "other"
    other.mkdir()
    (other / "f1.txt").write_text("mine")
    state = started(other, "many_files", parameters={"count": 2}).wait(30)
    assert state.error.code == "unwritable_output" and (other / "f1.txt").read_text() == "mine"
    assert names_in(other) == {"f1.txt", "job.json", "log.txt", "result.json"}


def test_a_tampered_result_file_cannot_make_a_run_delete_files_elsewhere(tmp_path):
    outside = tmp_path / "precious.txt"
    outside.write_text("x")
    folder = tmp_path / "out"
    folder.mkdir()
    files = {"a": "../precious.txt", "b": str(outside), "c": "link/precious.txt"}
    (folder / "link").symlink_to(tmp_path)
    (folder / "result.json").write_text(json.dumps({"schema_version": 1, "files": files}))
    assert started(folder, "many_files", parameters={"count": 1}).wait(30).status == "done"
    assert outside.read_text() == "x"


def test_a_job_file_cannot_name_code(tmp_path, monkeypatch):
    monkeypatch.delenv("MRISEG_EXTRA_TASKS")
    for task in ("copy", "job_tasks"):
        state = started(tmp_path, task).wait(30)
        assert state.error.code == "bad_arguments" and "There is no task" in state.message


def test_sigterm_from_a_batch_system_is_tidy(tmp_path):
    Job("sleep", {}, {}).write(tmp_path)
    worker = subprocess.Popen([sys.executable, "-m", "MRISegSuiteLib.jobs.worker", str(tmp_path)],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(tmp_path.glob(".partial-*/half.txt")))
    worker.terminate()
    _, text = worker.communicate(timeout=10)
    assert worker.returncode == 3 and "stopped from outside" in text
    assert names_in(tmp_path) == {"job.json", "log.txt", "result.json"}
    assert Result.read(tmp_path).status == "cancelled"


def test_a_python_that_is_not_there(tmp_path):
    with pytest.raises(SuiteError, match="nowhere/python cannot be started"):
        started(tmp_path, "copy", python="/nowhere/python")
