"""``mriseg sign`` as a run of a panel: what signs is never loaded into this process."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from MRISegSuiteLib.cli.sign_command import PASSPHRASE_VARIABLE
from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.errors import BadInput, Cancelled, SuiteError, WorkerCrashed
from MRISegSuiteLib.jobs import JobState
from MRISegSuiteLib.jobs.folder import LOG_FILE
from MRISegSuiteLib.jobs.process_tree import close_pipes, end_tree, start_process
from MRISegSuiteLib.panel.copying import SCRIPT


@dataclass(frozen=True)
class SignOutcome:
    """What was told: ``sound`` where the PDF is signed and nothing has changed since; ``signed`` is a new file."""

    text: str
    sound: bool
    signed: Path | None = None


class SignRun:
    """Signs a PDF, or checks it.

    Args:
        pdf: the report. key: file with the user's key; None checks. out: the signed PDF.
        passphrase: of the key. It reaches the process in its environment alone, which only this user can read.
    """

    def __init__(self, pdf: str, key: str | None = None, out: str | None = None, passphrase: str = ""):
        self._pdf, self._key, self._out, self._passphrase = pdf, key, out, passphrase
        self._folder: Path | None = None
        self._process = None

    def start(self) -> None:
        worker = WorkerEnvironment.default()
        environment = worker.environment_variables() | {"PYTHONUTF8": "1"}
        environment.pop(PASSPHRASE_VARIABLE, None)
        what = ["--check"]
        if self._key is not None:
            environment[PASSPHRASE_VARIABLE], self._passphrase = self._passphrase, ""
            what = ["--key", self._key, "--out", self._out]
        self._folder = Path(tempfile.mkdtemp(prefix="mriseg-sign-"))
        try:
            with open(self._folder / LOG_FILE, "ab") as log:
                self._process = start_process([worker.python, SCRIPT, "sign", self._pdf, *what], environment,
                                              output=log, watched=False)
        except OSError as exception:
            raise WorkerCrashed(f"The worker's Python {worker.python} cannot be started: {exception.strerror}."
                                ) from exception

    def poll(self) -> JobState:
        if self._process.poll() is None:
            return JobState("running", _("Checking the signature") if self._key is None else _("Signing"), 0.5)
        return JobState("done", "", 1.0)

    def cancel(self) -> None:
        end_tree(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def finish(self) -> SignOutcome:
        code, said = self._process.returncode, self._said()
        close_pipes(self._process)
        if code == 0 or (code == 1 and self._key is None and "Traceback" not in said and "mriseg:" not in said):
            shutil.rmtree(self._folder, ignore_errors=True)
            return SignOutcome(said, code == 0, None if self._key is None else Path(self._out))
        kind = {2: BadInput, 3: Cancelled}.get(code, SuiteError)
        raise kind(said.rpartition("mriseg: ")[2] if "mriseg: " in said else
                   _("Signing ended with exit code {code}.").format(code=code))

    def logFolder(self) -> Path | None:
        return self._folder

    def _said(self) -> str:
        text = (self._folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
        return text.replace(os.linesep, "\n").strip()
