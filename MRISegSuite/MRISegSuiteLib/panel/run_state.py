"""Where a panel stands with its run."""

from __future__ import annotations

from enum import Enum


class RunState(Enum):
    """One of these at any time; see :class:`MRISegSuiteLib.panel.run_control.RunControl`."""

    BLOCKED = "something is missing before a run can start"
    READY = "a run can start"
    RUNNING = "the worker is at work"
    DONE = "the last run ended well"
    FAILED = "the last run ended with an error"
    CANCELLED = "the user ended the last run"
