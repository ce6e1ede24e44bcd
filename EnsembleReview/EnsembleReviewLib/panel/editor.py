"""Slicer's Segment Editor inside the panel, and its undo history."""

from __future__ import annotations

import slicer

_TAG = "EnsembleReviewEditor"
_UNDO_STATES = 30


class ReviewEditor:
    """A qMRMLSegmentEditorWidget with a parameter node of its own, so that the Segment Editor module is left alone.

    Args:
        layout: where the widget goes.
    """

    def __init__(self, layout):
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMaximumNumberOfUndoStates(_UNDO_STATES)
        self._node = None
        # As in Slicer's own module: the parameter node before the scene, so that first choices are kept in it.
        self._useNode()
        self.widget.setMRMLScene(slicer.mrmlScene)
        # The case decides on both.
        self.widget.setSegmentationNodeSelectorVisible(False)
        self.widget.setSourceVolumeNodeSelectorVisible(False)
        self.widget.setSwitchToSegmentationsButtonVisible(False)
        layout.addWidget(self.widget)

    def enter(self) -> None:
        """The panel is shown."""
        self._useNode()
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()
        self.widget.updateWidgetFromMRML()

    def leave(self) -> None:
        """The panel is no longer shown."""
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def sceneCloses(self) -> None:
        """Let go of all nodes."""
        self.widget.setSegmentationNode(None)
        self.widget.removeViewObservations()
        self._node = None

    def setNodes(self, segmentationNode, volumeNode) -> None:
        """What is edited. The history of another segmentation is forgotten; a volume needs a segmentation."""
        self._useNode()
        self.widget.setSegmentationNode(segmentationNode)
        if volumeNode is not None:
            self.widget.setSourceVolumeNode(volumeNode)
        if segmentationNode is not None and not self.widget.currentSegmentID():
            segmentation = segmentationNode.GetSegmentation()
            if segmentation.GetNumberOfSegments():
                self.widget.setCurrentSegmentID(segmentation.GetNthSegmentID(0))

    def segment(self) -> str:
        """Id of the chosen segment; "" where none is."""
        return self.widget.currentSegmentID()

    def saveState(self) -> None:
        """Before a change: undo comes back to here."""
        self.widget.saveStateForUndo()

    def undo(self) -> None:
        """Take the last change back, whether made here or with a tool of the editor."""
        self.widget.undo()

    def redo(self) -> None:
        """Do it again."""
        self.widget.redo()

    def _useNode(self) -> None:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_TAG)
            node = scene.AddNode(node)
        if node is not self._node:
            self._node = node
            self.widget.setMRMLSegmentEditorNode(node)
