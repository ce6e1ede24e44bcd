"""Make PySide6 objects behave as they do under PythonQt, which 3D Slicer uses.

What PythonQt does and PySide6 does not (read in PythonQt's and Slicer's sources, tried in Slicer):

* a Qt property is a plain attribute, read (``button.enabled``) and written (``button.enabled = False``);
  the getter method of the same name is therefore hidden, the setter method stays (``button.setEnabled(False)``);
* ``objectName`` is also available as ``name``;
* ``object.connect("clicked(bool)", callable)`` connects a signal by its signature, ``disconnect`` undoes it;
* setting an attribute that is neither a property nor known to a Python subclass is an error, also on the stand-ins of
  the CTK and qMRML widgets (which keep their own state in names that begin with "_").

The classes of PySide6 themselves are patched, not sub-classed, so that widgets made by Qt (by ``QUiLoader``, the view
of a combo box, …) behave the same and ``type(widget) == qt.QComboBox`` holds, which Slicer's parameter nodes rely on.
"""

from inspect import getattr_static

from PySide6 import QtCore, QtGui, QtWidgets

# C++ calls these virtual functions: PySide6 would take a Python property of that name for an override of them.
_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint"}

# What the stand-in itself stores on widgets.
_OWN_ATTRIBUTES = {"_kept_alive"}

_patched = False


def _property_of(name: str) -> property:
    def read(self):
        return QtCore.QObject.property(self, name)

    def write(self, value):
        meta = self.metaObject()
        meta_property = meta.property(meta.indexOfProperty(name))
        if not meta_property.isWritable():
            raise AttributeError(f"Property '{name}' of {type(self).__name__} is not writable")
        if meta_property.isEnumType() and not isinstance(value, (int, str)):
            value = getattr(value, "value", value)
        if not QtCore.QObject.setProperty(self, name, value):
            raise ValueError(f"Property '{name}' of type '{meta_property.typeName()}' does not take {value!r}")

    return property(read, write)


class _ClassOrInstance:
    """``qt.QTimer.singleShot`` is a static function, ``timer.singleShot`` is a property: both in PythonQt."""

    def __init__(self, static, instance_property):
        self.static, self.instance_property = static, instance_property

    def __get__(self, instance, owner):
        return self.static if instance is None else self.instance_property.__get__(instance, owner)

    def __set__(self, instance, value):
        self.instance_property.__set__(instance, value)


def _signal_of(self, signature: str):
    """The bound signal that a signature such as ``currentNodeChanged(vtkMRMLNode*)`` names."""
    declared = getattr(type(self), "STAND_IN_SIGNALS", {})
    if signature in declared:
        return getattr(self, declared[signature])
    normalized = QtCore.QMetaObject.normalizedSignature(signature)
    normalized = bytes(normalized.data()).decode() if hasattr(normalized, "data") else str(normalized)
    if self.metaObject().indexOfSignal(normalized) < 0:
        raise ValueError(f"{type(self).__name__} has no signal '{signature}'")
    name, arguments = normalized.split("(", 1)
    signal = getattr(self, name)
    try:
        return signal[tuple(a for a in arguments[:-1].split(",") if a)] if hasattr(signal, "__getitem__") else signal
    except (IndexError, KeyError, TypeError):
        return signal


def _connect(self, signature, function, *_):
    if not callable(function):
        raise TypeError(f"cannot connect '{signature}' to {function!r}")
    _signal_of(self, signature).connect(function)
    return True


def _disconnect(self, signature, function=None):
    signal = _signal_of(self, signature)
    signal.disconnect(function) if function is not None else signal.disconnect()
    return True


_native_getattribute = QtCore.QObject.__getattribute__


def _getattribute(self, name):
    # PySide6 answers these two names itself, whatever the classes say
    if name == "connect":
        return _connect.__get__(self)
    if name == "disconnect":
        return _disconnect.__get__(self)
    return _native_getattribute(self, name)


def _is_of_qt(cls, name) -> bool:
    """Whether it is a class of C++ in Slicer, so that Python sets no new attribute ``name`` on its objects."""
    ours = issubclass(cls, QtWidgets.QWidget) and cls.__module__.startswith("slicer_stand_in.")
    return cls.__module__.startswith("PySide6.") or (ours and not name.startswith("_"))


def _setattr(self, name, value):
    cls = type(self)
    known = getattr_static(cls, name, None)
    if isinstance(known, QtCore.Property):  # a property of a stand-in widget
        if known.fset is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} is not writable")
        known.fset(self, value)
    elif hasattr(type(known), "__set__"):
        known.__set__(self, value)
    elif isinstance(value, QtCore.SignalInstance) or name in _OWN_ATTRIBUTES:  # PySide6 keeps signals on the object
        self.__dict__[name] = value
    elif _is_of_qt(cls, name) and known is None:
        raise AttributeError(f"{cls.__name__} has no property '{name}': PythonQt sets no new attribute")
    elif _is_of_qt(cls, name) and callable(known):
        raise AttributeError(f"'{name}' is a method of {cls.__name__} and cannot be overwritten")
    else:
        self.__dict__[name] = value


def _patch_class(cls) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name in _VIRTUAL_GETTERS:
            continue
        static = cls.__dict__.get(name) if cls is QtCore.QTimer and name == "singleShot" else None
        descriptor = _property_of(name)
        if static is not None:
            descriptor = _ClassOrInstance(getattr(cls, name), descriptor)
        setattr(cls, name, descriptor)
    cls.__setattr__ = _setattr  # PySide6 gives every class a __setattr__ of its own


def patch() -> None:
    """Patch every QObject class of QtCore, QtGui and QtWidgets. Calling it twice does no harm."""
    global _patched
    if _patched:
        return
    _patched = True
    # dir() and getattr(), not vars(): PySide6 makes a class when it is first asked for
    members = (getattr(module, name) for module in (QtCore, QtGui, QtWidgets) for name in dir(module))
    classes = {value for value in members if isinstance(value, type) and issubclass(value, QtCore.QObject)}
    for cls in sorted(classes, key=lambda c: len(c.__mro__)):
        _patch_class(cls)
    QtCore.QObject.name = property(lambda self: self.property("objectName"),
                                   lambda self, value: self.setProperty("objectName", value))
    QtCore.QObject.className = lambda self: self.metaObject().className()
    QtCore.QObject.delete = lambda self: self.deleteLater()
    QtCore.QObject.__getattribute__ = _getattribute
