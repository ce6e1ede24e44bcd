"""LongitudinalCompare: scans of one patient over time, aligned, measured, and an honest answer to "has it changed?".

This file is what 3D Slicer loads: the module, its parameter node, its panel, its logic and its self test. It stays
thin; the work is in LongitudinalCompareLib and MRISegSuiteLib (what every module of the suite shares).
"""

from __future__ import annotations

import os
from enum import Enum

import slicer
from slicer import vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from LongitudinalCompareLib import scene as compare_scene
from LongitudinalCompareLib.compare_logic import CompareLogic
from LongitudinalCompareLib.panel.lesion_list import entries_of
from LongitudinalCompareLib.panel.link_corrections import LinkCorrections, LinkWidgets
from LongitudinalCompareLib.panel.result_text import gate_html, summary_html
from LongitudinalCompareLib.panel.signing_section import SigningSection, SigningWidgets
from LongitudinalCompareLib.panel.timepoint_rows import Row, TimepointRows, read_rows, write_rows
from LongitudinalCompareLib.panel.view_control import ViewControl, ViewWidgets
from LongitudinalCompareLib.recipes import Done, command_recipe, python_recipe
from LongitudinalCompareLib.response.criteria_files import DEFAULT, criteria
from LongitudinalCompareLib.scene.views import jump_to
from LongitudinalCompareLib.segmenting import BRAIN
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.models.card import SHAPE_BACKENDS
from MRISegSuiteLib.models.registry import Registry
from MRISegSuiteLib.panel.copying import file_of_node, suite_command
from MRISegSuiteLib.panel.logic_runner import LogicRunner
from MRISegSuiteLib.panel.node_selectors import give_buddies, keep_narrow
from MRISegSuiteLib.panel.parameter_panel import ParameterPanel
from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets

_EDITED = slicer.vtkSegmentation.SourceRepresentationModified
_EXPERTS, _PANEL_TASK = "experts:", "glioma"  # a panel of all models of a task, in the place of a model's id


class LongitudinalCompare(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Longitudinal Comparison")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation"),
                                  translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = ["MRISegSuite"]
        self.parent.contributors = ["MRI Seg Suite contributors"]
        self.parent.helpText = _(
            "Aligns two or more scans of one patient, measures lesions in each scan's own grid, and says what has"
            " changed and how sure that is. Not a medical device: for research use only."
        )
        self.parent.acknowledgementText = _("Part of MRI Seg Suite.")


class CompareEngine(Enum):
    """What registers."""

    automatic = ""
    greedy = "greedy"
    simpleitk = "simpleitk"
    ants = "ants"

    def label(self) -> str:
        return {"": _("Automatic"), "greedy": _("Greedy"), "simpleitk": _("SimpleITK"),
                "ants": _("ANTs (own environment)")}[self.value]


class CompareAnatomy(Enum):
    """What the registration looks at."""

    auto = "auto"
    brain = "brain"
    body = "body"

    def label(self) -> str:
        return {"auto": _("Brain, else the body"), "brain": _("Brain"), "body": _("Body")}[self.value]


@parameterNodeWrapper
class LongitudinalCompareParameterNode:
    """What the panel remembers, saved with the scene.

    timepointCount: how many scans there are; the scans themselves, their lesions and dates are references and
        parameters with numbers in their names (see LongitudinalCompareLib.panel.timepoint_rows).
    criteria: id of the response criterion. modelId: segments where there are no masks; empty: nothing does.
    engine, anatomy: how the scans are registered. brainModelId: model of the user's that finds the brain to register
        in; empty: the built-in search. jacobian: add a map of local expansion.
    calibrateImage: put known growth into the baseline's own scan, where a model or experts segment.
    result: table of the shown result.
    """

    timepointCount: int = 2
    criteria: str = DEFAULT
    modelId: str = ""
    engine: CompareEngine = CompareEngine.automatic
    anatomy: CompareAnatomy = CompareAnatomy.auto
    brainModelId: str = ""
    jacobian: bool = False
    calibrateImage: bool = False
    result: vtkMRMLTableNode


