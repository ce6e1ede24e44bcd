"""After a job: scene.mrb, where Slicer's MRML libraries are at hand. A failure here never touches the result."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from ..errors import SuiteError
from ..jobs.process_tree import end_tree, start_process
from ..jobs.runner import library_folders
from .worker_python import WorkerPython

_MODULE = "MRISegSuiteLib.scene.bundle"
_TASKS = ("knee", "demo", "ensemble", "compare")  # those with images and surfaces to look at
_LIMIT_S = 180.0
_LEFT_OUT = "scene.mrb was left out: "


def add_scene(folder: Path, task: str, worker: WorkerPython, limit_s: float = _LIMIT_S) -> str:
    """Write ``folder``/scene.mrb and name it in result.json; returns why it was left out, or an empty text.

    In plain Python in a process of its own with a time limit, because rendering and MRML libraries can take a process
    down with them. Inside Slicer in the application, which has them in memory.
    """
    if task not in _TASKS:
        return ""
    if worker.in_slicer:
        try:
            importlib.import_module(_MODULE).save_bundle(folder)
        except SuiteError as error:
            return _LEFT_OUT + str(error)
        return ""
    if importlib.util.find_spec("slicer") is None:
        return _LEFT_OUT + "it needs Slicer, or the Python package slicer-core."
    return _in_own_process(folder, worker, limit_s)


def _in_own_process(folder: Path, worker: WorkerPython, limit_s: float) -> str:
    code = (
        "import sys; from MRISegSuiteLib.errors import SuiteError\n"
        f"from {_MODULE} import save_bundle\n"
        "try: save_bundle(sys.argv[1])\n"
        "except SuiteError as error: sys.exit(str(error))"
    )
    inherited = worker.environment.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(entry for entry in dict.fromkeys(library_folders() + inherited) if entry)
    process = start_process([worker.executable, "-c", code, str(folder)], worker.environment | {"PYTHONPATH": path},
                            output=subprocess.PIPE, watched=False)
    try:
        output = process.communicate(timeout=limit_s)[0].decode(errors="replace")
        if process.returncode == 0:
            return ""
        lines = output.strip().splitlines() or [f"exit code {process.returncode}"]
        return _LEFT_OUT + lines[-1]
    except subprocess.TimeoutExpired:
        return _LEFT_OUT + f"it took longer than {limit_s:g} s."
    except KeyboardInterrupt:
        return _LEFT_OUT + "stopped."
    finally:
        end_tree(process)
        for aside in folder.glob(".scene-*"):
            shutil.rmtree(aside, ignore_errors=True)
