"""The tasks that a job may name, and where their code is. A job.json can reach these and nothing else."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from ..errors import BadArguments

TASKS = {
    "knee": "KneeSegLib.pipeline:run",
    "compare": "LongitudinalCompareLib.pipeline:run",
    "demo": "KneeSegLib.demo:run",
    "ensemble": "EnsembleReviewLib.pipeline:run",
    "feedback": "EnsembleReviewLib.feedback.saving:run",
    "feedback_export": "EnsembleReviewLib.feedback.saving:run_export",
    "review_images": "EnsembleReviewLib.reopening:run",
    "probe": "MRISegSuiteLib.environment.probe:run",
}

#: For tests only: further tasks as ``name=module:function``, separated by semicolons. It is the environment of the
#: person who starts the worker, so it gives a job file from elsewhere no way to name code.
EXTRA_TASKS_VARIABLE = "MRISEG_EXTRA_TASKS"


def find_task(name: str) -> Callable:
    """The function ``run(job, context) -> Result`` of a task.

    Raises:
        BadArguments: there is no such task.
    """
    known = all_tasks()
    if name not in known:
        raise BadArguments(f"There is no task named {name!r}.", f"The tasks are {', '.join(sorted(known))}.")
    module, _, function = known[name].partition(":")
    return getattr(importlib.import_module(module), function)


def all_tasks() -> dict[str, str]:
    """Task name -> "module:function"."""
    extra = os.environ.get(EXTRA_TASKS_VARIABLE, "")
    return TASKS | dict(entry.split("=", 1) for entry in extra.split(";") if entry)
