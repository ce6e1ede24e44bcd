"""``slicer.app``, ``slicer.modules`` and the MRML scene with its logics: what the application sets up at start."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from slicer_stand_in.mrml_widgets import qMRMLWidget

Signal = QtCore.Signal


class ModuleManager(QtCore.QObject):
    """``slicer.app.moduleManager()``."""

    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self):
        super().__init__()
        self.modules = {}

    def module(self, name):
        return self.modules.get(name)

    def factoryManager(self):
        return self

    def loadedModuleNames(self):
        return list(self.modules)


class ModuleWidget(qMRMLWidget):
    """``qSlicerScriptedLoadableModuleWidget``: the widget that a panel is laid out in."""

    def __init__(self, module):
        super().__init__()
        QtWidgets.QVBoxLayout(self)
        self._module, self._self, self._entered = module, None, False

    isEntered = QtCore.Property(bool, lambda self: self._entered)

    def setup(self):
        className = f"{self._module.name}Widget"
        source = getattr(sys.modules[self._module.name], className)
        self._self = source(self)
        setattr(slicer.modules, className, self._self)
        self._self.setup()

    def reload(self):
        self.setup()

    def self(self):
        return self._self

    def _call(self, method):
        if hasattr(self._self, method):
            getattr(self._self, method)()

    def enter(self):
        self._entered = True
        self._call("enter")

    def exit(self):
        self._entered = False
        self._call("exit")


class ScriptedModule:
    """``qSlicerScriptedLoadableModule``: a loaded module file."""

    def __init__(self, path):
        self.path, self.name = str(path), Path(path).stem
        self.title = ""
        self._representation = None

    def register(self):
        """Make the module known and its folder importable."""
        folder = os.path.dirname(os.path.abspath(self.path))
        if folder not in sys.path:
            sys.path.append(folder)
        setattr(slicer.modules, self.name.lower(), self)
        slicer.app.moduleManager().modules[self.name] = self

    def load(self):
        """Execute the module file and its module class, as the application does at start."""
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        spec.loader.exec_module(module)
        instance = getattr(module, self.name)(self)
        setattr(slicer.modules, self.name + "Instance", instance)
        if not self.title:
            raise ValueError(f"{self.name} has no title")

    def widgetRepresentation(self):
        if self._representation is None:
            self._representation = ModuleWidget(self)
            self._representation.setMRMLScene(slicer.mrmlScene)
            self._representation.setup()
        return self._representation

    def unload(self):
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
        if self._representation is not None:
            self._representation.deleteLater()
            self._representation = None


class LayoutManager:
    """``slicer.app.layoutManager()`` without views: the layout is kept in the scene's layout node."""

    def __init__(self):
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)

    def layoutLogic(self):
        return self._logic

    def setLayout(self, layout):
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    @property
    def layout(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    @property
    def threeDViewCount(self):
        return 0


class Application(QtWidgets.QApplication):
    """``slicer.app``."""

    startupCompleted = Signal()
    majorVersion, minorVersion = 5, 13
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def __init__(self):
        super().__init__(["Slicer"])
        self.setOrganizationName("SlicerStandIn")
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-stand-in-")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, self._folder.name)
        self._moduleManager = ModuleManager()
        self._layoutManager = None
        self._headless = None
        self._commandOptions = SimpleNamespace(runPythonAndExit=False)

    temporaryPath = QtCore.Property(str, lambda self: self._folder.name)
    launcherExecutableFilePath = QtCore.Property(str, lambda self: "")
    slicerHome = QtCore.Property(str, lambda self: self._folder.name)

    def moduleManager(self):
        return self._moduleManager

    def layoutManager(self):
        return self._layoutManager

    def applicationLogic(self):
        return self._headless.application_logic

    def settings(self):
        return QtCore.QSettings()

    def userSettings(self):
        return QtCore.QSettings()

    def testingEnabled(self):
        return True

    def translate(self, context, text):
        """English only."""
        return text

    def commandOptions(self):
        return self._commandOptions

    def exit(self, code):
        """The application leaves its event loop with this code; the stand-in has none, so the process ends."""
        self.processEvents()
        sys.stdout.flush()
        raise SystemExit(code)

    def mrmlScene(self):
        return slicer.mrmlScene

    def setHeadless(self, headless):
        """Only in the stand-in: take over a scene with its logics, as the application makes one at start."""
        self._headless = headless
        slicer.mrmlScene = headless.scene
        for name, logic in headless.logics.items():
            setattr(slicer.modules, name.lower(), CoreModule(name, logic))
        self._layoutManager = LayoutManager()
        for module in self._moduleManager.modules.values():
            if module._representation is not None:
                module._representation.setMRMLScene(headless.scene)


class Modules:
    """``slicer.modules``: modules by lower-case name, and their instances and widgets."""


class Running:
    """What a running application adds to the process: slicer.app, slicer.modules, PythonSlicer on PATH."""

    def __init__(self):
        self.app, self.modules, self.scene = Application(), Modules(), None
        self.programs = Path(self.app.temporaryPath) / "bin"
        self.programs.mkdir()
        launcher = self.programs / "PythonSlicer"
        # Without exec: a launcher with a child, as PythonSlicer is one.
        launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\n')
        launcher.chmod(0o755)
        self.python = str(launcher)
        self.before = None

    def switch_on(self):
        if self.before is None:
            self.before = (getattr(slicer, "modules", None), getattr(slicer, "mrmlScene", None), sys.executable,
                           os.environ["PATH"])
            slicer.app, slicer.modules, slicer.mrmlScene = self.app, self.modules, self.scene
            sys.executable = self.python
            os.environ["PATH"] = os.pathsep.join([str(self.programs), os.environ["PATH"]])

    def switch_off(self):
        if self.before is not None:
            self.scene = slicer.mrmlScene
            slicer.modules, slicer.mrmlScene, sys.executable, os.environ["PATH"] = self.before
            del slicer.app
            self.before = None


class CoreModule:
    """A module of Slicer itself, of which only the logic exists here."""

    def __init__(self, name, logic):
        self.name, self._logic = name, logic

    def logic(self):
        return self._logic


def grabbed(widget, width, path):
    """Save a picture of ``widget`` at ``width`` pixels; its height is what its content asks for."""
    widget.resize(width, 10)
    QtWidgets.QApplication.processEvents()
    layout = widget.layout()
    height = layout.heightForWidth(width) if layout.hasHeightForWidth() else layout.sizeHint().height()
    widget.resize(width, max(height, layout.minimumSize().height()))
    QtWidgets.QApplication.processEvents()
    picture = QtGui.QPixmap(widget.size)
    picture = widget.grab()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not picture.save(str(path)):
        raise OSError(f"{path} cannot be written")
    return picture
