"""The failures a user may meet. Each says what is wrong, with which file, and what to do about it.

Only standard library: imported by the GUI process, the worker and the command line alike.
"""

from __future__ import annotations

import errno

# EDQUOT (a user's quota) does not exist on Windows.
DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class SuiteError(Exception):
    """A failure with a sentence for a person.

    Args:
        message: what is wrong, naming the file or the argument.
        hint: what the user can do about it (may be empty).

    ``code`` names the kind of failure in result.json; ``exit_code`` is the exit code of the command line.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message, hint)
        self.message = str(message).strip()
        self.hint = str(hint).strip()

    def __str__(self) -> str:
        return _as_sentences(self.message, self.hint)

    def to_record(self) -> dict:
        """The error as a JSON object; the inverse of :func:`error_from_record`."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class BadInput(SuiteError):
    """An input is not what the task needs."""

    code = "bad_input"
    exit_code = 2


class UnreadableImage(BadInput):
    """A file that should hold an image cannot be read as one."""

    code = "unreadable_image"


class WrongContent(BadInput):
    """A readable image that cannot be what the task needs (constant, NaN, 2D, 4D, not a knee)."""

    code = "wrong_content"


class BadArguments(SuiteError):
    """Arguments, parameters or a job file that make no sense."""

    code = "bad_arguments"
    exit_code = 2


class ModelMissing(SuiteError):
    """No model of that name, or its weights are not there."""

    code = "model_missing"
    exit_code = 2


class ModelHashMismatch(SuiteError):
    """The weights are not the ones that the model card names."""

    code = "model_hash_mismatch"
    exit_code = 2


class UnsafeModel(SuiteError):
    """A model that could only be loaded by executing code from its files."""

    code = "unsafe_model"
    exit_code = 2


class UnwritableOutput(SuiteError):
    """The output folder cannot be made or written."""

    code = "unwritable_output"
    exit_code = 2


class OutOfMemory(SuiteError):
    """Neither the device nor the main memory was large enough."""

    code = "out_of_memory"


class NoDevice(SuiteError):
    """The device that was asked for is not there or does not work."""

    code = "no_device"


class DiskFull(SuiteError):
    """The disk, or the user's share of it, is full."""

    code = "disk_full"


class TimedOut(SuiteError):
    """The job ran longer than its limit."""

    code = "timed_out"


class WorkerCrashed(SuiteError):
    """The worker process ended without an answer, or with an unforeseen exception."""

    code = "worker_crashed"


class Cancelled(SuiteError):
    """The user stopped the job."""

    code = "cancelled"
    exit_code = 3


def error_from_record(record: dict) -> SuiteError:
    """The typed error that :meth:`SuiteError.to_record` described."""
    kinds = {kind.code: kind for kind in _all_kinds(SuiteError)}
    kind = kinds.get(record.get("code"), WorkerCrashed)
    return kind(record.get("message", "The job failed without a message."), record.get("hint", ""))


def causes_of(exception: BaseException) -> str:
    """What an error came from, a line for each exception behind it; "" where there is none. No tracebacks."""
    lines, seen = [], {id(exception)}
    while (exception := exception.__cause__) is not None and id(exception) not in seen:
        seen.add(id(exception))
        lines.append(f"Caused by {type(exception).__name__}: {exception}")
    return "\n".join(lines)


def error_from_write(exception: OSError, path) -> SuiteError:
    """The typed error for an ``OSError`` that came while writing ``path``."""
    if exception.errno in DISK_FULL_ERRNOS:
        return DiskFull(
            f"There is no space left for {path} ({exception.strerror}).",
            "Free some space, or choose an output folder on another disk.",
        )
    reason = exception.strerror or type(exception).__name__
    return UnwritableOutput(
        f"{path} cannot be written: {reason}.",
        "Choose a folder that you may write to.",
    )


def _all_kinds(kind):
    yield kind
    for below in kind.__subclasses__():
        yield from _all_kinds(below)


def _as_sentences(*parts: str) -> str:
    sentences = []
    for part in parts:
        text = " ".join(part.split())
        if text:
            sentences.append(text if text[-1] in ".!?" else text + ".")
    return " ".join(sentences)
