"""KneeSeg: bones and cartilage of the knee from MRI, and cartilage thickness a region.

This file is what 3D Slicer loads: the module, its parameter node, its panel, its logic and its self test. It stays
thin; the work is in KneeSegLib (the knee) and MRISegSuiteLib (what every module of the suite shares).
"""

from __future__ import annotations

from enum import Enum

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

from KneeSegLib.knee_logic import KneeLogic


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


@parameterNodeWrapper
class KneeSegParameterNode:
    """What the panel remembers, saved with the scene.

    inputVolume: the knee MRI.
    inputSegmentation: measure this segmentation instead of segmenting ``inputVolume`` (may be empty).
    modelId: id of the model; empty: the embedded one.
    side: side of the knee.
    device: where the network runs.
    resultSegmentation: the segmentation of the last run, what "measure again" measures.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputSegmentation: vtkMRMLSegmentationNode
    modelId: str = ""
    side: KneeSide = KneeSide.auto
    device: ComputeDevice = ComputeDevice.auto
    resultSegmentation: vtkMRMLSegmentationNode


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
