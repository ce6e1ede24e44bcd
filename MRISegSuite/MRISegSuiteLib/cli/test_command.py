"""``mriseg test``: the test suite of a checkout (the layers of imports are among its tests)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

from ..errors import BadArguments
from .worker_python import WorkerPython

_REPOSITORY = Path(__file__).resolve().parents[3]
#: The whole suite runs on this many processes at most, each with files of its own: most tests wait for one other
#: process, that of a job, which keeps one core busy.
_MOST_PROCESSES = 4


def test(arguments, worker: WorkerPython) -> int:
    """Run pytest on this repository, with the arguments given or else all tests; returns 0 when all pass."""
    if not (_REPOSITORY / "Testing").is_dir():
        raise BadArguments("This installation holds no tests.", "Run them from a checkout of the repository.")
    if importlib.util.find_spec("pytest") is None:
        raise BadArguments("The package pytest is not installed.", "./mriseg test installs what the tests need.")
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
    chosen = arguments.pytest_arguments or ["-n", str(processes), "--dist", "loadfile"]
    done = subprocess.run([worker.executable, "-m", "pytest", *chosen], cwd=_REPOSITORY, env=worker.environment)
    return 1 if done.returncode else 0
