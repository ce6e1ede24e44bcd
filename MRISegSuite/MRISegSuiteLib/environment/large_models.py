"""The packages of SAM 3 and MedGemma: a folder of their own beside the worker's, off until a user installs it.

Only workers of jobs that ask one of the two see it; all others start as fast, and with the same packages, as before.
"""

from __future__ import annotations

import os

from ..errors import BadArguments
from ..jobs import Job
from .packages import LARGE_MODELS
from .worker_environment import WorkerEnvironment, folder_of_this_python

FOLDER_VARIABLE = "MRISEG_LARGE_MODELS_FOLDER"
HOW_TO_INSTALL = ("Install the packages for large models: module MRI Seg Suite, section Large models, or "
                  "./mriseg experts install.")
#: Parameters of jobs that ask a large model.
_ASKED_BY = ("sam3", "medgemma")


class LargeModelsEnvironment(WorkerEnvironment):
    """The folder with transformers, used together with the worker's own environment.

    Args:
        worker: the environment of all other jobs, by default this computer's; it has torch.
    """

    packages = LARGE_MODELS

    def __init__(self, worker: WorkerEnvironment | None = None):
        self.worker = worker or WorkerEnvironment.default()
        folder = os.environ.get(FOLDER_VARIABLE) or folder_of_this_python("LargeModels")
        super().__init__(folder, self.worker.python)

    @classmethod
    def default(cls) -> LargeModelsEnvironment:
        """That of this computer."""
        return cls()

    def environment_variables(self) -> dict:
        """Those of the worker, with this folder behind its own."""
        return self.added_to(self.worker.environment_variables())

    def added_to(self, environment: dict) -> dict:
        """Environment variables with this folder behind what is on PYTHONPATH, where it is there."""
        if not self.folder.is_dir():
            return environment
        entries = [*environment.get("PYTHONPATH", "").split(os.pathsep), str(self.folder)]
        return environment | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(entry for entry in entries if entry))}

    def variables_to_install(self) -> dict:
        """Those of the worker: torch is there."""
        return self.worker.environment_variables()

    def start_install(self, wheels=None, accelerator: str | None = None):
        """See :meth:`WorkerEnvironment.start_install`. Raises BadArguments: the worker environment is not there."""
        status = self.worker.status()
        if not status.ready:
            raise BadArguments(f"{status.text} Large models need it too.", "Install the worker environment first.")
        return super().start_install(wheels, accelerator)

    def _status_text(self, versions: dict, missing: list, size: int) -> str:
        if missing:
            return (f"Off: {', '.join(missing)} not installed. SAM 3 and MedGemma abstain; nothing else needs "
                    "them.")
        version = versions["transformers"]
        if self.folder.is_dir():
            return f"The packages for large models are in {self.folder} ({size} MB), transformers {version}."
        return f"This Python has the packages for large models, transformers {version}."


def variables_for(job: Job, environment: dict) -> dict:
    """The environment variables of a worker for this job: ``environment``, and the folder for large models where the
    job asks one."""
    if not any(job.parameters.get(name) for name in _ASKED_BY):
        return environment
    return LargeModelsEnvironment().added_to(environment)
