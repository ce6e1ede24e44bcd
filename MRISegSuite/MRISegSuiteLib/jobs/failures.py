"""From any exception inside a task to a typed error that a person can act on."""

from __future__ import annotations

import shutil

from ..errors import DISK_FULL_ERRNOS, DiskFull, OutOfMemory, SuiteError, WorkerCrashed, error_from_write

# What torch, ITK and VTK say when memory runs out; they raise RuntimeError for it.
_MEMORY_WORDS = ("out of memory", "bad_alloc", "can't allocate memory", "failed to allocate", "not enough memory")
_LITTLE_SPACE = 1 << 20


def error_from_exception(exception: BaseException, folder) -> SuiteError:
    """The typed error for an exception raised in a task that writes into ``folder``."""
    if isinstance(exception, SuiteError):
        return exception
    if isinstance(exception, MemoryError) or _speaks_of_memory(exception):
        return OutOfMemory(
            "The job needed more memory than there is.",
            "Close other programs, choose another device, or use a machine with more memory.",
        )
    if isinstance(exception, OSError) and exception.errno in DISK_FULL_ERRNOS:
        return error_from_write(exception, exception.filename or folder)
    if _is_full(folder):
        # ITK and VTK report a failed write without saying why.
        return DiskFull(f"There is no space left on the disk of {folder}.", "Free some space, or choose another disk.")
    if isinstance(exception, ModuleNotFoundError):
        return WorkerCrashed(
            f"The worker's Python lacks the package {exception.name}.",
            "Install the worker environment (in Slicer: module MRI Seg Suite; else: ./mriseg installs it).",
        )
    if isinstance(exception, PermissionError) and exception.filename:
        return error_from_write(exception, exception.filename)
    return WorkerCrashed(
        f"The job stopped at an error that was not foreseen: {type(exception).__name__}: {_first_line(exception)}",
        "The details are in log.txt; please report them.",
    )


def _speaks_of_memory(exception) -> bool:
    text = f"{type(exception).__name__} {exception}".lower()
    return isinstance(exception, RuntimeError) and any(words in text for words in _MEMORY_WORDS)


def _is_full(folder) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LITTLE_SPACE
    except OSError:
        return False  # the folder itself is gone: not a question of space


def _first_line(exception) -> str:
    lines = str(exception).strip().splitlines()
    return lines[0][:300] if lines else "no message"
