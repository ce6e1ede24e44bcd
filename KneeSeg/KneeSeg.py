"""KneeSeg: bones and cartilage of the knee from MRI, and cartilage thickness a region.

This file is what 3D Slicer loads: the module, its parameter node, its panel, its logic and its self test. It stays
thin; the work is in KneeSegLib (the knee) and MRISegSuiteLib (what every module of the suite shares).
"""

from __future__ import annotations

from enum import Enum
from html import escape
from typing import Annotated

import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSequenceNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from KneeSegLib import scene as knee_scene
from KneeSegLib.knee_logic import KneeLogic
from KneeSegLib.panel.shape_browser_panel import BrowserWidgets, ShapeBrowserPanel
from KneeSegLib.recipes import Done, command_recipe, python_recipe
from KneeSegLib.shape import TASK as SHAPE_TASK
from KneeSegLib.summary import summary_of_table
from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.panel.copying import file_of_node, suite_command
from MRISegSuiteLib.panel.logic_runner import LogicRunner
from MRISegSuiteLib.panel.model_chooser import ModelChooser
from MRISegSuiteLib.panel.node_selectors import give_buddies, keep_narrow
from MRISegSuiteLib.panel.parameter_panel import ParameterPanel
from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets

_EDITED = slicer.vtkSegmentation.SourceRepresentationModified


