"""``mriseg test``: the test suite of a checkout (the layers of imports are among its tests)."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

from ..errors import BadArguments
from .worker_python import WorkerPython

_REPOSITORY = Path(__file__).resolve().parents[3]


def test(arguments, worker: WorkerPython) -> int:
    """Run pytest on this repository; returns 0 when all tests pass."""
    if not (_REPOSITORY / "Testing").is_dir():
        raise BadArguments("This installation holds no tests.", "Run them from a checkout of the repository.")
    if importlib.util.find_spec("pytest") is None:
        raise BadArguments("The package pytest is not installed.", "./mriseg test installs what the tests need.")
    done = subprocess.run(
        [worker.executable, "-m", "pytest", *arguments.pytest_arguments], cwd=_REPOSITORY, env=worker.environment
    )
    return 1 if done.returncode else 0
