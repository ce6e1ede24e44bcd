"""The worker's Python environment: which packages it has, where they lie, what devices they find."""

from .worker_environment import EnvironmentStatus, WorkerEnvironment

__all__ = ["EnvironmentStatus", "WorkerEnvironment"]
