"""EnsembleReview: a panel of experts, fused, measured where they disagree, corrected in place, and remembered.

This file is what 3D Slicer loads: the module, its parameter node, its panel, its logic and its self test. It stays
thin; the work is in EnsembleReviewLib (several opinions) and MRISegSuiteLib (what every module of the suite shares).
"""

from __future__ import annotations

import json
from enum import Enum
from html import escape

import qt
import slicer
from slicer import vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from EnsembleReviewLib.ensemble_logic import EnsembleLogic
from EnsembleReviewLib.expert_colors import expert_color
from EnsembleReviewLib.panel.case import REVIEW_ATTRIBUTE, ReviewCase, jump_to, set_shown
from EnsembleReviewLib.panel.case_folder import CaseFolder
from EnsembleReviewLib.panel.check_list import CheckList, Entry
from EnsembleReviewLib.panel.choices import chosen_nodes, remember_nodes
from EnsembleReviewLib.panel.clicking import Clicking
from EnsembleReviewLib.panel.editor import ReviewEditor
from EnsembleReviewLib.panel.feedback_section import FeedbackSection
from EnsembleReviewLib.panel.hot_spot_table import HotSpotTable
from EnsembleReviewLib.panel.input_section import IMAGES, InputSection
from EnsembleReviewLib.panel.large_models import LargeModels, LargeModelWidgets
from EnsembleReviewLib.panel.opened_cases import OpenedCases
from EnsembleReviewLib.panel.opening import OpenedCase
from EnsembleReviewLib.panel.recipes import Done, command_recipe, python_recipe
from EnsembleReviewLib.panel.shortcuts import Shortcuts
from EnsembleReviewLib.panel.word_section import WordSection, WordWidgets
from EnsembleReviewLib.panel.worklist import Worklist, light_html, results_in
from MRISegSuiteLib.environment import LargeModelsEnvironment, WorkerEnvironment
from MRISegSuiteLib.environment.large_models import HOW_TO_INSTALL
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.panel.copying import file_of_node, suite_command
from MRISegSuiteLib.panel.logic_runner import LogicRunner
from MRISegSuiteLib.panel.parameter_panel import ParameterPanel
from MRISegSuiteLib.panel.run_control import RunControl, RunWidgets


