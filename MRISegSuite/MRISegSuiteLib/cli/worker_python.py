"""Which Python runs the worker process: this one, or PythonSlicer with its folder of packages inside Slicer."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ..environment import WorkerEnvironment


@dataclass(frozen=True)
class WorkerPython:
    """A Python executable and the environment variables to start it with.

    Attributes:
        executable: path of the Python.
        environment: all environment variables of the worker.
        in_slicer: whether this process is the Slicer application.
    """

    executable: str
    environment: dict
    in_slicer: bool

    @classmethod
    def here(cls) -> WorkerPython:
        """The worker's Python for this process."""
        # Not "import slicer": in plain Python that would load slicer-core, which the command line does not need.
        in_slicer = hasattr(sys.modules.get("slicer"), "app")
        environment = WorkerEnvironment.default()
        return cls(str(environment.python), environment.environment_variables(), in_slicer)
