"""``mriseg sign``: a report's PDF signed with the user's own key, or its signature checked."""

from __future__ import annotations

import getpass
import importlib
import os
import sys
from pathlib import Path

from ..errors import BadArguments, BadInput, Cancelled, SuiteError
from .worker_python import WorkerPython

#: Holds the passphrase where nobody can be asked. Never an argument: those are seen by everybody on the computer.
PASSPHRASE_VARIABLE = "MRISEG_KEY_PASSPHRASE"

#: By name, as tasks are: the shared library imports no module's own.
_SIGNING = "LongitudinalCompareLib.reporting.signing"


def sign(arguments, worker: WorkerPython) -> int:
    """Sign a PDF, or with ``--check`` tell who signed it and whether it is what was signed (exit code 0 or 1)."""
    path = Path(arguments.pdf)
    _require_pdf(path)
    try:
        signing = importlib.import_module(_SIGNING)
        importlib.import_module("pyhanko")
    except ImportError as exception:
        raise SuiteError(
            f"Signatures need the package {exception.name}, which is not installed.", "./mriseg installs it."
        ) from exception
    if arguments.check:
        return _tell(path, signing.check_signature(path))
    key = Path(arguments.key)
    if not key.is_file():
        raise BadInput(f"{key} does not exist.", "Choose your .p12 or .pfx file.")
    more = {"reason": arguments.reason} if arguments.reason else {}
    out = signing.sign_pdf(path, key, _passphrase(key), out=arguments.out, **more)
    print(f"Signed by {signing.check_signature(out).signer}: {out}", flush=True)
    return 0


def _tell(path: Path, found) -> int:
    if not found.is_signed:
        print(f"{path} is not signed.", flush=True)
        return 1
    by = found.signer or "somebody whose certificate cannot be read"
    if not found.is_intact:
        print(f"{path} is NOT what was signed by {by}. {found.problem}", flush=True)
        return 1
    print(f"{path} was signed by {by} and not a byte has changed since.")
    print("Who that is was not verified: no authority was asked about the certificate.", flush=True)
    return 0


def _require_pdf(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as exception:
        raise BadInput(f"{path} cannot be read: {exception.strerror}.", "Check the path.") from exception
    # A signed one with a damaged head is for the check to judge.
    if b"%PDF-" not in content[:1024] and b"/ByteRange" not in content:
        raise BadInput(f"{path} is no PDF.", "Name the report.pdf of a comparison.")


def _passphrase(key: Path) -> str:
    if PASSPHRASE_VARIABLE in os.environ:
        return os.environ[PASSPHRASE_VARIABLE]
    if not sys.stdin.isatty():
        raise BadArguments(
            "There is no terminal to ask for the passphrase of the key.",
            f"Set the environment variable {PASSPHRASE_VARIABLE} (to nothing for a key without one).",
        )
    try:
        return getpass.getpass(f"Passphrase of {key.name} (nothing is shown): ")
    except EOFError:
        raise Cancelled("Nothing was signed.") from None