class KneeSeg(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Knee Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["MRISegSuite"]
        self.parent.contributors = ["MRI Seg Suite contributors"]
        self.parent.helpText = _(
            "Segments bones and cartilage in a knee MRI and measures cartilage thickness, volume and denuded area by"
            " region. Not a medical device: for research use only."
        )
        self.parent.acknowledgementText = _("Part of MRI Seg Suite.")


class KneeSide(Enum):
    """Which knee: told by the user or found from the anatomy."""

    auto = "auto"
    left = "left"
    right = "right"

    def label(self) -> str:
        return {"auto": _("Detect from anatomy"), "left": _("Left"), "right": _("Right")}[self.value]


class ComputeDevice(Enum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"

    def label(self) -> str:
        return {"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("GPU (CUDA)")}[self.value]


class T2Method(Enum):
    """How T2 is found. Automatic: the exact steady state of qDESS, a nonlinear fit of spin echoes."""

    automatic = "automatic"
    published = "published"
    log_linear = "log_linear"
    phase_graph = "phase_graph"

    def label(self) -> str:
        return {
            "automatic": _("Automatic"),
            "published": _("qDESS: published formula"),
            "log_linear": _("Spin echoes: log-linear"),
            "phase_graph": _("Spin echoes: phase graph"),
        }[self.value]


@parameterNodeWrapper
class KneeSegParameterNode:
    """What the panel remembers, saved with the scene. Numbers have their range here: connecting a spin box to one
    without a range takes the range of the .ui file away.

    inputVolume: the knee MRI.
    inputSegmentation: measure this segmentation instead of segmenting ``inputVolume`` (may be empty).
    modelId: id of the model; empty: the embedded one.
    side: side of the knee.
    device: where the network runs.
    secondEcho: second echo of qDESS whose first is ``inputVolume`` (may be empty: no T2).
    echoSequence: sequence of all echoes of the scan, as DICOM loads it (may be empty; either this or ``secondEcho``).
    t2Method: how T2 is found.
    withoutFat, withoutFluid: leave out what looks like fat, or fluid (qDESS).
    skipFirstEcho: fit without the first echo (spin echoes).
    repetitionTime, echoTime (ms), flipAngle (degrees), spoilerArea (gauss/cm us), spoilerDuration (us): of that scan;
        0 takes what the DICOM files say.
    layers: number of depth layers.
    measureThickness: make surfaces and measure cartilage.
    fitShape: fit a shape model; shapeModelId: which, empty: the embedded one.
    baseline: segmentation of the same knee at an earlier time (may be empty).
    resultSegmentation: the segmentation of the last run, what "measure again" measures.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputSegmentation: vtkMRMLSegmentationNode
    modelId: str = ""
    side: KneeSide = KneeSide.auto
    device: ComputeDevice = ComputeDevice.auto
    secondEcho: vtkMRMLScalarVolumeNode
    echoSequence: vtkMRMLSequenceNode
    t2Method: T2Method = T2Method.automatic
    withoutFat: bool = False
    withoutFluid: bool = False
    skipFirstEcho: bool = False
    repetitionTime: Annotated[float, WithinRange(0, 10_000)] = 0.0
    echoTime: Annotated[float, WithinRange(0, 1000)] = 0.0
    flipAngle: Annotated[float, WithinRange(0, 180)] = 0.0
    spoilerArea: Annotated[float, WithinRange(0, 100_000)] = 0.0
    spoilerDuration: Annotated[float, WithinRange(0, 100_000)] = 0.0
    layers: Annotated[int, WithinRange(1, 5)] = 2
    measureThickness: bool = True
    fitShape: bool = True
    shapeModelId: str = ""
    baseline: vtkMRMLSegmentationNode
    resultSegmentation: vtkMRMLSegmentationNode


class KneeSegWidget(ScriptedLoadableModuleWidget, ParameterPanel):
    """The panel. Everything that it does can be done with :class:`KneeSegLogic` from a script."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        ParameterPanel.__init__(self)
        self._run = None
        self._models = self._shapeModels = self._browser = None
        self._pending = self._done = None  # the run under way, and the last one: what the copy buttons describe
        self._result = None  # KneeNodes of the chosen result
        self._warnings = []
        self._edited = False
        self._observedSegmentation = None
        self._workerProblem = ""  # why the worker cannot run networks

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/KneeSeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = KneeSegLogic()
        self._run = RunControl(
            RunWidgets(self.ui.applyButton, self.ui.progressBar, self.ui.stageLabel, self.ui.reasonLabel,
                       self.ui.errorFrame, self.ui.errorLabel, self.ui.detailsButton, self.ui.detailsText),
            startText=_("&Apply"), onFinished=self._onFinished, onStateChanged=self._updateButtons)
        self._models = ModelChooser(self.ui.modelSelector, self.ui.modelLabel, "knee", self._onModelChosen)
        self._shapeModels = ModelChooser(
            self.ui.shapeModelSelector, self.ui.shapeModelLabel, SHAPE_TASK, self._onShapeModelChosen)
        self._browser = ShapeBrowserPanel(
            BrowserWidgets(self.ui.browserCollapsibleButton, self.ui.modeSpinBox, self.ui.weightSlider,
                           self.ui.browserLabel, self.ui.resetShapeButton),
            lambda: self._shapeModels.card, self._fittedShape)
        self._workerProblem = self._findWorkerProblem()

        rows = self.ui.resultTable.verticalHeader()
        rows.setVisible(False)
        rows.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        selectors = ("inputVolumeSelector", "inputSegmentationSelector", "secondEchoSelector",
                     "echoSequenceSelector", "baselineSelector", "resultSelector")
        give_buddies(self.ui, selectors)
        keep_narrow(self.ui, selectors)

        self._observeScene()
        self.ui.applyButton.connect("clicked(bool)", self._onApply)
        self.ui.measureAgainButton.connect("clicked(bool)", self._onMeasureAgain)
        self.ui.editButton.connect("clicked(bool)", self._onEdit)
        self.ui.showPlotButton.connect("clicked(bool)", self._onShowPlot)
        self.ui.legendCheckBox.connect("clicked(bool)", self._onLegend)
        self.ui.coloringSelector.connect("activated(int)", self._onColoring)
        self.ui.copyPythonButton.connect("clicked(bool)", self._onCopyPython)
        self.ui.copyCommandButton.connect("clicked(bool)", self._onCopyCommand)
        self._initializeParameterNode()

    # -- life of the panel -------------------------------------------------------------------------------------------

    def cleanup(self):
        """The application or a reload takes the panel away: no process, no observer stays."""
        if self._run is not None:
            self._run.cleanup()
        self._setParameterNode(None)
        self._observeEdits(None)
        self.removeObservers()

    def enter(self):
        self._initializeParameterNode()
        self._models.refresh(self._parameterNode.modelId)
        self._shapeModels.refresh(self._parameterNode.shapeModelId)
        self._workerProblem = self._findWorkerProblem()
        self._update()

    def exit(self):
        """Another module is shown: a run goes on, its result is loaded when it is there."""
        self._disconnectGui()

    def _onSceneStartClose(self, caller, event):
        self._run.cancel(_("Cancelled, because the scene was closed."))
        self._observeEdits(None)
        self._result = self._done = None
        self._browser.close()
        self._warnings = []
        super()._onSceneStartClose(caller, event)

    def _initializeParameterNode(self):
        super()._initializeParameterNode()
        if self._parameterNode.inputVolume is None and self._parameterNode.inputSegmentation is None:
            self._parameterNode.inputVolume = self._firstVolume()

    @staticmethod
    def _firstVolume():
        """The first volume that the selector offers: label maps are scalar volumes for MRML too."""
        scene, kind = slicer.mrmlScene, "vtkMRMLScalarVolumeNode"
        nodes = (scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind)))
        return next((n for n in nodes if n.GetClassName() == kind and not n.GetHideFromEditors()), None)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _update(self, caller=None, event=None):
        if self._parameterNode is None:
            return
        reason = self._missing()
        self._run.setReason(reason is not None, reason or self._intention())
        measuring = self._parameterNode.inputSegmentation is not None
        self.ui.modelSelector.setEnabled(not measuring and self._models.card is not None)
        self.ui.deviceSelector.setEnabled(not measuring)
        self._showResult()
        self._updateButtons()

    def _missing(self):
        """What is missing before a run can start, or None."""
        parameters = self._parameterNode
        volume, segmentation = parameters.inputVolume, parameters.inputSegmentation
        if volume is None and segmentation is None:
            return _("Choose a knee MRI to segment, or a segmentation to measure.")
        if volume is not None and volume.GetImageData() is None:
            return _("The volume \"{name}\" holds no image. Choose another one.").format(name=volume.GetName())
        if parameters.baseline is not None and parameters.baseline == segmentation:
            return _("The baseline is the segmentation itself. Choose one of an earlier time, or none.")
        if parameters.secondEcho is not None and parameters.secondEcho == volume:
            return _("The second echo is the volume itself. Choose the other echo, or none.")
        if parameters.echoSequence is not None:
            if parameters.secondEcho is not None:
                return _("There are a second echo and a sequence of echoes. Choose one of them.")
            if parameters.echoSequence.GetNumberOfDataNodes() < 2:
                return _("The sequence \"{name}\" has no two echoes. Choose another one, or none.").format(
                    name=parameters.echoSequence.GetName())
        if segmentation is not None:
            if segmentation.GetSegmentation().GetNumberOfSegments() == 0:
                return _("The segmentation \"{name}\" is empty. Choose another one.").format(
                    name=segmentation.GetName())
            return None
        if self._models.card is None:
            return _("There is no model for knees on this computer. Add one in the module MRI Seg Suite, or choose a"
                     " segmentation to measure.")
        if self._workerProblem:
            return _("{problem} Install them in the module MRI Seg Suite.").format(problem=self._workerProblem)
        return None

    def _findWorkerProblem(self):
        """Read once when the module is entered: it looks at folders."""
        try:
            status = WorkerEnvironment.default().status()
        except SuiteError as error:
            return str(error)
        return "" if status.ready else status.text

    def _intention(self):
        parameters = self._parameterNode
        if parameters.inputSegmentation is not None:
            if self._echoNodes(parameters):
                return _("Measures \"{name}\" and maps T2.").format(name=parameters.inputSegmentation.GetName())
            return _("Measures \"{name}\".").format(name=parameters.inputSegmentation.GetName())
        if self._echoNodes(parameters):
            return _("Segments \"{name}\" with all its echoes, measures it and maps T2.").format(
                name=parameters.inputVolume.GetName())
        return _("Segments \"{name}\" and measures it.").format(name=parameters.inputVolume.GetName())

    def _showResult(self):
        """Table, summary and legend of the chosen result."""
        segmentation = self._parameterNode.resultSegmentation
        nodes = knee_scene.nodes_of(slicer.mrmlScene, segmentation) if segmentation is not None else None
        self._observeEdits(segmentation)
        self._result = nodes
        table = nodes.table if nodes is not None else None
        if self.ui.resultTable.mrmlTableNode() is not table:
            self.ui.resultTable.setMRMLTableNode(table)
            self.ui.resultTable.resizeColumnsToContents()
        self.ui.resultTable.setVisible(table is not None)
        self.ui.summaryLabel.setText(self._summary(nodes))
        self.ui.legendCheckBox.setChecked(self._legendIsShown())
        self._showColorings(nodes)

    def _showColorings(self, nodes):
        """Offer what the bones of the result can be colored by."""
        titles = {"thickness": _("Cartilage thickness"), "t2": _("T2"), "change": _("Change since baseline"),
                  "shape": _("Bone beyond shape model")}
        offered = knee_scene.colorings_of(nodes) if nodes is not None else []
        selector = self.ui.coloringSelector
        if [selector.itemData(n) for n in range(selector.count)] != offered:
            selector.clear()
            for name in offered:
                selector.addItem(titles[name], name)
        if offered:
            selector.setCurrentIndex(max(0, selector.findData(knee_scene.coloring_of(nodes))))
        selector.setEnabled(len(offered) > 1)

    def _onColoring(self, index):
        knee_scene.color_bones_by(slicer.mrmlScene, self._result, self.ui.coloringSelector.itemData(index))

    def _summary(self, nodes):
        if nodes is None or nodes.table is None:
            if self._parameterNode.resultSegmentation is not None:
                return _("This segmentation has not been measured. Choose it above as the segmentation and apply.")
            return _("No result yet.")
        lines = [escape(line) for line in summary_of_table(nodes.table)]
        if self._edited:
            lines.append("<b>" + escape(_("The segmentation was edited since: press \"Measure again\".")) + "</b>")
        if self._warnings:
            lines.append("<b>" + escape(_("Please note:")) + "</b>")
            lines += ["• " + escape(warning) for warning in self._warnings]
        return "<br>".join(lines)

    def _updateButtons(self):
        running = self._run.isRunning
        measured = self._result is not None and self._result.segmentation is not None
        self.ui.editButton.setEnabled(measured)
        self.ui.measureAgainButton.setEnabled(measured and not running)
        self.ui.showPlotButton.setEnabled(measured and self._result.chart is not None)
        self.ui.legendCheckBox.setEnabled(self._legend() is not None)
        self.ui.copyPythonButton.setEnabled(self._done is not None)
        self.ui.copyCommandButton.setEnabled(self._done is not None)

    def _observeEdits(self, segmentationNode):
        """Notice when a person edits the segmentation that the numbers describe."""
        segmentation = segmentationNode.GetSegmentation() if segmentationNode is not None else None
        if segmentation is self._observedSegmentation:
            return
        if self._observedSegmentation is not None:
            self.removeObserver(self._observedSegmentation, _EDITED, self._onSegmentationEdited)
        self._observedSegmentation = segmentation
        self._edited = False
        if segmentation is not None:
            self.addObserver(segmentation, _EDITED, self._onSegmentationEdited)

    def _onSegmentationEdited(self, caller, event):
        if not self._edited:
            self._edited = True
            self.ui.summaryLabel.setText(self._summary(self._result))

    def _onModelChosen(self, modelId):
        if self._parameterNode is not None:
            self._parameterNode.modelId = modelId
            self._update()

    def _onShapeModelChosen(self, modelId):
        if self._parameterNode is not None:
            self._parameterNode.shapeModelId = modelId
            self._browser.close()

    def _fittedShape(self):
        """The bone as a shape model made it of the shown result, or None."""
        shapes = self._result.shapes if self._result is not None else {}
        return next(iter(shapes.values()), None)

    # -- what the buttons do -----------------------------------------------------------------------------------------

    def _onApply(self, checked=False):
        if self._run.isRunning:
            self._run.cancel()
            return
        parameters = self._parameterNode
        card = self._models.card
        measuring = parameters.inputSegmentation is not None
        modelId = "" if measuring or card is None else card.id
        volume, segmentation = parameters.inputVolume, parameters.inputSegmentation
        side, device = parameters.side.value, parameters.device.value
        more = self._moreArguments()
        self._start(volume, segmentation, modelId, side, device, again=False, more=more,
                    begin=lambda: self.logic.process(
                        volume, modelId=modelId, side=side, device=device, segmentationNode=segmentation,
                        waitForCompletion=False, **more))

    def _moreArguments(self):
        """What the folded sections say, as arguments of the logic; defaults are left out."""
        parameters = self._parameterNode
        more = self._t2Arguments(parameters)
        stages = {"thickness": parameters.measureThickness, "shape": parameters.fitShape}
        without = [name for name, wanted in stages.items() if not wanted]
        if without:
            more["without"] = without
        if parameters.fitShape and parameters.shapeModelId and self._shapeModels.card is not None:
            more["shapeModelId"] = self._shapeModels.card.id
        if parameters.baseline is not None:
            more["baselineNode"] = parameters.baseline
        return more

    @staticmethod
    def _echoNodes(parameters):
        """What holds the echoes of the chosen volume: two volumes, or a sequence; empty: no T2."""
        if parameters.inputVolume is None:
            return []
        if parameters.echoSequence is not None:
            return [parameters.echoSequence]
        return [parameters.inputVolume, parameters.secondEcho] if parameters.secondEcho is not None else []

    def _t2Arguments(self, parameters):
        """What the section "T2 and layers" says."""
        more = {"layers": parameters.layers} if parameters.layers != parameters.default("layers").value else {}
        echoNodes = self._echoNodes(parameters)
        if echoNodes:
            more["echoNodes"] = echoNodes
            given = {"tr_ms": parameters.repetitionTime, "te_ms": self._echoTimes(parameters),
                     "flip_deg": parameters.flipAngle, "spoiler_area": parameters.spoilerArea,
                     "spoiler_us": parameters.spoilerDuration, "without_fat": parameters.withoutFat,
                     "without_fluid": parameters.withoutFluid, "skip_first_echo": parameters.skipFirstEcho}
            if parameters.t2Method is not T2Method.automatic:
                given["method"] = parameters.t2Method.value
            more["t2"] = {name: value for name, value in given.items() if value}
        return more

    @staticmethod
    def _echoTimes(parameters):
        """Echo times that were given by hand; spin echoes are as far apart as the first is from the pulse."""
        first, sequence = parameters.echoTime, parameters.echoSequence
        if not first:
            return []
        count = sequence.GetNumberOfDataNodes() if sequence is not None else 2
        return [first * n for n in range(1, count + 1)] if count > 2 else [first]

    def _onMeasureAgain(self, checked=False):
        segmentation, side = self._result.segmentation, self._parameterNode.side.value
        self._start(knee_scene.volume_of(segmentation), segmentation, "", side, "auto", again=True,
                    begin=lambda: self.logic.measureAgain(segmentation, side=side, waitForCompletion=False))

    def _start(self, volume, segmentation, modelId, side, device, again, begin, more=None):
        echoNodes = (more or {}).get("echoNodes", [])
        frames = echoNodes[0].GetNumberOfDataNodes() if len(echoNodes) == 1 else 0  # a sequence of them
        self._pending = Done(
            volume=volume.GetName() if volume is not None else None,
            segmentation=segmentation.GetName() if segmentation is not None else None,
            volumeFile=file_of_node(volume), segmentationFile=file_of_node(segmentation),
            modelId=modelId, side=side, device=device, again=again, layers=(more or {}).get("layers"),
            echoes=[node.GetName() for node in echoNodes],
            echoFiles=[] if frames else [file_of_node(node) for node in echoNodes], frames=frames,
            t2=(more or {}).get("t2", {}), without=(more or {}).get("without", []),
            shapeModelId=(more or {}).get("shapeModelId", ""),
            baseline=more["baselineNode"].GetName() if more and "baselineNode" in more else None,
            baselineFile=file_of_node(more["baselineNode"]) if more and "baselineNode" in more else None)
        # Edits from here on are not in the numbers that this run will give.
        self._edited = False
        self._run.start(LogicRunner(self.logic, begin))

    def _onFinished(self, nodes):
        self._done = self._pending
        self._warnings = list(nodes.warnings)
        if self._parameterNode is None:
            return  # the scene was closed or the panel left while the result was loaded
        self._parameterNode.resultSegmentation = nodes.segmentation
        self._showResult()
        self._browser.close()  # it begins again with the shape of this result

    def _onEdit(self, checked=False):
        segmentation = self._result.segmentation
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(segmentation)
        volume = knee_scene.volume_of(segmentation)
        if volume is not None:
            editor.setSourceVolumeNode(volume)

    def _onShowPlot(self, checked=False):
        shown = self.ui.coloringSelector.itemData(self.ui.coloringSelector.currentIndex)
        ofChange = shown == "change" and self._result.changeChart is not None
        slicer.modules.plots.logic().ShowChartInLayout(self._result.changeChart if ofChange else self._result.chart)

    def _onLegend(self, checked=False):
        self._legend().SetVisibility(self.ui.legendCheckBox.checked)

    def _legend(self):
        """The display node of the color legend that belongs to the shown result, or None."""
        models = self._result.models.values() if self._result is not None else ()
        for model in models:
            legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(model)
            if legend is not None:
                return legend
        return None

    def _legendIsShown(self):
        legend = self._legend()
        return legend is not None and bool(legend.GetVisibility())

    def _onCopyPython(self, checked=False):
        self._copy(python_recipe(self._done), _("The Python script was copied."))

    def _onCopyCommand(self, checked=False):
        self._copy(command_recipe(self._done, suite_command()), _("The command was copied."))

    def _copy(self, text, message):
        slicer.app.clipboard().setText(text)
        self.ui.copiedLabel.setText(message)


class KneeSegLogic(ScriptedLoadableModuleLogic, KneeLogic):
    """The public API for the console and for scripts: everything is in :class:`KneeSegLib.knee_logic.KneeLogic`,
    which works without Slicer's application too. Never opens a dialog."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)

    def getParameterNode(self) -> KneeSegParameterNode:
        return KneeSegParameterNode(super().getParameterNode())


class KneeSegTest(ScriptedLoadableModuleTest):
    """Run by Slicer's self test button and by ``slicer_add_python_unittest``."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_parameterNodeRemembersItsValues()

    def test_parameterNodeRemembersItsValues(self):
        parameters = KneeSegLogic().getParameterNode()
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "knee")
        parameters.inputVolume = volume
        parameters.side = KneeSide.left
        again = KneeSegLogic().getParameterNode()
        self.assertEqual(again.inputVolume, volume)
        self.assertEqual(again.side, KneeSide.left)
