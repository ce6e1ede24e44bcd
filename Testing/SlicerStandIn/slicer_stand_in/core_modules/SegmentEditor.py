"""Slicer's own module Segment Editor without its tools: which segmentation and volume are chosen, in the real
vtkMRMLSegmentEditorNode. As Slicer's SegmentEditor.py, it makes one segmentation up when it is opened on none."""

import slicer
from PySide6 import QtWidgets
from slicer_stand_in.scripted_module import ScriptedLoadableModule, ScriptedLoadableModuleWidget


class SegmentEditor(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "Segment Editor"


class Editor(QtWidgets.QWidget):
    """``qMRMLSegmentEditorWidget``: the nodes it works on."""

    def __init__(self):
        super().__init__()
        self._node = None

    def setMRMLSegmentEditorNode(self, node):
        self._node = node

    def segmentationNode(self):
        return self._node.GetSegmentationNode()

    def setSegmentationNode(self, node):
        self._node.SetAndObserveSegmentationNode(node)

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode()

    def setSourceVolumeNode(self, node):
        if self.segmentationNode() is None:
            raise ValueError("Slicer takes a source volume only after a segmentation was chosen")
        self._node.SetAndObserveSourceVolumeNode(node)


class SegmentEditorWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        super().setup()
        self.editor = Editor()
        self.layout.addWidget(self.editor)
        self._selectParameterNode()

    def enter(self):
        self._selectParameterNode()
        if self.editor.segmentationNode() is None:
            node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
            self.editor.setSegmentationNode(node or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))

    def _selectParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        self.editor.setMRMLSegmentEditorNode(node)
