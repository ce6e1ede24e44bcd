"""The worker's Python environment: which packages it has, where they lie, what devices they find."""

from .large_models import LargeModelsEnvironment, variables_for
from .worker_environment import EnvironmentStatus, WorkerEnvironment

__all__ = ["EnvironmentStatus", "LargeModelsEnvironment", "WorkerEnvironment", "variables_for"]
