"""Where the worker's packages lie: in this Python, or, inside Slicer, in a folder of their own.

Slicer's own Python gets nothing that it does not have. Its worker runs in PythonSlicer, the same interpreter, with
this folder on PYTHONPATH.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadArguments, BadInput, error_from_write
from ..files import replace
from ..user_data import user_data_folder
from .packages import PACKAGES, TORCH, TORCH_CUDA_MEGABYTES, Package, pip_steps

FOLDER_VARIABLE = "MRISEG_WORKER_FOLDER"
MANIFEST = "mriseg-environment.json"
TORCH_INDEXES = {"cpu": "https://download.pytorch.org/whl/cpu", "cuda": "https://download.pytorch.org/whl/cu128"}


@dataclass(frozen=True)
class EnvironmentStatus:
    """What the worker's environment holds.

    Attributes:
        ready: whether the worker can run networks.
        folder: the folder of packages; None when they live in this Python itself.
        versions: package -> version that the worker would use.
        missing: packages that are not there.
        megabytes: size of the folder on disk.
        text: one sentence for a person.
    """

    ready: bool
    folder: Path | None
    versions: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)
    megabytes: int = 0
    text: str = ""


class WorkerEnvironment:
    """The Python and the packages of the worker process.

    Args:
        folder: folder of packages put on the worker's PYTHONPATH; None to use those of ``python`` as they are.
        python: the Python of the worker; by default this one (inside Slicer ``sys.executable`` is PythonSlicer).
    """

    #: What has to be there.
    packages = PACKAGES

    def __init__(self, folder=None, python=None):
        self.folder = Path(folder) if folder is not None else None
        self.python = Path(python or sys.executable)

    @classmethod
    def default(cls) -> WorkerEnvironment:
        """This Python in plain Python; PythonSlicer with the user's folder of packages inside Slicer."""
        chosen = os.environ.get(FOLDER_VARIABLE)
        in_slicer = hasattr(sys.modules.get("slicer"), "app")
        if not chosen and not in_slicer:
            return cls()
        # Compiled packages belong to one version of Python, so every Slicer with another Python has its own folder.
        return cls(chosen or folder_of_this_python("WorkerPython"), _python_slicer() if in_slicer else None)

    def variables_to_install(self) -> dict:
        """The environment variables of the process that installs: it must not see the folder that it replaces."""
        return dict(os.environ)

    def environment_variables(self) -> dict:
        """All environment variables for the worker process, ready for ``JobProcess(environment=…)``."""
        environment = dict(os.environ)
        if self.folder is not None:
            entries = [str(self.folder)] + environment.get("PYTHONPATH", "").split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(entry for entry in entries if entry))
        return environment

    def status(self) -> EnvironmentStatus:
        """What is there; reads package metadata only and imports nothing."""
        versions, missing = {}, []
        for package in self.packages:
            version = self._version_of(package)
            if version is None:
                missing.append(package.name)
            else:
                versions[package.name] = version
        size = _megabytes(self.folder) if self.folder is not None and self.folder.is_dir() else 0
        text = self._status_text(versions, missing, size)
        return EnvironmentStatus(not missing, self.folder, versions, missing, size, text)

    def _status_text(self, versions: dict, missing: list, size: int) -> str:
        """What is there, as one sentence."""
        if self.folder is not None and self.folder.is_dir():
            if missing:
                return (f"The worker's packages in {self.folder} ({size} MB) are not complete: "
                        f"{', '.join(missing)} missing.")
            return f"The worker's packages are in {self.folder} ({size} MB), torch {versions[TORCH.name]}."
        if not missing:
            return f"This Python has all the worker's packages, torch {versions[TORCH.name]}."
        if self.folder is not None:
            return f"The worker's packages are not installed yet: {', '.join(missing)} missing."
        return f"The worker's packages in this Python ({self.python}) are not complete: {', '.join(missing)} missing."

    def packages_to_install(self) -> list[Package]:
        """What an installation would fetch. torch is left out where this Python has it (PyTorch extension)."""
        if self.folder is None:
            return [p for p in self.packages if self._version_of(p) is None]
        return [p for p in self.packages if not (p is TORCH and importlib.util.find_spec("torch") is not None)]

    def megabytes_to_install(self, accelerator: str = "cpu") -> int:
        """About how much room an installation takes; show it before :meth:`start_install`."""
        return sum(
            TORCH_CUDA_MEGABYTES if p is TORCH and accelerator == "cuda" else p.megabytes
            for p in self.packages_to_install()
        )

    def install_command(self, wheels=None, accelerator: str | None = None) -> list[list[str]]:
        """The pip commands of an installation, one list of arguments each, to show or to copy."""
        return pip_steps(
            self.packages_to_install(), str(self.python), None if self.folder is None else str(self.folder),
            None if wheels is None else str(wheels), torch_index=_index_of(accelerator),
        )

    def start_install(self, wheels=None, accelerator: str | None = None):
        """Start the installation and return an :class:`InstallProcess` (poll, cancel, wait).

        Args:
            wheels: folder of wheel files for a computer without network.
            accelerator: "cpu" or "cuda" picks a build of torch from PyTorch's own index; None takes PyPI's.

        Raises:
            BadArguments: packages live in this Python itself (plain Python): ./mriseg installs them.
            BadInput: ``wheels`` is no folder with wheels.
            UnwritableOutput, DiskFull
        """
        from .install import InstallProcess

        if self.folder is None:
            raise BadArguments("The worker uses the packages of this Python, so there is no folder to fill.",
                               "Run ./mriseg, or: " + " ; ".join(" ".join(c) for c in self.install_command()))
        if wheels is not None and not list(Path(wheels).glob("*.whl")):
            raise BadInput(f"{wheels} holds no wheel files (*.whl).", "Choose the folder that you downloaded them to.")
        _index_of(accelerator)
        return InstallProcess(self, None if wheels is None else Path(wheels).resolve(), accelerator)

    def remove(self) -> None:
        """Delete the folder of packages.

        Raises:
            BadArguments: there is none, or the folder is not one that an installation here made.
            UnwritableOutput
        """
        if self.folder is None or not self.folder.is_dir():
            raise BadArguments("There is no worker environment to remove.")
        if not (self.folder / MANIFEST).is_file():
            raise BadArguments(f"{self.folder} was not made by MRI Seg Suite, so it is not removed.",
                               "Remove it yourself if nothing else needs it.")
        doomed = self.folder.with_name(f".{self.folder.name}.removing-{os.getpid()}")
        try:
            replace(self.folder, doomed)  # first renamed: half an environment is worse than none
            shutil.rmtree(doomed)
        except OSError as exception:
            raise error_from_write(exception, self.folder) from exception

    def _version_of(self, package: Package) -> str | None:
        paths = ([] if self.folder is None else [str(self.folder)]) + sys.path
        for distribution in importlib.metadata.distributions(name=package.name, path=paths):
            return distribution.version
        return None

    def manifest(self) -> dict | None:
        """What the installation wrote down about itself; None when there is none."""
        if self.folder is None or not (self.folder / MANIFEST).is_file():
            return None
        return json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))


def folder_of_this_python(name: str) -> Path:
    """A folder of packages in the user's data, for this version of Python."""
    return user_data_folder() / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"


def _python_slicer() -> str:
    """PythonSlicer, which Slicer puts on PATH."""
    found = shutil.which("PythonSlicer")
    if found is None:
        raise BadInput("The executable PythonSlicer of this Slicer was not found on PATH.", "Reinstall Slicer.")
    return found


def _index_of(accelerator: str | None) -> str | None:
    if accelerator is None:
        return None
    if accelerator not in TORCH_INDEXES:
        raise BadArguments(f"There is no build of torch for {accelerator!r}.", "Choose cpu or cuda.")
    return TORCH_INDEXES[accelerator]


def _megabytes(folder: Path) -> int:
    return round(sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)
