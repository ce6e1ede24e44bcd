"""A stand-in for ``qMRMLSegmentEditorWidget`` without its tools: the list of segments and the undo history, on the
real vtkSlicerSegmentEditorLogic. What a tool would do to the segments, a test does itself."""

import slicer
from PySide6 import QtCore, QtWidgets

from slicer_stand_in.mrml_widgets import qMRMLWidget


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The methods that panels use, named and behaving as in Slicer's header."""

    currentSegmentIDChanged = QtCore.Signal(str)
    STAND_IN_SIGNALS = {"currentSegmentIDChanged(QString)": "currentSegmentIDChanged"}
    viewsAreObserved = keysAreInstalled = False  # for tests

    def __init__(self, parent=None):
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node = self._observed = None
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._table = QtWidgets.QTableWidget(0, 1)
        self._table.setHorizontalHeaderLabels(["Segment"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setMaximumHeight(110)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
        self._table.itemSelectionChanged.connect(self._selected)
        layout.addWidget(self._table)
        self._filling = False

    def setMRMLScene(self, scene):
        super().setMRMLScene(scene)
        self._logic.SetMRMLScene(scene)

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node):
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        self.updateWidgetFromMRML()

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node is not None else None

    def setSegmentationNode(self, node):
        if node is not self.segmentationNode():
            self._logic.SetSegmentationNode(node)
            self._node.SetSelectedSegmentID(None)
        self.updateWidgetFromMRML()

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode()

    def setSourceVolumeNode(self, node):
        if self.segmentationNode() is None:
            raise ValueError("Slicer takes a source volume only after a segmentation was chosen")
        self._logic.SetSourceVolumeNode(node)

    def currentSegmentID(self):
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segmentID):
        self._node.SetSelectedSegmentID(segmentID)
        self.updateWidgetFromMRML()
        self.currentSegmentIDChanged.emit(segmentID)

    def updateWidgetFromMRML(self):
        self._filling = True
        node = self.segmentationNode()
        segmentation = node.GetSegmentation() if node is not None else None
        count = segmentation.GetNumberOfSegments() if segmentation is not None else 0
        self._table.setRowCount(count)
        for row in range(count):
            self._table.setItem(row, 0, QtWidgets.QTableWidgetItem(segmentation.GetNthSegment(row).GetName()))
            if segmentation.GetNthSegmentID(row) == self.currentSegmentID():
                self._table.selectRow(row)
        self._filling = False

    def _selected(self):
        row = self._table.currentRow()
        if not self._filling and row >= 0:
            self.setCurrentSegmentID(self.segmentationNode().GetSegmentation().GetNthSegmentID(row))

    def setMaximumNumberOfUndoStates(self, count):
        self._logic.SetMaximumNumberOfUndoStates(count)

    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    def undo(self):
        self._logic.Undo()

    def redo(self):
        self._logic.Redo()

    def activeEffect(self):
        return None

    def setActiveEffect(self, effect):
        if effect is not None:
            raise ValueError("the stand-in has no effects")

    def setSegmentationNodeSelectorVisible(self, visible):
        pass

    def setSourceVolumeNodeSelectorVisible(self, visible):
        pass

    def setSwitchToSegmentationsButtonVisible(self, visible):
        pass

    def setupViewObservations(self):
        self.viewsAreObserved = True

    def removeViewObservations(self):
        self.viewsAreObserved = False

    def installKeyboardShortcuts(self, parent=None):
        self.keysAreInstalled = True

    def uninstallKeyboardShortcuts(self):
        self.keysAreInstalled = False
