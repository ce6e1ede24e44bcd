"""``import qt`` as in 3D Slicer: every class of QtCore, QtGui and QtWidgets, with PythonQt's manners."""

from PySide6 import QtCore as _QtCore
from PySide6 import QtGui as _QtGui
from PySide6 import QtWidgets as _QtWidgets
from slicer_stand_in import pythonqt as _pythonqt

_pythonqt.patch()
for _module in (_QtCore, _QtGui, _QtWidgets):
    globals().update({_name: getattr(_module, _name) for _name in dir(_module) if not _name.startswith("_")})

from slicer_stand_in.ui_loader import QUiLoader  # noqa: E402,F401  (needs the patched classes)
