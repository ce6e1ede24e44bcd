"""``mriseg experts``: the packages that SAM 3 and MedGemma need; off until they are installed."""

from __future__ import annotations

import sys

from ..environment import LargeModelsEnvironment
from .jobs_commands import follow
from .worker_python import WorkerPython


def experts(arguments, worker: WorkerPython) -> int:
    """``mriseg experts [show|install|remove]``; the command is the agreement to the download.

    Raises:
        SuiteError: it cannot be done; what was there before is unchanged.
    """
    environment = LargeModelsEnvironment()
    if arguments.action == "install":
        return _install(environment, arguments.wheels)
    if arguments.action == "remove":
        environment.remove()
    print(environment.status().text)
    return 0


def _install(environment: LargeModelsEnvironment, wheels: str | None) -> int:
    print(f"Installing into {environment.folder}: about {environment.megabytes_to_install()} MB", file=sys.stderr)
    state = follow(lambda: environment.start_install(wheels))
    if state.error is not None:
        raise state.error
    print(environment.status().text)
    return 0
