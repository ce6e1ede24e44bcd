"""``slicer.parameterNodeWrapper``: the subset of Slicer's package that the modules use.

Members of the types node, str, bool, int, float, Enum and pathlib.Path, with a default, numbers with or without
``Annotated[…, WithinRange(…)]``; stored in the parameter node in Slicer's own format (enumerations by name, nodes as
node references), so that a scene saved here opens in Slicer and the other way round. Values of another type or out of
range are errors. Widgets with the dynamic property ``SlicerParameterName`` are bound both ways by ``connectGui``; a
spin box gets the range of its parameter, whatever its .ui file says. Anything else raises an error instead of being
ignored.
"""

import dataclasses
import enum
import math
import pathlib
import typing

import slicer
import vtk
from PySide6 import QtWidgets

from slicer_stand_in import ctk_widgets, mrml_widgets

__all__ = ["Default", "WithinRange", "parameterNodeWrapper", "SlicerParameterNamePropertyName"]
SlicerParameterNamePropertyName = "SlicerParameterName"


class Default:
    """What ``default()`` of a parameter node gives: not the value itself."""

    def __init__(self, value=None):
        self.value = value


class WithinRange:
    """Both ends included."""

    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclasses.dataclass(frozen=True)
class _Parameter:
    kind: type
    range: WithinRange | None
    default: object

    @classmethod
    def of(cls, hint, owner, name):
        kind, annotations = hint, ()
        if typing.get_origin(hint) is typing.Annotated:
            kind, *annotations = typing.get_args(hint)
        if not isinstance(kind, type) or not all(isinstance(one, WithinRange) for one in annotations):
            raise TypeError(f"the stand-in knows no parameter of type {hint} ({owner.__name__}.{name})")
        default = getattr(owner, name) if hasattr(owner, name) else _default_of(kind)
        return cls(kind, annotations[0] if annotations else None, default)

    def validate(self, name, value):
        if value is None and _is_node(self.kind):
            return
        if not isinstance(value, (int, float) if self.kind is float else self.kind):
            raise TypeError(f"{name} must be of type {self.kind.__name__}, is {value!r}")
        if self.range is not None:
            self.range.validate(value)


def _is_node(kind) -> bool:
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def _default_of(kind):
    if _is_node(kind):
        return None
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    return kind()


def _write(node, name, parameter, value):
    kind = parameter.kind
    parameter.validate(name, value)
    if _is_node(kind):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
    elif issubclass(kind, enum.Enum):
        node.SetParameter(name, value.name)
    elif kind is bool:
        node.SetParameter(name, "True" if value else "False")
    elif issubclass(kind, (str, int, float, pathlib.PurePath)):
        node.SetParameter(name, str(value))
    else:
        raise TypeError(f"the stand-in stores no {kind.__name__} ({name})")


def _read(node, name, kind):
    if _is_node(kind):
        return node.GetNodeReference(name)
    text = node.GetParameter(name)
    if issubclass(kind, enum.Enum):
        return kind[text]
    if kind is bool:
        return text == "True"
    return kind(text)


