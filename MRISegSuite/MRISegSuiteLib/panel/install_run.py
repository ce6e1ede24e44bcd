"""The installation of the worker's packages as a run of a panel."""

from __future__ import annotations

from pathlib import Path

from ..environment import WorkerEnvironment


class InstallRun:
    """One installation into ``environment``, from the folder ``wheels`` or (None) from the package index."""

    def __init__(self, environment: WorkerEnvironment, wheels: Path | None):
        self._environment, self._wheels = environment, wheels
        self._process = None

    def start(self) -> None:
        self._process = self._environment.start_install(wheels=self._wheels)

    def poll(self):
        return self._process.poll()

    def cancel(self) -> None:
        self._process.cancel()

    def finish(self) -> None:
        state = self._process.poll()
        if state.error is not None:
            raise state.error

    def logFolder(self) -> Path:
        return self._process.folder