class LongitudinalCompareWidget(ScriptedLoadableModuleWidget, ParameterPanel):
    """The panel. Everything that it does can be done with :class:`LongitudinalCompareLogic` from a script."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        ParameterPanel.__init__(self)
        self._run = self._views = self._links = self._signing = self._timepoints = None
        self._pending = self._done = None  # the run under way, and the last one: what the copy buttons describe
        self._result = None  # CompareNodes of the chosen result
        self._warnings = []
        self._edited = False
        self._observed = []  # segmentations and lines whose changes make the numbers old
        self._entries = []
        self._updating = False

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LongitudinalCompare.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LongitudinalCompareLogic()
        self._run = RunControl(
            RunWidgets(self.ui.applyButton, self.ui.progressBar, self.ui.stageLabel, self.ui.reasonLabel,
                       self.ui.errorFrame, self.ui.errorLabel, self.ui.detailsButton, self.ui.detailsText),
            startText=_("&Apply"), onFinished=self._onFinished, onStateChanged=self._updateButtons)
        self._views = ViewControl(
            ViewWidgets(self.ui.modeSelector, self.ui.contrastSelectorLabel, self.ui.contrastSelector,
                        self.ui.fadeSlider, self.ui.blinkButton), lambda: self._result)
        self._links = LinkCorrections(
            LinkWidgets(self.ui.sameButton, self.ui.notSameButton, self.ui.linkLabel, self.ui.correctionList,
                        self.ui.undoCorrectionButton),
            lambda: self._result, self._chosenLesions, self._onCorrected, self._jumpTo)
        ui = self.ui
        self._signing = SigningSection(
            SigningWidgets(ui.pdfEdit, ui.keyEdit, ui.signedEdit, ui.openReportButton, ui.checkSignatureButton,
                           ui.signatureLabel),
            RunWidgets(ui.signButton, ui.sign_progressBar, ui.sign_stageLabel, ui.sign_reasonLabel,
                       ui.sign_errorFrame, ui.sign_errorLabel, ui.sign_detailsButton, ui.sign_detailsText),
            uiWidget, self._isOutdated)
        self._criteria = criteria()
        for one in self._criteria.values():
            self.ui.criteriaSelector.addItem(one.title, one.id)
        self.ui.criteriaSelector.addItem(_("None"), "none")
        self.ui.resultTable.verticalHeader().setVisible(False)
        give_buddies(ui, ["resultSelector"])
        keep_narrow(ui, ["resultSelector"])
        self._timepoints = TimepointRows(
            ui.timepointsFrame.layout(), ui.addTimepointButton, ui.sortTimepointsButton,
            lambda: self._parameterNode.parameterNode if self._parameterNode is not None else None)
        # Only tables of comparisons are results.
        self.ui.resultSelector.addAttribute("vtkMRMLTableNode", "MRISegSuite.Comparison")

        self._observeScene()
        self.ui.applyButton.connect("clicked(bool)", self._onApply)
        self.ui.measureAgainButton.connect("clicked(bool)", self._onMeasureAgain)
        self.ui.editButton.connect("clicked(bool)", self._onEdit)
        self.ui.layoutButton.connect("clicked(bool)", self._onLayout)
        self.ui.showPlotButton.connect("clicked(bool)", self._onShowPlot)
        self.ui.alignedCheckBox.connect("clicked(bool)", self._onAligned)
        self.ui.lesionList.connect("currentRowChanged(int)", self._onLesion)
        self.ui.lesionList.connect("itemSelectionChanged()", self._onLesionsChosen)
        self.ui.criteriaSelector.connect("currentIndexChanged(int)", self._onCriterion)
        self.ui.modelSelector.connect("currentIndexChanged(int)", self._onModel)
        self.ui.brainModelSelector.connect("currentIndexChanged(int)", self._onBrainModel)
        self.ui.saveFilesButton.connect("clicked(bool)", self._onSaveFiles)
        self.ui.filesFolderEdit.connect("currentPathChanged(QString)", lambda _path: self._updateButtons())
        self.ui.copyPythonButton.connect("clicked(bool)", self._onCopyPython)
        self.ui.copyCommandButton.connect("clicked(bool)", self._onCopyCommand)
        self._initializeParameterNode()

    # -- life of the panel -------------------------------------------------------------------------------------------

    def cleanup(self):
        """The application or a reload takes the panel away: no process, no timer, no observer stays."""
        if self._run is not None:
            self._run.cleanup()
            self._views.stop()
            self._signing.cleanup()
        self._setParameterNode(None)
        self._observe([])
        self.removeObservers()

    def enter(self):
        self._initializeParameterNode()

    def exit(self):
        """Another module is shown: a run goes on, its result is loaded when it is there."""
        self._views.stop()
        self._disconnectGui()

    def _onSceneStartClose(self, caller, event):
        self._run.cancel(_("Cancelled, because the scene was closed."))
        self._views.stop()
        self._signing.leave()
        self._observe([])
        self._result = self._done = None
        self._warnings = []
        super()._onSceneStartClose(caller, event)

    def _setParameterNode(self, parameterNode):
        super()._setParameterNode(parameterNode)
        if parameterNode is not None:
            self._fillModels()

    # -- what is chosen ----------------------------------------------------------------------------------------------

    def _rows(self):
        """The timepoints as chosen; those without a volume count only where a later one has one."""
        rows = self._timepoints.rows()
        while rows and rows[-1].volume is None:
            rows.pop()
        return rows

    def _inputs(self):
        """(volumes, masks, dates) as chosen."""
        rows = self._rows()
        return [row.volume for row in rows], [row.mask for row in rows], [row.date for row in rows]

    def _missing(self):
        """What is missing before a run can start, or None."""
        volumes, masks, dates = self._inputs()
        if len(volumes) < 2 or None in volumes:
            return _("Choose a baseline and a follow-up, in the order of time.")
        rows = self._rows()
        scans = [*volumes, *(volume for row in rows for _name, volume in row.further)]
        if None in scans:
            return _("Choose a scan for every contrast, or remove the contrast.")
        if len({node.GetID() for node in scans}) < len(scans):
            return _("One volume is chosen twice. Choose each timepoint's own scan.")
        if not all(row.hasNames for row in rows):
            return _("Give each contrast of a timepoint a name of its own, e.g. FLAIR, T1, T1c.")
        for node in scans:
            if node.GetImageData() is None:
                return _("The volume \"{name}\" holds no image. Choose another one.").format(name=node.GetName())
        if any(masks) and None in masks:
            return _("Choose the lesions of every scan, or of none.")
        if any(dates) and not all(row.hasDate for row in rows):
            return _("Give the date of every scan as YYYY-MM-DD, or of none.")
        if any(dates) and sorted(set(dates)) != dates:
            return _("The dates are not in the order of the scans.")
        return None

    def _intention(self):
        volumes, masks, dates = self._inputs()
        if any(masks):
            text = _("Aligns {count} scans and measures their lesions.")
        elif self._parameterNode.modelId.startswith(_EXPERTS):
            text = _("Segments {count} scans with a panel of experts, aligns and measures them.")
        elif self._parameterNode.modelId:
            text = _("Segments {count} scans with the model, aligns and measures them.")
        else:
            text = _("Aligns {count} scans. Nothing is measured: no lesions are chosen.")
        return text.format(count=len(volumes))

    def _fillModels(self):
        selector, chosen = self.ui.modelSelector, self._parameterNode.modelId
        self._updating = True
        selector.clear()
        selector.addItem(_("None"), "")
        cards = [card for card in Registry().cards() if card.backend not in SHAPE_BACKENDS]
        for card in cards:
            selector.addItem(card.title, card.id)
        if sum(card.task == _PANEL_TASK for card in cards) > 1:
            selector.addItem(_("Panel of all models for gliomas"), _EXPERTS + _PANEL_TASK)
        selector.setCurrentIndex(max(0, selector.findData(chosen)))
        selector, chosen = self.ui.brainModelSelector, self._parameterNode.brainModelId
        selector.clear()
        selector.addItem(_("Built-in search"), "")
        for card in cards:
            if BRAIN in card.names:
                selector.addItem(card.title, card.id)
        selector.setCurrentIndex(max(0, selector.findData(chosen)))
        for widget in (selector, self.ui.brainModelSelectorLabel):
            widget.setVisible(selector.count > 1)
        self._updating = False

    def _onModel(self, index):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.modelId = self.ui.modelSelector.itemData(index) or ""

    def _onBrainModel(self, index):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.brainModelId = self.ui.brainModelSelector.itemData(index) or ""

    def _onCriterion(self, index):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.criteria = self.ui.criteriaSelector.itemData(index) or DEFAULT

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _update(self, caller=None, event=None):
        if self._parameterNode is None:
            return
        self._timepoints.update()
        reason = self._missing()
        self._run.setReason(reason is not None, reason or self._intention())
        self._updating = True
        self.ui.criteriaSelector.setCurrentIndex(
            max(0, self.ui.criteriaSelector.findData(self._parameterNode.criteria)))
        self._updating = False
        one = self._criteria.get(self._parameterNode.criteria)
        verified = "" if one is None or one.verified else _("Its thresholds have not been checked by a clinician yet.")
        self.ui.criterionLabel.setText(verified)
        self.ui.criterionLabel.setVisible(bool(verified))
        segments = not any(self._inputs()[1])
        self.ui.modelSelector.setEnabled(segments)
        self.ui.calibrateCheckBox.setEnabled(segments and bool(self._parameterNode.modelId))
        self._showResult()
        self._updateButtons()

    def _showResult(self):
        """Gate, summary, lesions and table of the chosen result."""
        table = self._parameterNode.result
        nodes = self.logic.nodesOf(table)
        changed = (nodes.table if nodes else None) is not (self._result.table if self._result else None)
        self._result = nodes
        if changed:
            self._edited = False
        self._observe([] if nodes is None else [mask.GetSegmentation() for mask in nodes.masks]
                      + list(nodes.lines.values()))
        if self.ui.resultTable.mrmlTableNode() is not (nodes.table if nodes else None):
            self.ui.resultTable.setMRMLTableNode(nodes.table if nodes else None)
            self.ui.resultTable.resizeColumnsToContents()
        for widget in (self.ui.resultTable, self.ui.gateLabel):
            widget.setVisible(nodes is not None)
        self.ui.gateLabel.setText(gate_html(compare_scene.record_of(nodes)) if nodes is not None else "")
        self.ui.summaryLabel.setText(self._summary())
        self._fillLesions()
        self._views.update()
        self._signing.showReport(self.logic.reportOf(nodes.table) if nodes is not None else None)
        if changed or (nodes is not None and self.ui.editSelector.count != len(nodes.masks)):
            self.ui.editSelector.clear()
            for n in range(len(nodes.masks) if nodes else 0):
                self.ui.editSelector.addItem(compare_scene.record_of(nodes)["timepoints"][n]["label"].capitalize(), n)
        self.ui.alignedCheckBox.setChecked(nodes is not None and compare_scene.is_aligned(nodes))

    def _summary(self):
        if self._result is None:
            return _("No result yet.")
        old = []
        if self._edited:
            old.append(_("Lesions or diameters were edited since: press \"Measure again\"."))
        if not compare_scene.are_links_measured(self._result):
            old.append(_("Links were corrected since: press \"Measure again\"."))
        told = [text for text in self._warnings if not text.startswith("Registration of the")]
        return summary_html(compare_scene.record_of(self._result), old, told)

    def _fillLesions(self):
        """The list, with lengths as the lines lie now; the chosen row stays chosen."""
        nodes, entries = self._result, []
        if nodes is not None:
            record, diameters = compare_scene.record_of(nodes), compare_scene.diameters_of(nodes)
            for pair in range(len(record["pairs"])):
                found = entries_of(record, diameters, pair)
                if len(record["pairs"]) > 1:
                    label = record["timepoints"][record["pairs"][pair]["timepoint"] - 1]["label"]
                    found = [one if one["isPart"] else one | {"text": f"{label.capitalize()}, {one['text']}"}
                             for one in found]
                entries += found
        texts = [one["text"] for one in entries]
        self.ui.lesionList.setVisible(bool(texts))
        unchanged = texts == [one["text"] for one in self._entries] and self.ui.lesionList.count == len(texts)
        self._entries = entries
        if unchanged:
            self._links.update()
            return
        row = self.ui.lesionList.currentRow
        self._updating = True
        self.ui.lesionList.clear()
        for text in texts:
            self.ui.lesionList.addItem(text)
        if 0 <= row < len(texts):
            self.ui.lesionList.setCurrentRow(row)
        self._updating = False
        self._links.update()

    def _updateButtons(self):
        running, nodes = self._run.isRunning, self._result
        there = nodes is not None
        self.ui.measureAgainButton.setEnabled(there and len(nodes.volumes) > 1 and not running)
        for widget in (self.ui.editButton, self.ui.editSelector):
            widget.setEnabled(there and bool(nodes.masks))
        for widget in (self.ui.layoutButton, self.ui.modeSelector, self.ui.fadeSlider, self.ui.blinkButton,
                       self.ui.lesionList):
            widget.setEnabled(there)
        self.ui.alignedCheckBox.setEnabled(there and bool(nodes.transforms))
        report = self.logic.reportOf(nodes.table) if there else None
        self.ui.saveFilesButton.setEnabled(report is not None and os.path.isdir(self.ui.filesFolderEdit.currentPath))
        self.ui.showPlotButton.setEnabled(there and nodes.chart is not None)
        self.ui.copyPythonButton.setEnabled(self._done is not None)
        self.ui.copyCommandButton.setEnabled(self._done is not None)

    def _observe(self, objects):
        """Notice when a person edits the masks or moves the diameters that the numbers describe."""
        if [id(one) for one in objects] == [id(one) for one in self._observed]:
            return
        for one in self._observed:
            event, method = self._eventOf(one)
            if self.hasObserver(one, event, method):
                self.removeObserver(one, event, method)
        self._observed = list(objects)
        for one in self._observed:
            self.addObserver(one, *self._eventOf(one))

    def _eventOf(self, one):
        if one.IsA("vtkSegmentation"):
            return _EDITED, self._onMaskEdited
        return slicer.vtkMRMLMarkupsNode.PointModifiedEvent, self._onDiameterMoved

    def _onMaskEdited(self, caller, event):
        self._markEdited()

    def _onDiameterMoved(self, caller, event):
        if self._result is not None and any(one["moved"] for one in compare_scene.diameters_of(self._result)):
            self._markEdited()
            self._fillLesions()

    def _markEdited(self):
        if not self._edited:
            self._edited = True
            self._showOutdated()

    def _isOutdated(self):
        """Whether the numbers and the report are older than what a person edited or corrected."""
        return self._result is not None and (
            self._edited or not compare_scene.are_links_measured(self._result))

    def _showOutdated(self):
        self.ui.summaryLabel.setText(self._summary())
        self._signing.update()

    # -- what the buttons do -----------------------------------------------------------------------------------------

    def _onApply(self, checked=False):
        if self._run.isRunning:
            self._run.cancel()
            return
        volumes, masks, dates = self._inputs()
        masks = [] if None in masks else masks
        dates = [] if "" in dates else dates
        p = self._parameterNode
        modelId = "" if masks else p.modelId
        experts = [modelId.removeprefix(_EXPERTS)] if modelId.startswith(_EXPERTS) else []
        modelId = "" if experts else modelId
        jacobian, calibrate = p.jacobian, p.calibrateImage and bool(modelId or experts)
        rows = self._rows()
        several = any(row.further for row in rows)
        contrasts = [row.contrasts or [row.name] for row in rows] if several else []
        further = [[volume for _name, volume in row.further] for row in rows] if several else []
        self._pending = Done(
            volumes=[node.GetName() for node in volumes], volumeFiles=[file_of_node(node) for node in volumes],
            masks=[node.GetName() for node in masks], maskFiles=[file_of_node(node) for node in masks], dates=dates,
            criteria="" if p.criteria == DEFAULT else p.criteria, engine=p.engine.value,
            anatomy="" if p.anatomy is CompareAnatomy.auto else p.anatomy.value, modelId=modelId,
            brainModelId=p.brainModelId, jacobian=p.jacobian, experts=experts, calibrateImage=calibrate,
            contrasts=contrasts,
            further=[[node.GetName() for node in nodes] for nodes in further],
            furtherFiles=[[file_of_node(node) for node in nodes] for nodes in further])
        self._run.start(LogicRunner(self.logic, lambda: self.logic.process(
            volumes, masks, dates, criteria=p.criteria, engine=p.engine.value, anatomy=p.anatomy.value,
            modelId=modelId, jacobian=jacobian, contrasts=contrasts, furtherNodes=further, experts=experts,
            calibrateImage=calibrate, brainModelId=p.brainModelId, waitForCompletion=False)))

    def _onMeasureAgain(self, checked=False):
        table, nodes = self._result.table, self._result
        given = compare_scene.inputs_of(nodes)
        further = [[nodes.further[n, name] for name in names[1:] if (n, name) in nodes.further]
                   for n, names in enumerate(given.get("contrasts", []), start=1)]
        self._pending = Done(
            volumes=[node.GetName() for node in nodes.volumes],
            volumeFiles=[file_of_node(node) for node in nodes.volumes],
            masks=[node.GetName() for node in nodes.masks], maskFiles=[file_of_node(node) for node in nodes.masks],
            dates=given.get("dates", []), criteria=given.get("criteria", ""), engine=given.get("engine", ""),
            anatomy=given.get("anatomy", ""), brainModelId=given.get("brain_model", ""),
            jacobian=given.get("jacobian", False), again=table.GetName(),
            contrasts=given.get("contrasts", []), further=[[one.GetName() for one in row] for row in further],
            furtherFiles=[[file_of_node(one) for one in row] for row in further])
        self._edited = False  # edits from here on are not in the numbers that this run will give
        self._run.start(LogicRunner(self.logic, lambda: self.logic.measureAgain(table, waitForCompletion=False)))

    def _onFinished(self, nodes):
        self._done = self._pending
        self._warnings = list(nodes.warnings)
        if self._parameterNode is None:
            return  # the scene was closed or the panel left while the result was loaded
        self._parameterNode.result = nodes.table
        self._edited = False
        self._update()
        self._onLayout()

    def _onLayout(self, checked=False):
        record = compare_scene.record_of(self._result)
        self._views.showLayout([one["label"] for one in record["timepoints"]])

    def _onShowPlot(self, checked=False):
        self._views.showChart()

    def _onAligned(self, checked=False):
        self.logic.align(self._result, self.ui.alignedCheckBox.checked)

    def _onLesion(self, row):
        if not self._updating and self._result is not None and 0 <= row < len(self._entries):
            self._jumpTo(self._entries[row]["timepoint"], self._entries[row]["point"])

    def _jumpTo(self, timepoint, point):
        jump_to(slicer.mrmlScene, self._result, timepoint, point)

    def _chosenLesions(self):
        rows = sorted(self.ui.lesionList.row(item) for item in self.ui.lesionList.selectedItems())
        return [self._entries[row] for row in rows if row < len(self._entries)]

    def _onLesionsChosen(self):
        if not self._updating:
            self._links.update()

    def _onCorrected(self):
        self._showOutdated()
        self._links.update()

    def _onEdit(self, checked=False):
        number = self.ui.editSelector.itemData(self.ui.editSelector.currentIndex)
        segmentation, volume = self._result.masks[number], self._result.volumes[number]
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)

    def _onSaveFiles(self, checked=False):
        try:
            names = self.logic.saveFiles(self._result.table, self.ui.filesFolderEdit.currentPath)
        except SuiteError as error:
            self.ui.savedLabel.setText(str(error))
        else:
            dicom = sum(name.endswith(".dcm") for name in names)
            self.ui.savedLabel.setText(
                _("{count} files were saved, {dicom} of them DICOM.").format(count=len(names), dicom=dicom))

    def _onCopyPython(self, checked=False):
        self._copy(python_recipe(self._done), _("The Python script was copied."))

    def _onCopyCommand(self, checked=False):
        self._copy(command_recipe(self._done, suite_command()), _("The command was copied."))

    def _copy(self, text, message):
        slicer.app.clipboard().setText(text)
        self.ui.copiedLabel.setText(message)


class LongitudinalCompareLogic(ScriptedLoadableModuleLogic, CompareLogic):
    """The public API for the console and for scripts: everything is in
    :class:`LongitudinalCompareLib.compare_logic.CompareLogic`, which works without Slicer's application too. Never
    opens a dialog."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)

    def getParameterNode(self) -> LongitudinalCompareParameterNode:
        return LongitudinalCompareParameterNode(super().getParameterNode())


class LongitudinalCompareTest(ScriptedLoadableModuleTest):
    """Run by Slicer's self test button and by ``slicer_add_python_unittest``."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_parameterNodeRemembersItsValues()

    def test_parameterNodeRemembersItsValues(self):
        parameters = LongitudinalCompareLogic().getParameterNode()
        volumes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"scan {n}") for n in range(5)]
        write_rows(parameters.parameterNode, [Row(volume, None, "2024-01-01") for volume in volumes])
        parameters.engine = CompareEngine.simpleitk
        again = LongitudinalCompareLogic().getParameterNode()
        self.assertEqual([row.volume for row in read_rows(again.parameterNode)], volumes)
        self.assertEqual(again.engine, CompareEngine.simpleitk)
