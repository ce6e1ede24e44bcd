"""MRI Seg Suite: the hub. What this computer can compute on, what the worker needs, which models there are.

This file is what 3D Slicer loads: the module, its panel, its logic and its self test. It stays thin; the work is in
MRISegSuiteLib.
"""

from __future__ import annotations

import time

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from MRISegSuiteLib.environment import LargeModelsEnvironment, WorkerEnvironment
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.models.registry import Registry
from MRISegSuiteLib.panel.card_text import card_html
from MRISegSuiteLib.panel.confirm_button import ConfirmButton
from MRISegSuiteLib.panel.device_text import device_text
from MRISegSuiteLib.panel.environment_section import EnvironmentSection, EnvironmentTexts, EnvironmentWidgets
from MRISegSuiteLib.panel.file_check import FileCheck
from MRISegSuiteLib.panel.probe_run import ProbeRun
from MRISegSuiteLib.panel.readable import readable_size
from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets

_MODEL_COLUMN, _FILES_COLUMN = 0, 1
_TALLEST_TABLE = 380  # pixels: the embedded models and a few more; the rest is scrolled


class MRISegSuite(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MRI Seg Suite")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["MRI Seg Suite contributors"]
        self.parent.helpText = _(
            "The computing device, the worker's packages and the models that the modules of MRI Seg Suite use."
            " Nothing is downloaded without your agreement. Not a medical device: for research use only."
        )
        self.parent.acknowledgementText = _("Part of MRI Seg Suite.")


class MRISegSuiteWidget(ScriptedLoadableModuleWidget):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self._probe = None
        self._environments = []  # the worker's packages, and those of large models
        self._fileCheck = self._fitTimer = None
        self._cards = []
        self._fileStates = {}  # (model id, sha256) -> what the check of its files found

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MRISegSuite.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MRISegSuiteLogic()

        self._probe = RunControl(
            RunWidgets(ui.probeButton, ui.probe_progressBar, ui.probe_stageLabel, ui.probe_reasonLabel,
                       ui.probe_errorFrame, ui.probe_errorLabel, ui.probe_detailsButton, ui.probe_detailsText),
            startText=_("Check the &device"), onFinished=self._onProbed)
        self._probe.setReason(False, _("Starts the worker and tries a real computation on each device."))
        self._environments = [
            EnvironmentSection(
                EnvironmentWidgets(ui.environmentLabel, ui.wheelFolderSelector, ui.agreeCheckBox,
                                   ui.removeEnvironmentButton,
                                   RunWidgets(ui.installButton, ui.environment_progressBar, ui.environment_stageLabel,
                                              ui.environmentReasonLabel, ui.environment_errorFrame,
                                              ui.environment_errorLabel, ui.environment_detailsButton,
                                              ui.environment_detailsText)),
                EnvironmentTexts(_("I a&gree"), _("&Install"), _("&Remove {size}?")),
                self.logic.environment, self._refreshEnvironments),
            EnvironmentSection(
                EnvironmentWidgets(ui.largeLabel, ui.largeWheelFolderSelector, ui.largeAgreeCheckBox,
                                   ui.removeLargeButton,
                                   RunWidgets(ui.installLargeButton, ui.large_progressBar, ui.large_stageLabel,
                                              ui.largeReasonLabel, ui.large_errorFrame, ui.large_errorLabel,
                                              ui.large_detailsButton, ui.large_detailsText)),
                EnvironmentTexts(_("I agree (&2)"), _("Install (&3)"), _("Remove {size}? (&4)")),
                self.logic.largeModelsEnvironment, self._refreshEnvironments),
        ]
        ui.probeButton.connect("clicked(bool)", self._onProbe)

        self._fileCheck = FileCheck(self._onFilesChecked)
        self._setUpModelsTable()
        ui.modelsTable.connect("itemSelectionChanged()", self._onModelSelected)
        ui.checkModelButton.connect("clicked(bool)", self._onCheckModel)
        ui.addModelButton.connect("clicked(bool)", self._onAddModel)
        ui.addModelSelector.connect("currentPathChanged(QString)", self._onModelPathChanged)
        self._removeModel = ConfirmButton(
            ui.removeModelButton, lambda: _("Really re&move?"), self._onRemoveModel)
        self.refresh()

    def cleanup(self):
        """The application or a reload takes the panel away: no process and no timer stays."""
        for run in (self._probe, *(section.run for section in self._environments)):
            if run is not None:
                run.cleanup()
        if self._fileCheck is not None:
            self._fileCheck.stop()
        if self._fitTimer is not None:
            self._fitTimer.stop()

    def enter(self):
        self.refresh()

    def exit(self):
        for section in self._environments:
            section.reset()
        self._removeModel.reset()

    def refresh(self):
        """Read everything again from disk."""
        self._refreshEnvironments()
        self._refreshModels()

    # -- device ------------------------------------------------------------------------------------------------------

    def _onProbe(self, checked=False):
        if self._probe.isRunning:
            self._probe.cancel()
        else:
            self._probe.start(ProbeRun())

    def _onProbed(self, report):
        self.ui.deviceLabel.setText(device_text(report))

    # -- environments ------------------------------------------------------------------------------------------------

    def _refreshEnvironments(self):
        for section in self._environments:
            section.refresh()

    # -- models ------------------------------------------------------------------------------------------------------

    def _setUpModelsTable(self):
        """The title takes what the other columns leave, and is wrapped there: no scrolling to the side."""
        table = self.ui.modelsTable
        headers = [_("Model"), _("Files"), _("Version"), _("Size")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        for column in range(len(headers)):
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if column == _MODEL_COLUMN
                                        else qt.QHeaderView.ResizeToContents)
        # Once all columns have their new width, not after each.
        self._fitTimer = qt.QTimer()
        self._fitTimer.setSingleShot(True)
        self._fitTimer.setInterval(0)
        self._fitTimer.connect("timeout()", self._fitModelsTable)
        header.connect("sectionResized(int,int,int)", lambda *_unused: self._fitTimer.start())

    def _fitModelsTable(self):
        """Rows as tall as their text, the table as tall as its rows."""
        table = self.ui.modelsTable
        table.resizeRowsToContents()
        rows = sum(table.rowHeight(row) for row in range(table.rowCount))
        height = table.horizontalHeader().height + rows + 2 * table.frameWidth
        table.setFixedHeight(min(_TALLEST_TABLE, max(height, 2 * table.horizontalHeader().height)))

    def _refreshModels(self):
        table = self.ui.modelsTable
        registry = self.logic.registry()
        chosen = self._selectedCard()
        self._fileCheck.stop()
        self._cards = registry.cards()
        table.setRowCount(len(self._cards))
        for row, card in enumerate(self._cards):
            toolTip = _("{title}: {backend}, license {license}").format(
                title=card.title, backend=card.backend, license=card.content["license"])
            for column, text in enumerate((card.title, self._fileState(card), card.version,
                                           readable_size(card.bytes))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(toolTip)
                table.setItem(row, column, item)
            if (card.id, card.sha256) not in self._fileStates:
                self._fileCheck.add(card)
        self._fitModelsTable()
        rows = [row for row, card in enumerate(self._cards) if chosen is not None and card.id == chosen.id]
        if self._cards:
            table.selectRow(rows[0] if rows else 0)
        broken = [str(error) for error in registry.broken()]
        self._tellAboutModels("\n".join(broken))
        self._onModelSelected()

    def _tellAboutModels(self, text):
        self.ui.modelMessageLabel.setText(text)
        self.ui.modelMessageLabel.setVisible(bool(text))

    def _selectedCard(self):
        row = self.ui.modelsTable.currentRow()
        return self._cards[row] if 0 <= row < len(self._cards) else None

    def _fileState(self, card):
        return self._fileStates.get((card.id, card.sha256), _("checking"))

    def _onModelSelected(self):
        card = self._selectedCard()
        self._removeModel.reset()
        self.ui.checkModelButton.setEnabled(card is not None)
        self.ui.removeModelButton.setEnabled(card is not None and self.logic.isUsersOwn(card))
        if card is None:
            self.ui.modelCardBrowser.setPlainText(_("There is no model on this computer. Add one above."))
        else:
            self.ui.modelCardBrowser.setHtml(card_html(card))

    def _onCheckModel(self, checked=False):
        card = self._selectedCard()
        self._fileStates.pop((card.id, card.sha256), None)
        self._showFileState(card)
        self._fileCheck.add(card)

    def _onFilesChecked(self, card, problem):
        self._fileStates[(card.id, card.sha256)] = _("changed") if problem else _("OK")
        self._showFileState(card)
        if problem:
            self._tellAboutModels(_("{model}: {problem}. It will not be used.").format(
                model=card.id, problem=problem))

    def _showFileState(self, card):
        for row, other in enumerate(self._cards):
            if other.id == card.id:
                self.ui.modelsTable.item(row, _FILES_COLUMN).setText(self._fileState(card))

    def _onModelPathChanged(self, path):
        self.ui.addModelButton.setEnabled(bool(path))

    def _onAddModel(self, checked=False):
        try:
            card = self.logic.registry().add(self.ui.addModelSelector.currentPath)
        except SuiteError as error:
            self._tellAboutModels(str(error))
            return
        self._refreshModels()
        self.ui.modelsTable.selectRow([other.id for other in self._cards].index(card.id))
        self._tellAboutModels(_("Added {model}.").format(model=card.id))

    def _onRemoveModel(self):
        card = self._selectedCard()
        try:
            self.logic.registry().remove(card.id)
        except SuiteError as error:
            self._tellAboutModels(str(error))
            return
        self._refreshModels()
        self._tellAboutModels(_("Removed {model}.").format(model=card.id))


class MRISegSuiteLogic(ScriptedLoadableModuleLogic):
    """What the panel shows, for scripts. Never opens a dialog."""

    def environment(self) -> WorkerEnvironment:
        """The Python and the packages of the worker."""
        return WorkerEnvironment.default()

    def largeModelsEnvironment(self) -> LargeModelsEnvironment:
        """The packages of SAM 3 and MedGemma."""
        return LargeModelsEnvironment.default()

    def registry(self) -> Registry:
        """The models of this computer."""
        return Registry()

    def isUsersOwn(self, card) -> bool:
        """Whether the user added this model (only those can be removed)."""
        return card.folder is not None and card.folder.parent == self.registry().user_dir

    def deviceReport(self, device: str = "auto") -> dict:
        """Start the worker, try every device and wait for the report; see ``environment.probe.report``.

        Raises:
            SuiteError: the worker could not do it.
        """
        run = ProbeRun(device)
        run.start()
        try:
            while run.poll().status == "running":
                time.sleep(0.1)
        except BaseException:  # Ctrl+C: leave no process behind
            run.cancel()
            raise
        return run.finish()


class MRISegSuiteTest(ScriptedLoadableModuleTest):
    """Run by Slicer's self test button and by ``slicer_add_python_unittest``."""

    def runTest(self):
        self.setUp()
        self.test_environmentTellsItsState()
        self.test_everyModelHasTheFilesOfItsCard()
        self.test_workerReportsItsDevices()

    def test_environmentTellsItsState(self):
        status = MRISegSuiteLogic().environment().status()
        self.assertEqual(status.ready, not status.missing)
        self.assertTrue(status.text)

    def test_everyModelHasTheFilesOfItsCard(self):
        registry = MRISegSuiteLogic().registry()
        self.assertEqual(registry.broken(), [])
        for card in registry.cards():
            registry.check(card.id)

    def test_workerReportsItsDevices(self):
        report = MRISegSuiteLogic().deviceReport()
        self.assertTrue(report["python"])
        if report["packages"]["torch"]:
            self.assertIn(report["chosen"], ("cpu", "cuda"))
        else:
            self.assertIn("torch", report["reason"])
