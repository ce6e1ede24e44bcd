"""The section "All reviewed cases": statistics of the experts, and the training set."""

from __future__ import annotations

import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.jobs import Job, JobProcess
from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets

from ..feedback.saving import store_folder
from ..feedback.statistics import expert_statistics
from ..feedback.store import FeedbackStore
from .statistics_nodes import show_statistics


class FeedbackSection:
    """Works the widgets of the section; reads the store while the section is unfolded.

    Args:
        table: qMRMLTableView. chartButton: shows the chart. folderEdit: ctkPathLineEdit. run: of the export.
        section: the collapsible button.
    """

    def __init__(self, table, chartButton, folderEdit, run: RunWidgets, section):
        self._table, self._folderEdit, self._section = table, folderEdit, section
        self._chartButton, self._reasonLabel = chartButton, run.reasonLabel
        self._chart = None
        self._run = RunControl(run, _("Sa&ve training set"), self._exported)
        run.button.connect("clicked(bool)", self._onExport)
        chartButton.connect("clicked(bool)", self._onChart)
        folderEdit.connect("currentPathChanged(QString)", lambda _path: self._update())
        section.connect("contentsCollapsed(bool)", lambda _folded: self.refresh())
        self._update()

    def refresh(self) -> None:
        """Read the store again, where the section is unfolded."""
        if self._section.collapsed:
            return
        try:
            rows = expert_statistics(FeedbackStore(store_folder()).latest())
        except SuiteError as error:
            self._run.showError(error)
            return
        table, self._chart = show_statistics(slicer.mrmlScene, rows)
        self._table.setMRMLTableNode(table)
        self._table.resizeColumnsToContents()
        self._chartButton.setEnabled(bool(rows))

    def cleanup(self) -> None:
        """Before the panel goes."""
        self._run.cleanup()

    def _update(self) -> None:
        folder = self._folderEdit.currentPath
        missing = not folder or not Path(folder).is_dir()
        self._run.setReason(missing, _("Choose a folder for the training set.") if missing else
                            _("Writes the accepted and corrected cases for nnU-Net and MONAI, split by patient."))

    def _onChart(self, _checked=False) -> None:
        if self._chart is not None and slicer.mrmlScene.IsNodePresent(self._chart):
            slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    def _onExport(self, _checked=False) -> None:
        if self._run.isRunning:
            self._run.cancel()
        else:
            self._run.start(_ExportRun(self._folderEdit.currentPath))

    def _exported(self, result) -> None:
        text = _("{count} cases were written: {name} in that folder.").format(
            count=result.parameters["cases"], name=Path(result.parameters["dataset"]).name)
        self._run.setReason(False, "\n".join([text, *result.warnings]))


class _ExportRun:
    """The job feedback_export as a run of a panel; the first free number is taken for the data set."""

    def __init__(self, folder: str):
        self._target = Path(folder)
        self._process: JobProcess | None = None

    def start(self) -> None:
        taken = {path.name[7:10] for path in self._target.glob("Dataset[0-9][0-9][0-9]_*")}
        number = next(n for n in range(100, 1000) if f"{n:03d}" not in taken)
        worker = WorkerEnvironment.default()
        job = Job("feedback_export", {}, {"store": str(store_folder()), "folder": str(self._target),
                                          "number": number})
        self._process = JobProcess.for_job(job, tempfile.mkdtemp(prefix="mriseg-export-"), python=str(worker.python),
                                           environment=worker.environment_variables())
        self._process.start()

    def poll(self):
        return self._process.poll()

    def cancel(self) -> None:
        self._process.cancel()

    def finish(self):
        return self._process.result()

    def logFolder(self) -> Path:
        return self._process.folder