class _Connector:
    """Reads, writes and watches one widget."""

    def __init__(self, widget, parameter):
        kind = parameter.kind
        label = getattr(kind, "label", lambda member: member.name)
        if type(widget) is QtWidgets.QCheckBox and kind is bool:
            self.signal = widget.stateChanged
            self.read, self.write = lambda: widget.checked, lambda v: setattr(widget, "checked", v)
        elif type(widget) in (QtWidgets.QComboBox, ctk_widgets.ctkComboBox) and issubclass(kind, enum.Enum):
            members = list(kind)
            widget.clear()
            widget.addItems([label(member) for member in members])
            self.signal = widget.currentIndexChanged
            self.read = lambda: members[widget.currentIndex]
            self.write = lambda v: widget.setCurrentIndex(members.index(v))
        elif type(widget) in (QtWidgets.QSpinBox, QtWidgets.QSlider) and kind is int:
            if type(widget) is QtWidgets.QSlider and parameter.range is None:
                raise RuntimeError("Cannot have a connection to QSlider where the int type is unbounded.")
            between = parameter.range or WithinRange(-(2**31), 2**31 - 1)
            widget.setRange(between.minimum, between.maximum)
            self.signal = widget.valueChanged
            self.read, self.write = lambda: widget.value, lambda v: widget.setValue(v)
        elif type(widget) is QtWidgets.QDoubleSpinBox and kind is float:
            between = parameter.range or WithinRange(-math.inf, math.inf)
            widget.setRange(between.minimum, between.maximum)
            self.signal = widget.valueChanged
            self.read, self.write = lambda: widget.value, lambda v: widget.setValue(v)
        elif type(widget) is QtWidgets.QLineEdit and kind is str:
            self.signal = widget.textChanged
            self.read = lambda: widget.text
            self.write = lambda v: widget.setText(v) if v != widget.text else None
        elif type(widget) is ctk_widgets.ctkPathLineEdit and issubclass(kind, pathlib.PurePath):
            self.signal = widget.currentPathChanged
            self.read, self.write = lambda: kind(widget.currentPath), lambda v: widget.setCurrentPath(str(v))
        elif type(widget) is mrml_widgets.qMRMLNodeComboBox and _is_node(kind):
            widget.nodeTypes = [kind.__name__]
            self.signal = widget.currentNodeChanged
            self.read, self.write = widget.currentNode, widget.setCurrentNode
        else:
            raise RuntimeError(f"no connection between a {type(widget).__name__} and a {kind.__name__}")
        self.callback = None

    def connect(self, callback):
        self.callback = lambda *_: callback()
        self.signal.connect(self.callback)

    def disconnect(self):
        self.signal.disconnect(self.callback)


class _Wrapper:
    """The methods that the decorator adds to a parameter node class."""

    def __init__(self, parameterNode, prefix=None):
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis, self._nextTag, self._updating = {}, 0, False
        for name, parameter in self.allParameters.items():
            if not parameterNode.HasParameter(self._prefix + name):
                _write(parameterNode, self._prefix + name, parameter, parameter.default)

    def getValue(self, name):
        return _read(self.parameterNode, self._prefix + name, self.allParameters[name].kind)

    def setValue(self, name, value):
        with slicer.util.NodeModify(self.parameterNode):
            _write(self.parameterNode, self._prefix + name, self.allParameters[name], value)

    def default(self, name):
        return Default(self.allParameters[name].default)

    def connectGui(self, gui):
        widgets = gui.findChildren(QtWidgets.QWidget) if isinstance(gui, QtWidgets.QWidget) else vars(gui).values()
        mapping = {}
        for widget in widgets:
            name = widget.property(SlicerParameterNamePropertyName)
            if name:
                mapping[name] = widget
        return self.connectParametersToGui(mapping)

    def connectParametersToGui(self, mapping):
        for name in mapping:
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
        connectors = {name: _Connector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(lambda name=name, connector=connector: self._fromGui(name, connector))
        observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._toGui())
        self._guis[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag):
        if tag not in self._guis:
            return
        connectors, observer = self._guis.pop(tag)
        for connector in connectors.values():
            connector.disconnect()
        self.parameterNode.RemoveObserver(observer)

    def _fromGui(self, name, connector):
        if not self._updating:
            self.setValue(name, connector.read())

    def _toGui(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors, _observer in list(self._guis.values()):
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        return self.parameterNode.RemoveObserver(tag)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(cls=None):
    """Class decorator: typed access to the members that the class annotates, and their binding to widgets."""
    if cls is None:
        return parameterNodeWrapper
    parameters = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        parameters[name] = _Parameter.of(hint, cls, name)
        setattr(cls, name, property(lambda self, name=name: self.getValue(name),
                                    lambda self, value, name=name: self.setValue(name, value)))
    cls.allParameters = parameters
    cls._is_parameter_node_wrapper = True
    for name, member in vars(_Wrapper).items():
        if name == "__init__" or not name.startswith("__"):
            setattr(cls, name, member)
    return cls
