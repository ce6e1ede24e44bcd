"""The worker process: ``python -m MRISegSuiteLib.jobs.worker FOLDER`` does the job that FOLDER/job.json describes.

The only process that imports torch. Its exit code is that of the command line (0 done, 2 bad input or arguments,
3 cancelled, 1 anything else), or EXIT_DISK_FULL where the disk has not even room for a result.json that says so.
"""

from __future__ import annotations

import faulthandler
import importlib.metadata
import logging
import os
import platform
import signal
import sys
import threading
import time

from .. import __version__
from ..errors import Cancelled, DiskFull, SuiteError, WorkerCrashed, causes_of
from ..files import sha256_of
from .context import PROGRESS_FILE, JobContext
from .description import Job
from .failures import error_from_exception
from .folder import LOG_FILE, JobFolder
from .handshake import EXIT_DISK_FULL, MANAGED_VARIABLE
from .process_tree import end_own_tree, wait_for_parents_death
from .result import Result
from .tasks import find_task

_PACKAGES = ("numpy", "scipy", "SimpleITK", "vtk", "torch", "monai", "pydicom")


def run_folder(path) -> int:
    """Run the job in the folder ``path`` and return the exit code."""
    managed = MANAGED_VARIABLE in os.environ
    folder = JobFolder(path)
    try:
        folder.make()
        lock = folder.lock()
    except SuiteError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    with lock:
        log = _open_log(folder.path / LOG_FILE, fresh=not managed)
        try:
            return _run_locked(folder, log)
        except SuiteError as error:
            if not managed:
                print(error, file=sys.stderr)
            return EXIT_DISK_FULL if isinstance(error, DiskFull) and managed else error.exit_code


def _run_locked(folder: JobFolder, log: logging.Logger) -> int:
    started = time.monotonic()
    result = Result(software=software())
    context = None
    try:
        job = Job.read(folder.path)
        result.task, result.parameters = job.task, dict(job.parameters)
        folder.check_inputs(path for _, path in job.input_paths())
        folder.clean()
        log.info("MRI Seg Suite %s, task %s, Python %s", __version__, job.task, platform.python_version())
        context = JobContext(folder.make_partial(), log, job.device, folder.path / PROGRESS_FILE)
        context.progress("Checking the inputs", 0.0)
        run = find_task(job.task)
        result.inputs = [
            {"role": role, "file": str(path), "sha256": sha256_of(path)} for role, path in job.input_paths()
        ]
        answer = run(job, context)
        context.finish()
        _merge(result, answer, context, time.monotonic() - started)
        folder.commit(context.folder, result)
        (folder.path / PROGRESS_FILE).unlink(missing_ok=True)
        log.info("Done in %.1f s", time.monotonic() - started)
        return 0
    except BaseException as exception:  # noqa: B902 - every end of a job becomes a typed error; nothing is hidden
        if isinstance(exception, (KeyboardInterrupt, SystemExit)):
            error = Cancelled("The job was stopped from outside.")
        else:
            error = error_from_exception(exception, folder.path)
        _log_failure(log, error, exception)
        if context is not None:
            folder.discard_unfinished()
            context.finish()
            result.warnings, result.timings_s = context.warnings, context.timings_s
        result.status = "cancelled" if isinstance(error, Cancelled) else "failed"
        result.error, result.files, result.measurements = error.to_record(), {}, []
        result.write(folder.path)
        raise error from exception


def _log_failure(log: logging.Logger, error: SuiteError, exception: BaseException) -> None:
    """A foreseen error needs its sentence and what was behind it; only an unforeseen one needs the traceback."""
    if isinstance(error, WorkerCrashed):
        log.error("%s: %s", error.code, error, exc_info=exception)
        return
    if error is not exception and error.__cause__ is None:
        error.__cause__ = exception
    causes = causes_of(error)
    log.error("%s: %s%s", error.code, error, "\n" + causes if causes else "")


def _merge(result: Result, answer: Result, context: JobContext, seconds: float) -> None:
    """What the task found out, into what the worker knows."""
    if not isinstance(answer, Result):
        raise TypeError(f"the task returned {type(answer).__name__}, not a Result")
    result.files, result.measurements, result.model = answer.files, answer.measurements, answer.model
    result.warnings = context.warnings + [text for text in answer.warnings if text not in context.warnings]
    result.timings_s = context.timings_s | answer.timings_s | {"total": seconds}
    result.parameters |= answer.parameters
    result.software = software() | answer.software


def software() -> dict:
    """Versions of the suite, of Python and of the packages that this process has loaded."""
    versions = {"MRISegSuite": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        if name in sys.modules:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                # Slicer bundles some packages without their metadata.
                versions[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return versions


def _open_log(path, fresh: bool) -> logging.Logger:
    handler = logging.FileHandler(path, mode="w" if fresh else "a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("MRISegSuite.job")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    return log


def _end_with_parent() -> None:
    wait_for_parents_death()
    end_own_tree()


def _stop(*_):
    raise KeyboardInterrupt


def main(arguments=None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m MRISegSuiteLib.jobs.worker FOLDER", file=sys.stderr)
        return 2
    faulthandler.enable()
    if MANAGED_VARIABLE in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if os.name != "nt":
        signal.signal(signal.SIGTERM, _stop)  # a batch system asks first
    return run_folder(arguments[0])


if __name__ == "__main__":
    sys.exit(main())
