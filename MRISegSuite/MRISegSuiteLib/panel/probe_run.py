"""The task "probe" as a run of a panel or of a script: which devices the worker finds."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from ..environment import WorkerEnvironment
from ..jobs import Job, JobProcess


class ProbeRun:
    """One probe; :meth:`finish` gives the report of :func:`MRISegSuiteLib.environment.probe.report`."""

    def __init__(self, device: str = "auto"):
        self._device = device
        self._process: JobProcess | None = None

    def start(self) -> None:
        worker = WorkerEnvironment.default()
        folder = tempfile.mkdtemp(prefix="mriseg-probe-")
        self._process = JobProcess.for_job(Job("probe", {}, {"device": self._device}), folder,
                                           python=str(worker.python), environment=worker.environment_variables())
        self._process.start()

    def poll(self):
        return self._process.poll()

    def cancel(self) -> None:
        self._process.cancel()
        shutil.rmtree(self._process.folder, ignore_errors=True)

    def finish(self) -> dict:
        result = self._process.result()  # raises the error of a failed run, whose folder with the log stays
        report = json.loads((self._process.folder / result.files["devices"]).read_text(encoding="utf-8"))
        shutil.rmtree(self._process.folder, ignore_errors=True)
        return report

    def logFolder(self) -> Path:
        return self._process.folder