class EnsembleReview(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Ensemble Review")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["MRISegSuite", "Segmentations", "SegmentEditor"]
        self.parent.contributors = ["MRI Seg Suite contributors"]
        self.parent.helpText = _(
            "Asks several experts (models and existing segmentations), fuses what they say, shows where they disagree,"
            " and keeps what a person decided. Not a medical device: for research use only."
        )
        self.parent.acknowledgementText = _("Part of MRI Seg Suite.")


class FusionMethod(Enum):
    """How opinions become one."""

    majority = "majority"
    staple = "staple"
    weighted = "weighted"
    confidence = "confidence"

    def label(self) -> str:
        return {"majority": _("Majority"), "staple": _("STAPLE"), "weighted": _("Weighted by agreement"),
                "confidence": _("Mean probability")}[self.value]


class ComputeDevice(Enum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"

    def label(self) -> str:
        return {"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("GPU (CUDA)")}[self.value]


@parameterNodeWrapper
class EnsembleReviewParameterNode:
    """What the panel remembers, saved with the scene. The chosen images and segmentations are node references.

    models: ids of the chosen models, separated by commas.
    fusion: how opinions become one.
    device: where networks run.
    keepImages: keep a copy of the images with a review.
    result: the fusion under review.
    """

    models: str = ""
    fusion: FusionMethod = FusionMethod.majority
    device: ComputeDevice = ComputeDevice.auto
    keepImages: bool = True
    result: vtkMRMLSegmentationNode


class EnsembleReviewWidget(ScriptedLoadableModuleWidget, ParameterPanel):
    """The panel. Everything that Apply does can be done with :class:`EnsembleReviewLogic` from a script."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        ParameterPanel.__init__(self)
        self._run = self._inputs = self._largeModels = self._worklist = self._shown = self._spots = None
        self._editor = self._clicking = self._word = self._feedback = self._keys = None
        self._pending = self._done = None  # the run under way, and the last one: what the copy buttons describe
        self._folder = self._opened = None
        self._asked = []  # the segmentations that a run under way was given
        self._case = None
        self._decisions = {}  # of the case, as they are shown
        self._cards = []  # of the models that can be asked; read when the panel is entered
        self._warnings = []
        self._observed = None
        self._workerProblem = self._largeProblem = ""  # why the worker cannot run networks, or large models
        self._refreshing = False

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/EnsembleReview.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = EnsembleReviewLogic()
        ui = self.ui
        self._run = RunControl(
            RunWidgets(ui.applyButton, ui.progressBar, ui.stageLabel, ui.reasonLabel, ui.errorFrame, ui.errorLabel,
                       ui.detailsButton, ui.detailsText),
            startText=_("&Apply"), onFinished=self._onFinished, onStateChanged=self._updateButtons)
        self._inputs = InputSection(ui.imagesList, ui.expertsList, lambda: self._parameterNode, self._update)
        self._shown = CheckList(ui.shownExpertsList, self._onShown)
        self._spots = HotSpotTable(ui.hotSpotTable, self._onSpot)
        self._folder = CaseFolder(lambda: self._update())
        self._opened = OpenedCases(self._run, self._folder)
        self._worklist = Worklist(ui.worklistTable, lambda: slicer.mrmlScene, self._folder, self._choose)
        self._editor = ReviewEditor(ui.editorFrame.layout())
        self._word = WordSection(
            WordWidgets(ui.reviewerEdit, ui.patientEdit, ui.commentEdit, ui.acceptButton, ui.rejectButton,
                        ui.wordLabel),
            lambda: self._case, lambda: self._inputs.volumes, lambda: self._parameterNode.keepImages,
            self._onNextCase, self._onSaved, self._showError)
        self._clicking = Clicking(ui.addClickButton, ui.removeClickButton, ui.boxButton, ui.clickLabel,
                                  lambda: self._case, self._editor.segment,
                                  lambda: self._largeModels.refinement(self._parameterNode.device.value),
                                  self._showError)
        self._feedback = FeedbackSection(
            ui.statisticsTable, ui.statisticsButton, ui.exportFolderEdit,
            RunWidgets(ui.exportButton, ui.export_progressBar, ui.export_stageLabel, ui.export_reasonLabel,
                       ui.export_errorFrame, ui.export_errorLabel, ui.export_detailsButton, ui.export_detailsText),
            ui.feedbackCollapsibleButton)
        self._largeModels = LargeModels(
            LargeModelWidgets(ui.sam3FolderEdit, ui.sam3TextEdit, ui.medgemmaFolderEdit, ui.boxesList,
                              ui.adviceLabel, ui.refineSelector),
            self._update, lambda center: jump_to(slicer.mrmlScene, center))
        self._keys = Shortcuts(self.parent, {
            "N": lambda: self._spots.step(1), "P": lambda: self._spots.step(-1),
            "K": lambda: ui.keepButton.click(), "D": lambda: ui.dropButton.click(),
            "T": lambda: ui.takeButton.click(),
            "C": lambda: ui.addClickButton.click(), "X": lambda: ui.removeClickButton.click(),
            "B": lambda: ui.boxButton.click(),
            "Shift+N": lambda: self._worklist.step(self._current(), 1),
            "Shift+P": lambda: self._worklist.step(self._current(), -1),
            "Shift+A": lambda: ui.acceptButton.click(), "Shift+R": lambda: ui.rejectButton.click()})
        self._workerProblem, self._largeProblem = self._findWorkerProblems()

        scene = slicer.mrmlScene
        self._observeScene()
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._onNodes)
        for button, method in ((ui.applyButton, self._onApply), (ui.nextCaseButton, self._onNextCase),
                               (ui.keepButton, self._onKeep), (ui.dropButton, self._onDrop),
                               (ui.takeButton, self._onTake), (ui.undoButton, self._onUndo),
                               (ui.redoButton, self._onRedo), (ui.copyPythonButton, self._onCopyPython),
                               (ui.copyCommandButton, self._onCopyCommand)):
            button.connect("clicked(bool)", method)
        ui.worklistFolderEdit.connect("currentPathChanged(QString)", self._folder.setFolder)
        self._cards = self.logic.availableExperts()
        self._showCase()
        self._initializeParameterNode()

    # -- life of the panel -------------------------------------------------------------------------------------------

    def cleanup(self):
        """The application or a reload takes the panel away: no process, no observer stays."""
        if self._run is not None:
            self._run.cleanup()
            self._folder.stop()
            self._opened.cleanup()
            self._clicking.cleanup()
            self._word.saves.finish()
            self._keys.uninstall()
            self._editor.leave()
            self._feedback.cleanup()
        self._setCase(None)
        self._setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self._workerProblem, self._largeProblem = self._findWorkerProblems()
        self._cards = self.logic.availableExperts()
        self._initializeParameterNode()
        self._editor.enter()
        self._keys.install()

    def exit(self):
        """Another module is shown: a run goes on, its result is loaded when it is there."""
        self._clicking.stop()
        self._keys.uninstall()
        self._editor.leave()
        self._disconnectGui()

    def _onSceneStartClose(self, caller, event):
        self._run.cancel(_("Cancelled, because the scene was closed."))
        self._clicking.stop()
        self._word.saves.leaveScene()
        self._setCase(None)
        self._opened.forget()
        self._editor.sceneCloses()
        self._done = None
        super()._onSceneStartClose(caller, event)

    def _onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self._initializeParameterNode()
            self._editor.enter()

    def _onSceneEndImport(self, caller, event):
        self._onSceneEndClose(caller, event)

    def _onNodes(self, caller, event):
        """Nodes came or went: read the lists again when things have settled."""
        if not self._refreshing:
            self._refreshing = True
            qt.QTimer.singleShot(0, self._refreshLists)

    def _initializeParameterNode(self):
        self._setParameterNode(self.logic.getParameterNode())
        self._refreshLists()

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _refreshLists(self):
        self._refreshing = False
        parameters = self._parameterNode
        if parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        self._inputs.fill(slicer.mrmlScene, self._cards)
        if self._case is not None and not slicer.mrmlScene.IsNodePresent(self._case.nodes.fusion):
            self._setCase(None)
        self._update()

    def _update(self, caller=None, event=None):
        if self._parameterNode is None:
            return
        sam3, medgemma = self._largeModels.sam3 is not None, self._largeModels.medgemma is not None
        reason = self._inputs.missing(sam3, medgemma, self._workerProblem)
        will = self._inputs.intention(sam3)
        if (sam3 or medgemma) and self._largeProblem:
            will = _("{intention} SAM 3 and MedGemma will abstain: {problem}").format(
                intention=will, problem=self._largeProblem)
        self._run.setReason(reason is not None, reason or will)
        if self._parameterNode.result is not self._shownFusion():
            nodes = self.logic.nodesOf(self._parameterNode.result)
            self._setCase(nodes)
        self._showWorklist()
        self._updateButtons()

    def _findWorkerProblems(self):
        """Read once when the module is entered: it looks at folders."""
        try:
            worker, large = WorkerEnvironment.default().status(), LargeModelsEnvironment.default().status()
        except SuiteError as error:
            return str(error), str(error)
        return "" if worker.ready else worker.text, "" if large.ready else HOW_TO_INSTALL

    def _showWorklist(self):
        self._worklist.refresh(self._current(), self._word.saves.isSaving)

    def _updateButtons(self):
        if self._run is None:
            return
        ui, case = self.ui, self._case
        chosen = self._spots.chosen if case is not None else None
        for button in (ui.addClickButton, ui.removeClickButton, ui.boxButton):
            button.setEnabled(case is not None)
        for button in (ui.keepButton, ui.dropButton):
            button.setEnabled(chosen is not None)
        ui.takeButton.setEnabled(chosen is not None and ui.takeSelector.count > 0)
        ui.takeSelector.setEnabled(ui.takeButton.enabled)
        ui.undoButton.setEnabled(case is not None)
        ui.redoButton.setEnabled(case is not None)
        ui.nextCaseButton.setEnabled(self._nextOpen() is not None)
        self._word.update()
        ui.copyPythonButton.setEnabled(self._done is not None)
        ui.copyCommandButton.setEnabled(self._done is not None)

    # -- the case under review ---------------------------------------------------------------------------------------

    def _shownFusion(self):
        return self._case.nodes.fusion if self._case is not None else None

    def _current(self):
        """What the worklist stands at: the fusion under review, or the case that is being opened."""
        return self._opened.opening or self._shownFusion()

    def _nextOpen(self):
        return self._worklist.nextOpen(self._current(), self._word.saves.isSaving)

    def _setCase(self, nodes):
        """Take a result under review, or none."""
        self._clicking.stop()
        if self._observed is not None:
            for event, method in self._segmentationEvents():
                self.removeObserver(self._observed, event, method)
            self._observed = None
        if self._case is not None:
            self._opened.leave(self._case)
        self._case = None
        if nodes is not None:
            self._editor.setNodes(nodes.fusion, None)
            self._case = ReviewCase(slicer.mrmlScene, nodes, self._editor.saveState)
            self._editor.setNodes(nodes.fusion, self._case.volume)
            self._observed = nodes.fusion.GetSegmentation()
            for event, method in self._segmentationEvents():
                self.addObserver(self._observed, event, method)
        self._showCase()

    def _showCase(self):
        ui, case = self.ui, self._case
        self._decisions = case.decisions() if case is not None else {}
        self._spots.show(case)
        ui.takeSelector.clear()
        ui.agreementTable.setMRMLTableNode(case.nodes.table if case is not None else None)
        ui.agreementTable.resizeColumnsToContents()
        ui.lightLabel.setText(self._lightText())
        ui.clickLabel.setText("")
        entries, shown = [], []
        if case is not None:
            case.show_alone(slicer.app.applicationLogic(),
                            [node for node in results_in(slicer.mrmlScene) if node is not case.nodes.fusion])
            entries = [Entry(e["id"], e["title"], ", ".join(e["structures"]), tuple(expert_color(n)))
                       for n, e in enumerate(case.experts)]
            shown = [e["id"] for e in case.experts if case.is_shown(e["id"])]
        self._shown.fill(entries, shown)
        self._word.showCase()
        self._updateButtons()

    def _lightText(self):
        if self._case is None:
            return _("No case is under review.")
        lines = light_html(self._case.panel)
        if self._warnings:
            lines.append("<b>" + escape(_("Please note:")) + "</b>")
            lines += ["• " + escape(warning) for warning in self._warnings]
        return "<br>".join(lines)

    def _choose(self, item):
        """A case of the worklist: shown, or opened first where it is a file."""
        if self._parameterNode is None:
            return
        if item.node is None:
            self._opened.open(item.file)
            self._update()
        elif item.node is not self._shownFusion():
            self._opened.stopOpening()
            self._warnings = []
            self._parameterNode.result = item.node
            self._closeCases()

    def _onOpened(self, opened):
        """A case was loaded from its files: review it, close those before it, and get the next one ready."""
        if opened.word is not None:
            word = opened.word
            opened.nodes.fusion.SetAttribute(REVIEW_ATTRIBUTE, json.dumps(
                {"origin": word.origin, "record": word.uid, "saved_at": word.saved_at}))
        self._inputs.chooseVolumes(opened.volumes)
        self._warnings = list(opened.nodes.warnings)
        self._parameterNode.result = opened.nodes.fusion
        if opened.accepted:
            self._case.restore(opened.accepted)
        self._closeCases()
        following = self._nextOpen()
        if following is not None and following.node is None:
            self._opened.prepare(following.file)

    def _closeCases(self):
        """Take cases that were opened from files out of the scene, once nothing is lost by it."""
        self._opened.close(slicer.mrmlScene, self._shownFusion(), self._word.saves.isSaving)
        self._showWorklist()

    def _segmentationEvents(self):
        """What is observed of the fusion under review: tags (decisions are kept in them), and voxels."""
        events = slicer.vtkSegmentation
        return ((events.SegmentModified, self._onSegmentModified),
                *((event, self._onVoxels) for event in (events.SourceRepresentationModified, events.SegmentAdded,
                                                        events.SegmentRemoved)))

    def _onVoxels(self, caller, event):
        if self._case is not None:
            self._case.touched = True

    def _onSegmentModified(self, caller, event):
        """Also after undo and redo: decisions are kept with the voxels."""
        if self._case is None:
            return
        decisions = self._case.decisions()
        if decisions != self._decisions:  # a segment is modified by many things, such as its color
            self._case.touched = True
            self._decisions = decisions
            self._spots.showDecisions()
            self._showWorklist()

    # -- what the widgets do -----------------------------------------------------------------------------------------

    def _onShown(self, keys):
        if self._case is not None:
            self._case.show(keys)

    def _onApply(self, checked=False):
        if self._run.isRunning:
            self._run.cancel()
            return
        parameters = self._parameterNode
        volumes, masks, models = self._inputs.volumes, self._inputs.masks, self._inputs.models
        fusion, device = parameters.fusion.value, parameters.device.value
        large = {"sam3": self._largeModels.sam3, "medgemma": self._largeModels.medgemma}
        large = {name: given for name, given in large.items() if given is not None}
        self._asked = masks
        self._pending = Done([v.GetName() for v in volumes], [m.GetName() for m in masks],
                             [file_of_node(v) for v in volumes], [file_of_node(m) for m in masks],
                             models, fusion, device, large)
        self._run.start(LogicRunner(self.logic, lambda: self.logic.process(
            volumes, experts=models, maskNodes=masks, fusion=fusion, device=device, waitForCompletion=False,
            **large)))

    def _onFinished(self, nodes):
        opened = isinstance(nodes, OpenedCase)
        if opened:
            self._opened.add(nodes)
        else:
            self._done = self._pending
        if self._parameterNode is None:
            return  # the scene was closed or the panel left while the result was loaded
        if opened:
            self._onOpened(nodes)
            return
        self._warnings = list(nodes.warnings)
        self._largeModels.show(nodes.jobFolder)
        for node in self._asked:  # shown as experts from now on; over the fusion they would be taken for it
            set_shown(node, False)
        self._asked = []
        self._parameterNode.result = nodes.fusion
        self.ui.lightLabel.setText(self._lightText())

    def _onNextCase(self, checked=False):
        item = self._nextOpen()
        if item is not None:
            self._choose(item)

    def _onSpot(self, spot):
        """A hot spot was chosen: all views jump there, and the experts that know it can be taken."""
        selector = self.ui.takeSelector
        selector.clear()
        for expert, share in spot.shares.items():
            said = _("{expert}: {answer}").format(expert=self._case.title_of(expert),
                                                  answer=_("yes") if share >= 0.5 else _("no"))
            selector.addItem(said, expert)
        # Who says something else than the fusion comes first to mind.
        others = [n for n, share in enumerate(spot.shares.values()) if (share >= 0.5) != (spot.fused_share >= 0.5)]
        selector.setCurrentIndex(others[0] if others else 0)
        self._case.jump_to(spot)
        self._updateButtons()

    def _onKeep(self, checked=False):
        self._decide(lambda spot: self._case.keep(spot))

    def _onDrop(self, checked=False):
        self._decide(lambda spot: self._case.drop(spot))

    def _onTake(self, checked=False):
        selector = self.ui.takeSelector
        expert = selector.itemData(selector.currentIndex)
        self._decide(lambda spot: self._case.take(spot, expert))

    def _decide(self, decision):
        spot = self._spots.chosen
        if spot is None:
            return
        try:
            decision(spot)
        except SuiteError as error:
            self._showError(error)
            return
        self._spots.chooseNextOpen()

    def _onUndo(self, checked=False):
        self._editor.undo()

    def _onRedo(self, checked=False):
        self._editor.redo()

    def _onSaved(self):
        if self._parameterNode is not None:
            try:
                self._folder.readWords()
            except SuiteError as error:
                self._showError(error)
            self._closeCases()
            self._updateButtons()
            self._feedback.refresh()

    def _showError(self, exception):
        try:
            raise exception
        except Exception as raised:
            self._run.showError(raised)

    def _onCopyPython(self, checked=False):
        self._copy(python_recipe(self._done), _("The Python script was copied."))

    def _onCopyCommand(self, checked=False):
        self._copy(command_recipe(self._done, suite_command()), _("The command was copied."))

    def _copy(self, text, message):
        slicer.app.clipboard().setText(text)
        self.ui.copiedLabel.setText(message)


class EnsembleReviewLogic(ScriptedLoadableModuleLogic, EnsembleLogic):
    """The public API for the console and for scripts: everything is in
    :class:`EnsembleReviewLib.ensemble_logic.EnsembleLogic`, which works without Slicer's application too. Never opens
    a dialog."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleLogic.__init__(self, parent)

    def getParameterNode(self) -> EnsembleReviewParameterNode:
        return EnsembleReviewParameterNode(super().getParameterNode())


class EnsembleReviewTest(ScriptedLoadableModuleTest):
    """Run by Slicer's self test button and by ``slicer_add_python_unittest``."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_parameterNodeRemembersItsValues()

    def test_parameterNodeRemembersItsValues(self):
        parameters = EnsembleReviewLogic().getParameterNode()
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "FLAIR")
        parameters.fusion = FusionMethod.staple
        remember_nodes(parameters.parameterNode, IMAGES, [volume.GetID()])
        again = EnsembleReviewLogic().getParameterNode()
        self.assertEqual(again.fusion, FusionMethod.staple)
        self.assertEqual(chosen_nodes(again.parameterNode, IMAGES), [volume])
