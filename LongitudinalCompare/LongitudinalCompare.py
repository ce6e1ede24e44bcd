"""LongitudinalCompare: scans of one patient over time, aligned, measured, and an honest answer to "has it changed?".

This file is what 3D Slicer loads: the module, its parameter node, its panel, its logic and its self test. It stays
thin; the work is in LongitudinalCompareLib and MRISegSuiteLib (what every module of the suite shares).
"""

from __future__ import annotations

import re
from enum import Enum
from html import escape

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from LongitudinalCompareLib import scene as compare_scene
from LongitudinalCompareLib.compare_logic import CompareLogic
from LongitudinalCompareLib.panel.lesion_list import entries_of
from LongitudinalCompareLib.panel.view_control import ViewControl, ViewWidgets
from LongitudinalCompareLib.recipes import Done, command_recipe, python_recipe
from LongitudinalCompareLib.response.criteria_files import DEFAULT, criteria
from LongitudinalCompareLib.scene.views import jump_to
from MRISegSuiteLib.models.card import SHAPE_BACKENDS
from MRISegSuiteLib.models.registry import Registry
from MRISegSuiteLib.panel.copying import file_of_node, suite_command
from MRISegSuiteLib.panel.keyboard import give_buddies
from MRISegSuiteLib.panel.logic_runner import LogicRunner
from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets

