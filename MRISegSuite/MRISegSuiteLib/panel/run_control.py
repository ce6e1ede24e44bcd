"""One run in a panel: a button that starts and cancels it, its progress, its error. Never blocks, opens no dialog.

The run itself is in a process of its own; a timer asks it ten times a second where it stands.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from inspect import isgenerator
from pathlib import Path
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from ..errors import SuiteError, causes_of
from ..jobs.folder import LOG_FILE
from .readable import readable_duration
from .run_state import RunState

_POLL_EVERY_MS = 100
_LONGEST_LOG_BYTES = 200_000


class Runner(Protocol):
    """What can be run: a module's logic, or a test's own."""

    def start(self) -> None:
        """Start the run and return at once. Raises SuiteError when it cannot start."""

    def poll(self) -> Any:
        """Where it stands (a ``JobState``)."""

    def cancel(self) -> None:
        """End it with all its processes."""

    def finish(self) -> Any:
        """Take over the result. Raises the SuiteError of a failed run.

        Where that takes a while it is a generator of steps that returns the result (see MRISegSuiteLib.steps); events
        pass between them.
        """

    def logFolder(self) -> Path | None:
        """The folder with the run's log.txt."""


@dataclass
class RunWidgets:
    """The widgets of one run, as they are in the .ui file."""

    button: Any
    progressBar: Any
    stageLabel: Any
    reasonLabel: Any
    errorFrame: Any
    errorLabel: Any
    detailsButton: Any
    detailsText: Any


