"""Reviews that are being kept, one after the other, while the person is at the next case."""

from __future__ import annotations

from collections.abc import Callable

import qt

from .saving import SavingRun

_POLL_EVERY_MS = 50


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

    def clear(self) -> None:
        """End all; what was not kept is lost."""
        self._timer.stop()
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
            self._end(run)
            self._onFailed(run, exception)
            return
        self._end(run)

    def _end(self, run: SavingRun) -> None:
        self._runs.remove(run)
        run.end()
        self._onChanged()
