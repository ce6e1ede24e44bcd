"""A case of a folder on its way into the scene: a worker unpacks its images, then it is loaded step by step."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import slicer

from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.jobs import Job, JobProcess

from ..feedback.review import CORRECTED
from ..feedback.saving import store_folder
from ..scene import EnsembleNodes, add_case_in_steps
from .case_folder import CaseFile


@dataclass
class OpenedCase:
    """A case that was loaded from its files.

    Attributes:
        file, word: what it was loaded from, and the last word on it, or None.
        nodes, volumes: in the scene. added: all nodes that came with it.
        accepted: structure -> mask that a person stood for, where that was corrected.
    """

    file: CaseFile
    word: object
    nodes: EnsembleNodes
    volumes: list
    added: list
    accepted: dict


class OpenRun:
    """One case as a run of a panel; :meth:`start` may be called before its time, to have the images ready.

    Args:
        file: the case. word: the last :class:`feedback.review.Record` about it, or None.
    """

    def __init__(self, file: CaseFile, word=None):
        self.file, self._word = file, word
        self._process: JobProcess | None = None

    def start(self) -> None:
        """Start the worker; nothing happens where it was started. Raises SuiteError."""
        if self._process is not None:
            return
        worker = WorkerEnvironment.default()
        parameters = {"folder": str(self.file.folder)}
        if self._word is not None and self._word.origin == CORRECTED:
            parameters |= {"store": str(store_folder()), "record": self._word.uid}
        self._process = JobProcess.for_job(
            Job("review_images", {}, parameters), tempfile.mkdtemp(prefix="mriseg-review-"),
            python=str(worker.python), environment=worker.environment_variables())
        self._process.start()

    def poll(self):
        return self._process.poll()

    def cancel(self) -> None:
        if self._process is not None:
            self._process.cancel()
            shutil.rmtree(self._process.folder, ignore_errors=True)

    def finish(self):
        """A generator of steps that returns an :class:`OpenedCase`; the scene is changed in the last."""
        folder, result = self._process.folder, self._process.result()
        channels = result.parameters["channel_names"]
        images = {f"{self.file.name} {channel or f'image {n + 1}'}": folder / result.files[f"image_{n}"]
                  for n, channel in enumerate(channels)}
        accepted = {}
        for number, structure in enumerate(result.parameters["structures"]):
            yield
            accepted[structure] = read_image_file(folder / result.files[f"mask_{number}"])
        nodes, volumes, added = yield from add_case_in_steps(slicer.mrmlScene, self.file.folder, images)
        shutil.rmtree(folder, ignore_errors=True)
        return OpenedCase(self.file, self._word, nodes, volumes, added, accepted)

    def logFolder(self) -> Path:
        return self._process.folder
