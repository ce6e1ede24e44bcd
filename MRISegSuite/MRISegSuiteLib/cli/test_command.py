"""``mriseg test``: the layers of imports, then pytest."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

from ..errors import BadArguments
from .worker_python import WorkerPython

_REPOSITORY = Path(__file__).resolve().parents[3]


def test(arguments, worker: WorkerPython) -> int:
    """Run lint-imports and pytest of this repository; returns 0 when both pass."""
    if not (_REPOSITORY / "Testing").is_dir():
        raise BadArguments("This installation holds no tests.", "Run them from a checkout of the repository.")
    for package in ("pytest", "importlinter"):
        if importlib.util.find_spec(package) is None:
            raise BadArguments(f"The package {package} is not installed.", "./mriseg test installs it.")
    layers = subprocess.run(
        [worker.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=_REPOSITORY, env=worker.environment | {"PYTHONPATH": _python_path()},
    )
    tests = subprocess.run(
        [worker.executable, "-m", "pytest", *arguments.pytest_arguments], cwd=_REPOSITORY, env=worker.environment
    )
    return 1 if layers.returncode or tests.returncode else 0


def _python_path() -> str:
    return os.pathsep.join(str(_REPOSITORY / name) for name in ("MRISegSuite", "KneeSeg"))
