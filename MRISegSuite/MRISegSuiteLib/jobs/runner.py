"""A job in a process of its own, watched without threads and without Qt: start, poll now and then, cancel."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import (
    Cancelled,
    DiskFull,
    OutOfMemory,
    SuiteError,
    TimedOut,
    WorkerCrashed,
    error_from_write,
)
from .context import PROGRESS_FILE
from .description import Job
from .folder import LOG_FILE, JobFolder
from .handshake import EXIT_DISK_FULL, MANAGED_VARIABLE
from .process_tree import end_tree, start_process
from .result import FILE_NAME as RESULT_FILE
from .result import Result
from .tasks import TASKS

_WAIT_STEP_S = 0.05


@dataclass(frozen=True)
class JobState:
    """Where a job stands.

    Attributes:
        status: "running", "done", "failed" or "cancelled".
        stage: what it is doing, for a person.
        fraction: 0…1 of the whole job.
        seconds_left: estimate, or None while there is none.
        message: one readable paragraph; why it failed, or empty.
        error: the typed error of a failed or cancelled job.
    """

    status: str = "running"
    stage: str = "Starting"
    fraction: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    error: SuiteError | None = None


class JobProcess:
    """Runs the job in ``folder``/job.json in a worker process.

    Args:
        folder: job folder; write job.json into it first (:meth:`Job.write`), or call :meth:`for_job`.
        python: the Python of the worker; None for this one (inside Slicer ``sys.executable`` is PythonSlicer).
        environment: environment variables of the worker; None for those of this process. The folders of the
            libraries are added to its PYTHONPATH.
        timeout_s: end the job after that many seconds (checked by :meth:`poll`).
    """

    def __init__(self, folder, python=None, environment: dict | None = None, timeout_s: float | None = None):
        self.folder = Path(folder)
        self.timeout_s = timeout_s
        self._python = python or sys.executable
        self._environment = environment
        self._process = None
        self._task = ""
        self._started = 0.0
        self._ooms = 0
        self._state = JobState()
        self._progress_stamp = None
        self._progress = None

    @classmethod
    def for_job(cls, job: Job, folder, **options) -> "JobProcess":
        """Make the folder, write job.json into it and return the process, not started yet.

        Raises:
            UnwritableOutput, DiskFull, BadArguments (the folder holds what must not be overwritten)
        """
        job_folder = JobFolder(folder)
        job_folder.make()
        with job_folder.lock():
            job_folder.check_inputs(path for _, path in job.input_paths())
            job.write(folder)
        return cls(folder, **options)

    def start(self) -> None:
        """Start the worker.

        Raises:
            UnwritableOutput, DiskFull, BadArguments (job.json), WorkerCrashed (there is no such Python)
        """
        if self._process is not None:
            raise RuntimeError("a JobProcess starts once; make another one for another run")
        folder = JobFolder(self.folder)
        folder.make()
        with folder.lock():
            job = Job.read(self.folder)
            folder.check_inputs(path for _, path in job.input_paths())
            # Here too, not only in the worker: a result that is there afterwards is then one of this run.
            folder.clean()
        self._task = job.task
        environment = dict(os.environ if self._environment is None else self._environment)
        inherited = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(library_folders() + inherited))
        environment[MANAGED_VARIABLE] = "1"
        environment["PYTHONUNBUFFERED"] = "1"
        environment["PYTHONUTF8"] = "1"
        try:
            with open(self.folder / LOG_FILE, "ab") as log:
                log.truncate(0)
                self._process = start_process(
                    [self._python, "-m", "MRISegSuiteLib.jobs.worker", str(self.folder)], environment, output=log
                )
        except OSError as exception:
            if exception.filename == os.fspath(self._python):
                raise WorkerCrashed(f"The worker's Python {self._python} cannot be started: {exception.strerror}.",
                                    "Check the path of that Python.") from exception
            raise error_from_write(exception, self.folder / LOG_FILE) from exception
        self._ooms = _out_of_memory_kills()
        self._started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Process id of the worker (or of its launcher)."""
        return None if self._process is None else self._process.pid

    def poll(self) -> JobState:
        """Where the job stands; takes well under a millisecond while it runs, so a GUI timer may call it."""
        if self._process is None or self._state.status != "running":
            return self._state
        exit_code = self._process.poll()
        if exit_code is not None:
            self._conclude(self._error_of(exit_code))
        elif self.timeout_s is not None and time.monotonic() - self._started > self.timeout_s:
            end_tree(self._process)
            self._conclude(TimedOut(f"The job took longer than its limit of {self.timeout_s:g} s and was ended.",
                                    "Allow more time, or use a faster device."))
        else:
            self._state = self._running_state()
        return self._state

    def cancel(self) -> JobState:
        """End the whole process tree (gone when this returns, in less than 2 s) and leave the folder tidy."""
        if self._process is not None and self._state.status == "running":
            end_tree(self._process)
            self._conclude(Cancelled("The job was cancelled.", "No results were written."))
        return self._state

    def wait(self, timeout: float | None = None) -> JobState:
        """Poll until the job has ended, or ``timeout`` seconds have passed, and return where it stands."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll().status == "running" and (deadline is None or time.monotonic() < deadline):
            time.sleep(_WAIT_STEP_S)
        return self._state

    def result(self) -> Result:
        """The result of a job that is done.

        Raises:
            the typed error of a failed or cancelled job; RuntimeError while it runs.
        """
        state = self.poll()
        if state.error is not None:
            raise state.error
        if state.status != "done":
            raise RuntimeError("the job is still running")
        return Result.read(self.folder)

    def _running_state(self) -> JobState:
        path = self.folder / PROGRESS_FILE
        try:
            stamp = path.stat().st_mtime_ns
            if stamp != self._progress_stamp:
                self._progress = json.loads(path.read_text(encoding="utf-8"))
                self._progress_stamp = stamp
        except (OSError, ValueError):
            pass  # not there yet, or just being replaced (Windows): the state of a moment ago stands
        if self._progress is None:
            return self._state
        left = self._progress["seconds_left"]
        if left is not None:
            left -= time.time() - self._progress["time"]
            left = left if left > 0 else None  # overdue: rather no estimate than a wrong one
        return JobState("running", self._progress["stage"], self._progress["fraction"], left)

    def _error_of(self, exit_code: int) -> SuiteError:
        """Why the worker ended, as far as its exit code tells; a result.json that it wrote knows better."""
        if exit_code == EXIT_DISK_FULL:
            return DiskFull(f"There is no space left on the disk of {self.folder}.",
                            "Free some space, or choose an output folder on another disk.")
        killed = -exit_code == getattr(signal, "SIGKILL", 9)
        if killed and _out_of_memory_kills() > self._ooms:
            return OutOfMemory("The operating system ended the worker because the machine ran out of memory.",
                               "Close other programs, or use a machine with more memory.")
        if exit_code < 0:
            how = f"was ended by signal {-exit_code} ({_signal_name(-exit_code)})"
            if killed:
                how += "; most often that means that the machine ran out of memory"
        else:
            how = f"ended with exit code {exit_code} and no result"
        return WorkerCrashed(f"The worker process {how}.", f"The details are in {self.folder / LOG_FILE}.")

    def _conclude(self, error: SuiteError) -> None:
        """Settle the final state: what the worker wrote wins, ``error`` explains where it wrote nothing."""
        end_tree(self._process)  # helpers of a worker that crashed
        folder = JobFolder(self.folder)
        if (self.folder / RESULT_FILE).exists():
            result = Result.read(self.folder)
            error = result.failure()
            folder.discard_unfinished()
        else:
            folder.discard_unfinished()
            result = Result(task=self._task, error=error.to_record(),
                            status="cancelled" if isinstance(error, Cancelled) else "failed")
            try:
                result.write(self.folder)
            except SuiteError:
                pass  # a full disk: the state below says so
        if error is None:
            self._state = JobState("done", "Done", 1.0, 0.0)
        else:
            self._state = JobState(result.status, self._state.stage, self._state.fraction, None, str(error), error)


def library_folders() -> list[str]:
    """The folders to put on a worker's PYTHONPATH: where the libraries of the suite lie."""
    folders = []
    for package in dict.fromkeys(["MRISegSuiteLib"] + [target.split(".")[0] for target in TASKS.values()]):
        spec = importlib.util.find_spec(package)
        if spec is not None:
            folders += [str(Path(location).parent) for location in spec.submodule_search_locations]
    return list(dict.fromkeys(folders))


def _out_of_memory_kills() -> int:
    """How many processes the kernel has killed for memory since it started (Linux; 0 elsewhere)."""
    try:
        with open("/proc/vmstat") as stream:
            for line in stream:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass  # not Linux
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


