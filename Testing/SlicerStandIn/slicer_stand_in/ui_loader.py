"""``qt.QUiLoader``: reads a ``.ui`` file with Qt's own loader, makes the CTK and qMRML widgets, checks what it finds.

Qt's loader answers an unknown class with a plain ``QWidget`` and an unknown signal with a line on the console. Here
both are errors, and every connection of the file must name a signal and a slot that the widget declares.
"""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools


class QUiLoader:
    """The two methods of ``QUiLoader`` that ``slicer.util.loadUI`` uses."""

    def __init__(self, parent=None):
        self._parent = parent

    def load(self, device, parent=None):
        """The widget that the open file ``device`` describes. Raises ValueError when the file asks for the unknown."""
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        for widget in root.iter("widget"):  # a type of CTK that Qt's loader cannot know; the stand-in does not browse
            for entry in widget.findall("property[@name='filters']"):
                if widget.get("class") == "ctkPathLineEdit":
                    widget.remove(entry)
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ElementTree.tostring(root)))
        buffer.open(QtCore.QBuffer.ReadOnly)
        loader = _Loader({c.findtext("class") for c in root.iter("customwidget")})
        widget = loader.load(buffer, parent)
        if widget is None:
            raise ValueError(loader.errorString())
        widget._kept_alive = loader.created  # Python owns what createWidget made
        for entry in root.iter("widget"):
            if entry.get("class") in loader.declared:
                self._check_properties(self._find(widget, entry.get("name")), entry)
        for connection in connections if connections is not None else ():
            self._connect(widget, connection)
        return widget

    @staticmethod
    def _find(root_widget, name):
        found = root_widget if root_widget.name == name else root_widget.findChild(QtCore.QObject, name)
        if found is None:
            raise ValueError(f"there is no widget '{name}'")
        return found

    @staticmethod
    def _check_properties(widget, entry):
        """Qt's loader makes a dynamic property of one that a widget does not have."""
        for element in entry.findall("property"):
            name = element.get("name")
            if element.get("stdset") != "0" and widget.metaObject().indexOfProperty(name) < 0:
                raise ValueError(f"{type(widget).__name__} '{widget.name}' has no property '{name}'")

    @staticmethod
    def _connect(root_widget, connection):
        find = QUiLoader._find
        sender = find(root_widget, connection.findtext("sender"))
        receiver = find(root_widget, connection.findtext("receiver"))
        slot = connection.findtext("slot")
        declared = getattr(type(receiver), "STAND_IN_SLOTS", ())
        if slot not in declared and receiver.metaObject().indexOfSlot(slot) < 0:
            raise ValueError(f"{type(receiver).__name__} has no slot '{slot}'")
        sender.connect(connection.findtext("signal"), getattr(receiver, slot.split("(")[0]))


class _Loader(QtUiTools.QUiLoader):
    def __init__(self, declared):
        super().__init__()
        self.declared, self.created = declared, []

    def createWidget(self, class_name, parent=None, name=""):
        from slicer_stand_in import ctk_widgets, mrml_widgets

        custom = getattr(ctk_widgets, class_name, None) or getattr(mrml_widgets, class_name, None)
        if custom is not None:
            if class_name not in self.declared:
                raise ValueError(f"'{class_name}' is missing from <customwidgets>")
            widget = custom(parent)
            widget.setObjectName(name)
            widget.setProperty("objectName", name)
        elif class_name in self.declared or class_name not in self.availableWidgets():
            raise ValueError(f"the stand-in has no widget class '{class_name}'")
        else:
            widget = super().createWidget(class_name, parent, name)
        self.created.append(widget)
        return widget