class RunControl:
    """Starts, shows, cancels and finishes the run of a panel.

    Args:
        widgets: the widgets to work with.
        startText: what stands on the button while nothing runs (the button becomes "Cancel" meanwhile).
        onFinished: called with what ``finish`` of the run returned.
        onStateChanged: called after every change of :attr:`state`.
    """

    def __init__(self, widgets: RunWidgets, startText: str, onFinished: Callable[[Any], None] | None = None,
                 onStateChanged: Callable[[], None] | None = None):
        self.state = RunState.BLOCKED
        self._widgets = widgets
        self._startText = startText
        self._onFinished = onFinished
        self._onStateChanged = onStateChanged
        self._runner: Runner | None = None
        self._steps = None  # taking over the result of a run that is done
        self._logFolder: Path | None = None
        self._cause = ""  # of the error shown: what a developer needs beside the sentence
        self._reason = ""
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_EVERY_MS)
        self._timer.connect("timeout()", self._poll)
        widgets.detailsButton.connect("toggled(bool)", self._showDetails)
        self._showIdle()

    @property
    def isRunning(self) -> bool:
        return self._runner is not None

    def setReason(self, blocked: bool, text: str) -> None:
        """Say why the button is disabled (``blocked``), or what it will do."""
        self._reason = text
        if not self.isRunning:
            if blocked:
                self._setState(RunState.BLOCKED)
            elif self.state == RunState.BLOCKED:
                self._setState(RunState.READY)
            self._showIdle()

    def start(self, runner: Runner) -> bool:
        """Start a run; False (and the error is shown) when it could not start."""
        if self.isRunning:
            raise RuntimeError("a run is under way already")
        self.clearError()
        self._logFolder = None  # a log of an earlier run says nothing about this one
        try:
            runner.start()
        except Exception as exception:
            self._fail(exception)
            return False
        self._runner = runner
        self._logFolder = runner.logFolder()
        self._setState(RunState.RUNNING)
        self._showRunning(_("Starting"), 0.0, None)
        self._timer.start()
        return True

    def cancel(self, message: str = "") -> None:
        """End the run; nothing happens when none is under way."""
        if not self.isRunning:
            return
        self._abandon()
        self._setState(RunState.CANCELLED)
        self._showIdle()
        self._widgets.reasonLabel.setText(message or _("Cancelled. Nothing was changed."))

    def cleanup(self) -> None:
        """Before the panel goes: no process and no timer stays behind."""
        self._onStateChanged = None
        if self.isRunning:
            self._abandon()
        self._timer.stop()

    def clearError(self) -> None:
        """Take an error message away."""
        self._cause = ""
        self._widgets.errorFrame.setVisible(False)
        self._widgets.detailsButton.setChecked(False)

    def showError(self, exception: Exception) -> None:
        """Show a failure in the panel; call it from an ``except`` block."""
        self._fail(exception)

    def _poll(self) -> None:
        if not self.isRunning:  # the timer had fired before it was stopped
            return
        if self._steps is None:
            try:
                state = self._runner.poll()
            except Exception as exception:
                self._abandon()
                self._fail(exception)
                return
            if state.status == "running":
                self._showRunning(state.stage, state.fraction, state.seconds_left)
                return
            self._showRunning(_("Loading the result"), 1.0, None)
            self._steps = self._finishing(self._runner)
        self._nextStep()

    def _nextStep(self) -> None:
        """Go on with taking over the result; the timer calls again as soon as the events that wait have passed."""
        self._timer.stop()  # a step may let events pass itself
        steps = self._steps
        try:
            next(steps)
        except StopIteration:
            self._setState(RunState.DONE)
            self._showIdle()
        except Exception as exception:
            if self._steps is steps:
                self._endOfRun()
            self._fail(exception)
        else:
            self._timer.setInterval(0)
            self._timer.start()

    def _finishing(self, runner: Runner):
        result = runner.finish()
        if isgenerator(result):
            result = yield from result
            yield  # what the panel does with the result is a step too
        self._endOfRun()
        if self._onFinished is not None:
            self._onFinished(result)

    def _endOfRun(self) -> Runner:
        self._timer.stop()
        self._timer.setInterval(_POLL_EVERY_MS)
        runner, self._runner, self._steps = self._runner, None, None
        return runner

    def _abandon(self) -> None:
        steps = self._steps
        runner = self._endOfRun()
        if steps is not None:
            steps.close()
        runner.cancel()

    def _fail(self, exception: Exception) -> None:
        widgets = self._widgets
        if isinstance(exception, SuiteError):
            text = str(exception)
            self._cause = causes_of(exception)
        else:
            # A defect of ours: the person gets a sentence, the traceback goes to the details and to Slicer's log.
            text = _("Unexpected error: {error}. Please report it with the details below.").format(error=exception)
            self._cause = "".join(traceback.format_exception(exception))
            logging.error("%s", self._cause)
        widgets.errorLabel.setText(text)
        widgets.errorFrame.setVisible(True)
        self._setState(RunState.FAILED)
        self._showIdle()

    def _showDetails(self, shown: bool) -> None:
        if shown:
            self._widgets.detailsText.setPlainText(self._details())
        self._widgets.detailsText.setVisible(shown)
        self._widgets.detailsButton.setText(_("Hide &details") if shown else _("Show &details"))

    def _details(self) -> str:
        parts = [self._cause] if self._cause else []
        log = self._logFolder / LOG_FILE if self._logFolder is not None else None
        if log is not None and log.is_file():
            data = log.read_bytes()[-_LONGEST_LOG_BYTES:]
            parts.append(data.decode("utf-8", errors="replace"))
        return "\n".join(parts) or _("There is no log: the run had not started.")

    def _showRunning(self, stage: str, fraction: float, secondsLeft: float | None) -> None:
        widgets = self._widgets
        widgets.progressBar.setValue(round(1000 * fraction))
        text = stage
        if secondsLeft is not None:
            text = _("{stage}: about {time} left").format(stage=stage, time=readable_duration(secondsLeft))
        if widgets.stageLabel.text != text:
            widgets.stageLabel.setText(text)

    def _showIdle(self) -> None:
        blocked = self.state == RunState.BLOCKED
        self._widgets.button.setEnabled(not blocked)
        self._widgets.button.setToolTip(self._reason)
        self._widgets.reasonLabel.setText(self._reason)

    def _setState(self, state: RunState) -> None:
        self.state = state
        running = state == RunState.RUNNING
        widgets = self._widgets
        widgets.button.setText(_("&Cancel") if running else self._startText)
        widgets.button.setEnabled(state != RunState.BLOCKED)
        widgets.reasonLabel.setVisible(not running)
        widgets.progressBar.setVisible(running)
        widgets.stageLabel.setVisible(running)
        if running:
            widgets.button.setToolTip(_("End the run; the scene stays as it is."))
            widgets.progressBar.setValue(0)
        if self._onStateChanged is not None:
            self._onStateChanged()