_EDITED = slicer.vtkSegmentation.SourceRepresentationModified
_MOST = 4  # timepoints in the panel; scripts take any number
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_GATE_COLORS = {"good": "#2e7d32", "check": "#b26a00", "failed": "#c62828"}


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

    volume1 … volume4: the scans in the order of time. mask1 … mask4: their lesions (may be empty).
    date1 … date4: YYYY-MM-DD (may be empty).
    criteria: id of the response criterion. modelId: segments where there are no masks; empty: nothing does.
    engine, anatomy: how the scans are registered.
    result: table of the shown result.
    """

    volume1: vtkMRMLScalarVolumeNode
    volume2: vtkMRMLScalarVolumeNode
    volume3: vtkMRMLScalarVolumeNode
    volume4: vtkMRMLScalarVolumeNode
    mask1: vtkMRMLSegmentationNode
    mask2: vtkMRMLSegmentationNode
    mask3: vtkMRMLSegmentationNode
    mask4: vtkMRMLSegmentationNode
    date1: str = ""
    date2: str = ""
    date3: str = ""
    date4: str = ""
    criteria: str = DEFAULT
    modelId: str = ""
    engine: CompareEngine = CompareEngine.automatic
    anatomy: CompareAnatomy = CompareAnatomy.auto
    result: vtkMRMLTableNode


class LongitudinalCompareWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. Everything that it does can be done with :class:`LongitudinalCompareLogic` from a script."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._run = self._views = None
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
            ViewWidgets(self.ui.modeSelector, self.ui.fadeSlider, self.ui.blinkButton), lambda: self._result)
        self._criteria = criteria()
        for one in self._criteria.values():
            self.ui.criteriaSelector.addItem(one.title, one.id)
        self.ui.criteriaSelector.addItem(_("None"), "none")
        self.ui.resultTable.verticalHeader().setVisible(False)
        selectors = [f"{what}{n}Selector" for n in range(1, _MOST + 1) for what in ("volume", "mask")]
        selectors.append("resultSelector")
        give_buddies(self.ui, selectors)
        for name in selectors:  # a long name of a node must not make the panel wide
            getattr(self.ui, name).sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        # Only tables of comparisons are results.
        self.ui.resultSelector.addAttribute("vtkMRMLTableNode", "MRISegSuite.Comparison")

        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEndImport)
        self.ui.applyButton.connect("clicked(bool)", self._onApply)
        self.ui.measureAgainButton.connect("clicked(bool)", self._onMeasureAgain)
        self.ui.editButton.connect("clicked(bool)", self._onEdit)
        self.ui.layoutButton.connect("clicked(bool)", self._onLayout)
        self.ui.showPlotButton.connect("clicked(bool)", self._onShowPlot)
        self.ui.alignedCheckBox.connect("clicked(bool)", self._onAligned)
        self.ui.lesionList.connect("currentRowChanged(int)", self._onLesion)
        self.ui.criteriaSelector.connect("currentIndexChanged(int)", self._onCriterion)
        self.ui.modelSelector.connect("currentIndexChanged(int)", self._onModel)
        self.ui.copyPythonButton.connect("clicked(bool)", self._onCopyPython)
        self.ui.copyCommandButton.connect("clicked(bool)", self._onCopyCommand)
        self._initializeParameterNode()

    # -- life of the panel -------------------------------------------------------------------------------------------

    def cleanup(self):
        """The application or a reload takes the panel away: no process, no timer, no observer stays."""
        if self._run is not None:
            self._run.cleanup()
        if self._views is not None:
            self._views.stop()
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
        self._observe([])
        self._result = self._done = None
        self._warnings = []
        self._setParameterNode(None)

    def _onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self._initializeParameterNode()

    def _onSceneEndImport(self, caller, event):
        self._initializeParameterNode()

    def _initializeParameterNode(self):
        self._setParameterNode(self.logic.getParameterNode())
        self._fillModels()
        self._update()

    def _setParameterNode(self, parameterNode):
        self._disconnectGui()
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
            self._update()

    def _disconnectGui(self):
        if self._parameterNode is not None and self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)

    # -- what is chosen ----------------------------------------------------------------------------------------------

    def _inputs(self):
        """(volumes, masks, dates) as chosen; rows without a volume count only where a later one has one."""
        parameters = self._parameterNode
        rows = [(getattr(parameters, f"volume{n}"), getattr(parameters, f"mask{n}"),
                 getattr(parameters, f"date{n}").strip()) for n in range(1, _MOST + 1)]
        while rows and rows[-1][0] is None:
            rows.pop()
        return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]

    def _missing(self):
        """What is missing before a run can start, or None."""
        volumes, masks, dates = self._inputs()
        if len(volumes) < 2 or None in volumes:
            return _("Choose a baseline and a follow-up, in the order of time.")
        if len({node.GetID() for node in volumes}) < len(volumes):
            return _("One volume is chosen twice. Choose each timepoint's own scan.")
        for node in volumes:
            if node.GetImageData() is None:
                return _("The volume \"{name}\" holds no image. Choose another one.").format(name=node.GetName())
        if any(masks) and None in masks:
            return _("Choose the lesions of every scan, or of none.")
        if any(dates) and not all(_DATE.fullmatch(text) for text in dates):
            return _("Give the date of every scan as YYYY-MM-DD, or of none.")
        if any(dates) and sorted(set(dates)) != dates:
            return _("The dates are not in the order of the scans.")
        return None

    def _intention(self):
        volumes, masks, dates = self._inputs()
        if any(masks):
            text = _("Aligns {count} scans and measures their lesions.")
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
        for card in Registry().cards():
            if card.backend not in SHAPE_BACKENDS and len(card.channels) == 1:  # a timepoint is one image
                selector.addItem(card.title, card.id)
        selector.setCurrentIndex(max(0, selector.findData(chosen)))
        self._updating = False

    def _onModel(self, index):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.modelId = self.ui.modelSelector.itemData(index) or ""

    def _onCriterion(self, index):
        if self._parameterNode is not None and not self._updating:
            self._parameterNode.criteria = self.ui.criteriaSelector.itemData(index) or DEFAULT

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _update(self, caller=None, event=None):
        if self._parameterNode is None:
            return
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
        self.ui.modelSelector.setEnabled(not any(self._inputs()[1]))
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
        self.ui.gateLabel.setText(self._gateText())
        self.ui.summaryLabel.setText(self._summary())
        self._fillLesions()
        if changed or (nodes is not None and self.ui.editSelector.count != len(nodes.masks)):
            self.ui.editSelector.clear()
            for n in range(len(nodes.masks) if nodes else 0):
                self.ui.editSelector.addItem(compare_scene.record_of(nodes)["timepoints"][n]["label"].capitalize(), n)
        self.ui.alignedCheckBox.setChecked(nodes is not None and compare_scene.is_aligned(nodes))

    def _gateText(self):
        if self._result is None:
            return ""
        states = {"good": _("good"), "check": _("check: look before you believe it"), "failed": _("failed")}
        lines = []
        record = compare_scene.record_of(self._result)
        for pair in record["pairs"]:
            name = record["timepoints"][pair["timepoint"] - 1]["label"]
            lines.append(_("Registration of the {name}: {state}").format(
                name=escape(name),
                state=f"<b style='color:{_GATE_COLORS[pair['state']]}'>{escape(states[pair['state']])}</b>"))
            lines += ["• " + escape(reason) for reason in pair["reasons"]]
        return "<br>".join(lines)

    def _summary(self):
        if self._result is None:
            return _("No result yet.")
        record = compare_scene.record_of(self._result)
        lines = []
        for pair in record["pairs"]:
            name = record["timepoints"][pair["timepoint"] - 1]["label"]
            if "total" in pair:
                total = pair["total"]
                line = _("{name}: {before} → {after} cm³").format(
                    name=name.capitalize(), before=f"{total['baseline_mm3'] / 1000:.2f}",
                    after=f"{total['followup_mm3'] / 1000:.2f}")
                if total.get("percent_interval") and total["percent"] is not None:
                    low, high = total["percent_interval"]
                    line += _(", {percent} % ({low} to {high} %)").format(
                        percent=f"{total['percent']:+.0f}", low=f"{low:+.0f}", high=f"{high:+.0f}")
                    line += "" if total["is_real"] else _(": within what measuring alone may do")
                lines.append(escape(line))
            if "category" in pair:
                c = pair["category"]
                lines.append(_("Change category: {text} ({certainty}; {title}). A person decides.").format(
                    text="<b>" + escape(c["text"]) + "</b>", certainty=escape(c["certainty"]),
                    title=escape(c["title"])))
        if self._edited:
            text = _("Lesions or diameters were edited since: press \"Measure again\".")
            lines.append("<b>" + escape(text) + "</b>")
        told = [text for text in self._warnings if not text.startswith("Registration of the")]
        if told:
            lines.append("<b>" + escape(_("Please note:")) + "</b>")
            lines += ["• " + escape(text) for text in told]
        return "<br>".join(lines) or _("The scans were aligned; nothing was measured.")

    def _fillLesions(self):
        """The list, with lengths as the lines lie now; the chosen row stays chosen."""
        nodes, entries = self._result, []
        if nodes is not None:
            record, diameters = compare_scene.record_of(nodes), compare_scene.diameters_of(nodes)
            for pair in range(len(record["pairs"])):
                found = entries_of(record, diameters, pair)
                if len(record["pairs"]) > 1:
                    label = record["timepoints"][record["pairs"][pair]["timepoint"] - 1]["label"]
                    found = [one | {"text": f"{label.capitalize()}, {one['text']}"} for one in found]
                entries += found
        texts = [one["text"] for one in entries]
        self.ui.lesionList.setVisible(bool(texts))
        if texts == [one["text"] for one in self._entries] and self.ui.lesionList.count == len(texts):
            self._entries = entries
            return
        self._entries = entries
        row = self.ui.lesionList.currentRow
        self._updating = True
        self.ui.lesionList.clear()
        for text in texts:
            self.ui.lesionList.addItem(text)
        if 0 <= row < len(texts):
            self.ui.lesionList.setCurrentRow(row)
        self._updating = False

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
            self.ui.summaryLabel.setText(self._summary())

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
        self._pending = Done(
            volumes=[node.GetName() for node in volumes], volumeFiles=[file_of_node(node) for node in volumes],
            masks=[node.GetName() for node in masks], maskFiles=[file_of_node(node) for node in masks], dates=dates,
            criteria="" if p.criteria == DEFAULT else p.criteria, engine=p.engine.value,
            anatomy="" if p.anatomy is CompareAnatomy.auto else p.anatomy.value, modelId=modelId)
        self._run.start(LogicRunner(self.logic, lambda: self.logic.process(
            volumes, masks, dates, criteria=p.criteria, engine=p.engine.value, anatomy=p.anatomy.value,
            modelId=modelId, waitForCompletion=False)))

    def _onMeasureAgain(self, checked=False):
        table, nodes = self._result.table, self._result
        given = compare_scene.inputs_of(nodes)
        self._pending = Done(
            volumes=[node.GetName() for node in nodes.volumes],
            volumeFiles=[file_of_node(node) for node in nodes.volumes],
            masks=[node.GetName() for node in nodes.masks], maskFiles=[file_of_node(node) for node in nodes.masks],
            dates=given.get("dates", []), criteria=given.get("criteria", ""), engine=given.get("engine", ""),
            anatomy=given.get("anatomy", ""), again=table.GetName())
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
        slicer.modules.plots.logic().ShowChartInLayout(self._result.chart)

    def _onAligned(self, checked=False):
        self.logic.align(self._result, self.ui.alignedCheckBox.checked)

    def _onLesion(self, row):
        if not self._updating and self._result is not None and 0 <= row < len(self._entries):
            entry = self._entries[row]
            jump_to(slicer.mrmlScene, self._result, entry["timepoint"], entry["point"])

    def _onEdit(self, checked=False):
        number = self.ui.editSelector.itemData(self.ui.editSelector.currentIndex)
        segmentation, volume = self._result.masks[number], self._result.volumes[number]
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)

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
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
        parameters.volume1 = volume
        parameters.engine = CompareEngine.simpleitk
        again = LongitudinalCompareLogic().getParameterNode()
        self.assertEqual(again.volume1, volume)
        self.assertEqual(again.engine, CompareEngine.simpleitk)
