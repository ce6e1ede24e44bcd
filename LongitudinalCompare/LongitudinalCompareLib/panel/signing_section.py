"""The section "Report": open it, sign it with the user's own key, check a signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets

from .passphrase_dialog import PassphraseDialog
from .sign_run import SignOutcome, SignRun

_COLORS = {True: "#2e7d32", False: "#c62828"}


@dataclass
class SigningWidgets:
    """The widgets, as they are in the .ui file; those with "Edit" in their names are ctkPathLineEdits."""

    pdfEdit: Any
    keyEdit: Any
    signedEdit: Any
    openReportButton: Any
    checkSignatureButton: Any
    signatureLabel: Any


class SigningSection:
    """Works the section.

    Args:
        widgets, run: the widgets; ``run`` is of the button that signs.
        parent: widget that the window asking for the passphrase belongs to.
        isOutdated: whether the shown result was edited since its report was written.
    """

    def __init__(self, widgets: SigningWidgets, run: RunWidgets, parent, isOutdated: Callable[[], bool]):
        self._widgets, self._isOutdated = widgets, isOutdated
        self._report: Path | None = None  # of the shown result
        self.dialog = PassphraseDialog(parent, self._onPassphrase)
        self._run = RunControl(run, _("Sign the report… (&9)"), self._onFinished, self._updateButtons)
        for edit in (widgets.pdfEdit, widgets.keyEdit, widgets.signedEdit):
            edit.connect("currentPathChanged(QString)", lambda _path: self.update())
        widgets.pdfEdit.connect("currentPathChanged(QString)", lambda _path: widgets.signatureLabel.setText(""))
        widgets.openReportButton.connect("clicked(bool)", self._onOpen)
        widgets.checkSignatureButton.connect("clicked(bool)", self._onCheck)
        run.button.connect("clicked(bool)", self._onSign)
        self.update()

    @property
    def isRunning(self) -> bool:
        return self._run.isRunning

    def showReport(self, report: Path | None) -> None:
        """The report (PDF) of the shown result; None where it is not there any more."""
        if report != self._report:
            self._report = report
            self._widgets.pdfEdit.setCurrentPath(str(report) if report is not None else "")
        self.update()

    def update(self) -> None:
        """Say what is missing before the report can be signed."""
        reason = self._missing()
        self._run.setReason(reason is not None, reason or _("Asks for the passphrase of the key and signs."))
        self._updateButtons()

    def leave(self) -> None:
        """The scene is closed: nothing is asked any more; a run under way ends."""
        self.dialog.close()
        self._run.cancel()

    def cleanup(self) -> None:
        """Before the panel goes."""
        self.dialog.close()
        self._run.cleanup()

    def _missing(self) -> str | None:
        pdf, key, out = (Path(edit.currentPath) if edit.currentPath else None for edit in
                         (self._widgets.pdfEdit, self._widgets.keyEdit, self._widgets.signedEdit))
        if pdf is None:
            return _("There is no report: apply, or measure again. Or choose one of an earlier run.")
        if not pdf.is_file():
            return _("The report does not exist: {path}").format(path=pdf)
        if pdf == self._report and self._isOutdated():
            return _("The report is older than the last edits: measure again before it is signed.")
        if key is None:
            return _("Choose the file with your key (.p12 or .pfx).")
        if not key.is_file():
            return _("The key file does not exist: {path}").format(path=key)
        if out is None:
            return _("Choose where to save the signed report.")
        return None

    def _updateButtons(self) -> None:
        there = bool(self._widgets.pdfEdit.currentPath) and Path(self._widgets.pdfEdit.currentPath).is_file()
        self._widgets.openReportButton.setEnabled(there)
        self._widgets.checkSignatureButton.setEnabled(there and not self._run.isRunning)

    def _onOpen(self, _checked=False) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self._widgets.pdfEdit.currentPath))

    def _onCheck(self, _checked=False) -> None:
        self._widgets.signatureLabel.setText("")
        self._run.start(SignRun(self._widgets.pdfEdit.currentPath))

    def _onSign(self, _checked=False) -> None:
        if self._run.isRunning:
            self._run.cancel()
        else:
            self._widgets.signatureLabel.setText("")
            self.dialog.ask(Path(self._widgets.keyEdit.currentPath).name)

    def _onPassphrase(self, passphrase: str) -> None:
        widgets = self._widgets
        self._run.start(SignRun(widgets.pdfEdit.currentPath, widgets.keyEdit.currentPath,
                                widgets.signedEdit.currentPath, passphrase))

    def _onFinished(self, outcome: SignOutcome) -> None:
        if outcome.signed is not None:
            self._widgets.pdfEdit.setCurrentPath(str(outcome.signed))  # what "Check signature" is about from now on
        text = escape(outcome.text).replace("\n", "<br>")
        self._widgets.signatureLabel.setText(f"<span style='color:{_COLORS[outcome.sound]}'>{text}</span>")
