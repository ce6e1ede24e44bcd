"""What the logics of modules share: one job at a time, in a process of its own, its results loaded at the end.

The scene is read before the job starts (at once, or in steps, some at each poll) and written after it ended, never in
between, so a failed or canceled run leaves the scene as it was. Nothing here opens a dialog or needs Qt.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from inspect import isgenerator
from pathlib import Path

import slicer

from ..environment import WorkerEnvironment, variables_for
from ..errors import BadArguments, BadInput
from ..jobs import Job, JobProcess, JobState
from ..steps import all_at_once
from .node_names import error_with_node_names, with_node_names

_POLL_EVERY_S = 0.1
#: :meth:`JobLogic.poll` exports from the scene for about that long; a single step may take longer.
_EXPORT_FOR_S = 0.01
#: Folder inside the job folder for what is exported from the scene.
INPUTS = "input"


@dataclass
class _Run:
    """A run: ``writing`` are the steps that read the scene, ``process`` is None until they are done."""

    folder: Path
    load: Callable
    environment: dict | None
    writing: Generator | None = None
    process: JobProcess | None = None
    warnings: list = field(default_factory=list)
    nodeNames: dict = field(default_factory=dict)


class JobLogic:
    """Base of a module's logic: blocking for scripts, or start / poll / finish for a panel.

    Args:
        prefix: of the temporary folders, e.g. the name of the module.
    """

    def __init__(self, prefix: str = "MRISegSuite"):
        super().__init__()
        self._prefix = prefix
        self._run: _Run | None = None
        self._folder: Path | None = None
        self._temporaryFolder: tempfile.TemporaryDirectory | None = None
        self._runCount = 0

    @property
    def isRunning(self) -> bool:
        """True from the start of a run until :meth:`finish` or :meth:`cancel`."""
        return self._run is not None

    @property
    def jobFolder(self) -> Path | None:
        """Folder of the current run, or else the last one (log.txt, result.json …); None before the first."""
        return self._folder

    def poll(self) -> JobState:
        """Where the run stands. Cheap (one small file); does the next steps where the scene is read in steps.

        Raises:
            SuiteError: the scene cannot be read, or the job cannot start; the run is over.
        """
        run = self._current()
        if run.process is not None:
            return run.process.poll()
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < _EXPORT_FOR_S:
                next(run.writing)
        except StopIteration as end:
            self._launch(run, *end.value)
        except BaseException:
            self._run = None
            _remove_inputs(run.folder)
            raise
        return JobState("running", "Reading the scene")

    def cancel(self) -> None:
        """End the run with its whole process tree; the scene stays as it is. Does nothing when nothing runs."""
        if self._run is not None:
            run, self._run = self._run, None
            if run.process is not None:
                run.process.cancel()
            else:
                run.writing.close()
            _remove_inputs(run.folder)

    def finish(self):
        """Load the results of a run that is done; returns its nodes.

        Raises:
            SuiteError: the run failed or was canceled (its own error), or it is still running (BadArguments).
        """
        return all_at_once(self.finishInSteps())

    def finishInSteps(self):
        """:meth:`finish` for a panel: a generator that yields while there is more to do, and returns the nodes.

        The scene is changed in the last step alone; to close the generator before (or to :meth:`cancel`) leaves it as
        it was.
        """
        run = self._current()
        state = run.process.poll() if run.process is not None else JobState("running")
        if state.status == "running":
            raise BadArguments("The run has not finished yet.", "Wait for it, or cancel it.")
        try:
            if state.error is not None:
                _remove_inputs(run.folder)
                raise error_with_node_names(state.error, run.nodeNames)
            nodes = yield from run.load(run.folder)
        finally:
            if self._run is run:
                self._run = None
        nodes.warnings = run.warnings + [with_node_names(text, run.nodeNames) for text in nodes.warnings]
        return nodes

    def startJob(self, writeJob: Callable, load: Callable, jobFolder=None, environment=None) -> None:
        """Start a run.

        Args:
            writeJob: called with the job folder; writes job.json and its input files (into ``INPUTS``) and returns
                warnings, and file -> name of the node that it holds. Where that takes a while it is a generator of
                steps that returns them (see MRISegSuiteLib.steps), done by :meth:`poll`.
            load: called with the job folder when the job is done; a generator of steps (see MRISegSuiteLib.steps)
                that adds nodes to the scene in the last one and returns an object with a list ``warnings``.
            jobFolder: a new or empty folder that keeps the files; a temporary one by default.
            environment: environment variables of the worker; by default those of the worker environment.

        Raises:
            SuiteError: it cannot start; nothing of the exported files is left.
        """
        if self._run is not None:
            raise BadArguments("A run is under way already.", "Wait for it, or cancel it.")
        folder = self._folder = self._newFolder(jobFolder)
        try:
            written = writeJob(folder)
        except BaseException:
            _remove_inputs(folder)
            raise
        run = _Run(folder, load, environment)
        if isgenerator(written):
            run.writing = written
            self._run = run
        else:
            self._launch(run, *written)

    def _launch(self, run: _Run, warnings: list, nodeNames: dict) -> None:
        """The files are there: start the process."""
        run.warnings, run.nodeNames = warnings, nodeNames
        self._run = None
        try:
            worker = WorkerEnvironment.default()
            variables = run.environment
            if variables is None:
                variables = variables_for(Job.read(run.folder), worker.environment_variables())
            process = JobProcess(run.folder, python=str(worker.python), environment=variables)
            process.start()
        except BaseException:
            _remove_inputs(run.folder)
            raise
        run.process = process
        self._run = run

    def waitForJob(self, progress=None):
        """Wait for the run and :meth:`finish` it; ``progress`` is called with each JobState meanwhile."""
        try:
            while (state := self.poll()).status == "running":
                if progress is not None:
                    progress(state)
                if self._run.process is not None:
                    time.sleep(_POLL_EVERY_S)
        except BaseException:  # Ctrl+C, or an error in the caller's progress function: leave no process behind
            self.cancel()
            raise
        return self.finish()

    def _current(self) -> _Run:
        if self._run is None:
            raise BadArguments("Nothing is running.", "Start a run first.")
        return self._run

    def _newFolder(self, jobFolder) -> Path:
        if jobFolder is not None:
            folder = Path(jobFolder)
            if folder.exists() and any(folder.iterdir()):
                raise BadInput(f"The job folder {folder} is not empty.", "Choose a new or an empty folder.")
        else:
            if self._temporaryFolder is None:
                app = getattr(slicer, "app", None)
                parent = app.temporaryPath if app is not None else None
                self._temporaryFolder = tempfile.TemporaryDirectory(
                    prefix=f"{self._prefix}-", dir=parent, ignore_cleanup_errors=True)
            self._runCount += 1
            folder = Path(self._temporaryFolder.name) / f"run-{self._runCount}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _remove_inputs(folder: Path) -> None:
    """After a run without a result: the copies of the user's images go, the log stays."""
    shutil.rmtree(folder / INPUTS, ignore_errors=True)
