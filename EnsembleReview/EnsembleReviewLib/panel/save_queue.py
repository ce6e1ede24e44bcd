"""Reviews that are being kept, one after the other, while the person is at the next case."""

from __future__ import annotations

import time
from collections.abc import Callable

import qt

from .saving import SavingRun

_POLL_EVERY_MS = 50
_LONGEST_FINISH_S = 60.0


class SaveQueue:
    """Runs :class:`SavingRun` objects in the order in which they came.

    Args:
        onChanged: called whenever the number of waiting reviews changed.
        onFailed: called with the run and its exception.
    """

    def __init__(self, onChanged: Callable[[], None], onFailed: Callable[[SavingRun, Exception], None]):
        self._onChanged, self._onFailed = onChanged, onFailed
        self._runs: list[SavingRun] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_EVERY_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def waiting(self) -> int:
        """How many reviews are not kept yet."""
        return len(self._runs)

    def isSaving(self, fusionNode) -> bool:
        """Whether a review of this result is on its way."""
        return any(run.case.nodes.fusion is fusionNode for run in self._runs)

    def add(self, run: SavingRun) -> None:
        """Keep a review when those before it are kept."""
        self._runs.append(run)
        self._timer.start()
        self._onChanged()

    def leaveScene(self) -> None:
        """Before the scene is closed: take what is still needed of it. The reviews are kept afterwards."""
        for run in list(self._runs):
            try:
                run.leaveScene()
            except Exception as exception:
                self._onFailed(run, exception)
                self._end(run)

    def finish(self) -> None:
        """Before the panel goes: keep all that is waiting. This is the one place that waits, for seconds: a person's
        word must not get lost because the application was closed right after it."""
        self._timer.stop()
        deadline = time.monotonic() + _LONGEST_FINISH_S
        while self._runs and time.monotonic() < deadline:
            self._poll()
            time.sleep(0.02)
        runs, self._runs = self._runs, []
        for run in runs:
            run.end()

    def _poll(self) -> None:
        if not self._runs:
            self._timer.stop()
            return
        run = self._runs[0]
        try:
            if not run.poll():
                return
        except Exception as exception:
            self._onFailed(run, exception)
        self._end(run)

    def _end(self, run: SavingRun) -> None:
        self._runs.remove(run)
        run.end()
        self._onChanged()
