"""Stand-ins for the qMRML widgets that the panels use, on a real MRML scene.

Signals that exist in several overloads in C++ (``currentNodeChanged(vtkMRMLNode*)`` and ``currentNodeChanged(bool)``)
are told apart by STAND_IN_SIGNALS; STAND_IN_SLOTS are the slots a ``.ui`` file may connect.
"""

import vtk
from PySide6 import QtCore, QtWidgets

Property, Signal = QtCore.Property, QtCore.Signal


class qMRMLWidget(QtWidgets.QWidget):
    """The root of a module's panel: passes the scene on to the widgets in it."""

    mrmlSceneChanged = Signal(object)
    STAND_IN_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    STAND_IN_SLOTS = ("setMRMLScene(vtkMRMLScene*)",)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of given classes; disabled until it has a scene, follows nodes that come and go."""

    currentNodeChanged = Signal(object)
    currentNodeValidChanged = Signal(bool)
    currentNodeIDChanged = Signal(str)
    STAND_IN_SIGNALS = {"currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
                        "currentNodeChanged(bool)": "currentNodeValidChanged",
                        "currentNodeIDChanged(QString)": "currentNodeIDChanged"}
    STAND_IN_SLOTS = ("setMRMLScene(vtkMRMLScene*)", "setCurrentNode(vtkMRMLNode*)", "setCurrentNodeID(QString)")

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        layout.addWidget(self._combo)
        self.setFocusProxy(self._combo)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self._scene, self._observers, self._filling, self._shown = None, [], False, object()
        self._nodeTypes, self._noneDisplay, self._attributes = [], "None", {}
        self._flags = {"noneEnabled": False, "addEnabled": True, "removeEnabled": True, "editEnabled": False,
                       "renameEnabled": False, "showHidden": False, "showChildNodeTypes": True,
                       "selectNodeUponCreation": True}
        self._combo.currentIndexChanged.connect(self._emitIfChanged)
        self.setEnabled(False)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._observers = []
        self._scene = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent,
                          scene.EndBatchProcessEvent):
                self._observers.append(scene.AddObserver(event, lambda *_: self._fill()))
        self.setEnabled(scene is not None)
        self._fill()

    def _nodes(self):
        """The nodes on offer, in the order of the scene."""
        if self._scene is None:
            return []
        found = []
        for index in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(index)
            exact = node.GetClassName() in self._nodeTypes
            derived = self._flags["showChildNodeTypes"] and any(node.IsA(t) for t in self._nodeTypes)
            attribute = self._attributes.get(node.GetClassName())
            if attribute is not None and node.GetAttribute(attribute) is None:
                continue
            if (exact or derived) and (self._flags["showHidden"] or not node.GetHideFromEditors()):
                found.append(node)
        return found

    def addAttribute(self, nodeType, attributeName):
        """Only nodes of this type with this attribute, whatever its value (Slicer takes a value as well)."""
        if nodeType in self._nodeTypes:  # for others it is not remembered
            self._attributes[nodeType] = attributeName
            self._fill()

    def _fill(self):
        if self._scene is None:
            nodes = []
        elif self._scene.IsBatchProcessing():
            return  # refreshed when the batch ends, as in Slicer
        else:
            nodes = self._nodes()
        current = self.currentNodeID
        self._filling = True
        self._combo.clear()
        if self._flags["noneEnabled"]:
            self._combo.addItem(self._noneDisplay, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        index = self._combo.findData(current) if current else -1
        if index < 0:  # as in Slicer: None where there is one, otherwise the last node
            index = 0 if self._flags["noneEnabled"] else self._combo.count - 1
        self._combo.setCurrentIndex(index)
        self._filling = False
        self._emitIfChanged()

    def _emitIfChanged(self, *_):
        if self._filling:
            return
        node = self.currentNode()
        if node is not self._shown:
            self._shown = node
            self.currentNodeChanged.emit(node)
            self.currentNodeValidChanged.emit(node is not None)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def currentNode(self):
        identifier = self.currentNodeID
        return self._scene.GetNodeByID(identifier) if identifier and self._scene is not None else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier):
        index = self._combo.findData(identifier)
        self._combo.setCurrentIndex(index if index >= 0 else (0 if self._flags["noneEnabled"] else -1))

    currentNodeID = Property(str, lambda self: self._combo.property("currentData") or "", setCurrentNodeID)

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        """A node on offer; "None" does not count."""
        return self._nodes()[index]

    # The setters are neither slots nor invokable in C++: Python has the properties only.
    def _setNodeTypes(self, types):
        self._nodeTypes = list(types)
        self._fill()

    nodeTypes = Property("QStringList", lambda self: self._nodeTypes, _setNodeTypes)

    def _setNoneDisplay(self, text):
        self._noneDisplay = text
        self._fill()

    noneDisplay = Property(str, lambda self: self._noneDisplay, _setNoneDisplay)

    def _setSizeAdjustPolicy(self, policy):
        raise AttributeError("Property 'sizeAdjustPolicy' of type 'QComboBox::SizeAdjustPolicy' does not accept an "
                             "object: PythonQt does not know this type on a qMRMLNodeComboBox")

    sizeAdjustPolicy = Property(object, lambda self: None, _setSizeAdjustPolicy)


def _flag(name):
    def write(self, value):
        self._flags[name] = bool(value)
        self._fill()

    return Property(bool, lambda self: self._flags[name], write)


# Declared here in one loop because they only differ by name. PySide6 reads Property objects when a class is made, so
# the final class is made with them in its body.
_members = {}
for _name in ("noneEnabled", "addEnabled", "removeEnabled", "editEnabled", "renameEnabled", "showHidden",
              "showChildNodeTypes", "selectNodeUponCreation"):
    _members[_name] = _flag(_name)
qMRMLNodeComboBox = type("qMRMLNodeComboBox", (qMRMLNodeComboBox,), _members)


class _TableModel(QtCore.QAbstractTableModel):
    def __init__(self, parent):
        super().__init__(parent)
        self.table = None

    def rowCount(self, _parent=None):
        return self.table.GetNumberOfRows() if self.table is not None else 0

    def columnCount(self, _parent=None):
        return self.table.GetNumberOfColumns() if self.table is not None else 0

    def data(self, index, role=QtCore.Qt.DisplayRole):
        if role != QtCore.Qt.DisplayRole:
            return None
        column = self.table.GetColumn(index.column())
        value = column.GetVariantValue(index.row())
        if column.GetDataType() in (vtk.VTK_DOUBLE, vtk.VTK_FLOAT):
            return f"{value.ToDouble():.6g}"
        return value.ToString()

    def headerData(self, section, orientation, role=QtCore.Qt.DisplayRole):
        if role != QtCore.Qt.DisplayRole:
            return None
        if orientation != QtCore.Qt.Horizontal:
            return str(section + 1)
        name = self.table.GetColumnName(section)
        node = self.parent()._node
        if not node.GetUseColumnTitleAsColumnHeader():
            return name
        unit = node.GetColumnUnitLabel(name)
        return (node.GetColumnTitle(name) or name) + (f" [{unit}]" if unit else "")


class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node and follows its changes."""

    STAND_IN_SLOTS = ("setMRMLScene(vtkMRMLScene*)", "setMRMLTableNode(vtkMRMLNode*)")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._scene, self._tag = None, None, None
        self._model = _TableModel(self)
        self.setModel(self._model)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlTableNode(self):
        return self._node

    def setMRMLTableNode(self, node):
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._refresh())
        self._refresh()

    def _refresh(self):
        self._model.beginResetModel()
        self._model.table = self._node.GetTable() if self._node is not None else None
        self._model.endResetModel()
