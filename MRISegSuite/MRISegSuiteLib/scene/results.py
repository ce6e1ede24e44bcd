"""Which function loads the results of which task into a scene."""

from __future__ import annotations

import importlib

from ..errors import BadInput

# The modules' own libraries lie above this one; naming them in text keeps the imports pointing downwards.
_LOADERS = {
    "knee": "KneeSegLib.scene:add_results",
    "demo": "KneeSegLib.scene:add_results",
    "compare": "LongitudinalCompareLib.scene:add_results",
    "ensemble": "EnsembleReviewLib.scene:add_results",
}


def add_results(scene, job_folder, task: str, volumeNode=None):
    """Load a finished job of ``task`` into ``scene``; returns what the task's own function returns.

    Raises:
        BadInput: results of this task have no place in a scene.
        SuiteError: see the task's own function.
    """
    if task not in _LOADERS:
        raise BadInput(f"Results of the task {task!r} cannot be shown in a scene.")
    module, _, function = _LOADERS[task].partition(":")
    return getattr(importlib.import_module(module), function)(scene, job_folder, volumeNode)
