"""``slicer.util.mainWindow()`` with the module selector: switching modules as a person does with the toolbar."""

import slicer
from PySide6 import QtCore, QtWidgets


class ModuleSelector(QtCore.QObject):
    """``qSlicerModuleSelectorToolBar``: one module is shown at a time; the one before is left first."""

    moduleSelected = QtCore.Signal(str)

    def __init__(self, parent):
        super().__init__(parent)
        self._selected = ""

    selectedModule = QtCore.Property(str, lambda self: self._selected)

    def selectModule(self, name):
        modules = slicer.app.moduleManager().modules
        if name not in modules:
            raise ValueError(f"there is no module '{name}'")
        shown = modules[name].widgetRepresentation()
        for module in modules.values():
            other = module._representation
            if other is not None and other is not shown and other.isEntered:
                other.exit()
                other.hide()
        if not shown.isEntered:
            shown.enter()
        shown.show()
        self._selected = name
        self.moduleSelected.emit(name)


class MainWindow(QtWidgets.QMainWindow):
    """``qSlicerMainWindow``. Panels stay windows of their own here, so that a test decides on their width."""

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = ModuleSelector(self)

    def moduleSelector(self):
        return self._selector
