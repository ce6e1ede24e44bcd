"""Lets a module's logic be run by a :class:`~MRISegSuiteLib.panel.run_control.RunControl`."""

from __future__ import annotations


class LogicRunner:
    """One run of a logic with ``poll``, ``cancel``, ``finishInSteps`` and ``jobFolder``.

    Args:
        logic: the logic.
        begin: starts the run, without waiting for it.
    """

    def __init__(self, logic, begin):
        self._logic, self._begin = logic, begin

    def start(self) -> None:
        self._begin()

    def poll(self):
        return self._logic.poll()

    def cancel(self) -> None:
        self._logic.cancel()

    def finish(self):
        return self._logic.finishInSteps()

    def logFolder(self):
        return self._logic.jobFolder
