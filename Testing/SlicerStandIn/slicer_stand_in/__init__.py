"""A stand-in for 3D Slicer's application: its Qt layer on PySide6, over the real MRML of the wheel ``slicer-core``.

``install()`` completes the ``slicer`` package of slicer-core with what only the application has, so that unmodified
Slicer module files can be loaded with ``load_modules``, clicked and looked at without Slicer. See README.md.
"""

import importlib
import os
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1]
_FROM_SOURCES = ("slicer.i18n", "slicer.ScriptedLoadableModule", "slicer.parameterNodeWrapper")


_running = None  # what the application adds to the process while it runs


def install(platform="offscreen"):
    """Make ``qt``, ``ctk`` and the missing parts of ``slicer`` importable; returns ``slicer``.

    With the environment variable SLICER_SOURCES naming a source tree of Slicer, its own ``i18n``,
    ``ScriptedLoadableModule`` and ``parameterNodeWrapper`` are used instead of those written here.
    """
    global _running
    import slicer

    if _running is not None:
        _running.switch_on()
        return slicer
    os.environ.setdefault("QT_QPA_PLATFORM", platform)
    sys.path.insert(0, str(_FOLDER))
    import qt  # noqa: F401  (patches PySide6 before any object exists)

    from slicer_stand_in import application, mrml_widgets, segment_editor_widget

    for name in ("qMRMLWidget", "qMRMLNodeComboBox", "qMRMLTableView"):
        setattr(slicer, name, getattr(mrml_widgets, name))
    slicer.qMRMLSegmentEditorWidget = segment_editor_widget.qMRMLSegmentEditorWidget
    slicer.qSlicerScriptedLoadableModuleWidget = application.ModuleWidget
    slicer.qSlicerScriptedLoadableModule = application.ScriptedModule
    import slicer.util

    _running = application.Running()
    _running.switch_on()
    new_scene()
    if os.environ.get("SLICER_SOURCES"):
        _use_sources(slicer, Path(os.environ["SLICER_SOURCES"]) / "Base" / "Python" / "slicer")
    else:
        from slicer_stand_in import i18n, parameter_nodes, scripted_module

        for name, module in zip(_FROM_SOURCES, (i18n, scripted_module, parameter_nodes), strict=True):
            sys.modules[name] = module
            setattr(slicer, name.split(".")[1], module)
    return slicer


def switch_off():
    """Take ``slicer.app`` and what belongs to it away again, for other tests in the same process."""
    _running.switch_off()


def new_scene():
    """An empty scene in ``slicer.mrmlScene``, with new logics; the panels are told."""
    import slicer

    from MRISegSuiteLib.scene.headless import HeadlessSlicer

    slicer.app.setHeadless(HeadlessSlicer())
    return slicer.mrmlScene


def open_main_window():
    """A main window with the module selector and Slicer's own Segment Editor, as without ``--no-main-window``."""
    import slicer

    from slicer_stand_in.main_window import MainWindow

    if "SegmentEditor" not in slicer.app.moduleManager().modules:
        load_modules(_FOLDER / "slicer_stand_in" / "core_modules" / "SegmentEditor.py")
    return MainWindow()


def load_modules(*paths):
    """Load module files as the application does (``--additional-module-paths``); returns the module objects."""
    import slicer

    from slicer_stand_in.application import ScriptedModule

    loaded = [ScriptedModule(path) for path in paths]
    for module in loaded:  # all folders are on the path before the first module is executed, as in Slicer
        module.register()
    for module in loaded:
        module.load()
    slicer.app.startupCompleted.emit()
    return loaded


def _use_sources(slicer, folder):
    """Slicer's own Python files, from a source tree, in place of ours."""
    import ctk
    import qt

    # Classes that those files name but our panels do not use.
    for module, names in ((ctk, ("ctkCheckablePushButton", "ctkRangeWidget", "ctkDoubleRangeSlider", "ctkSliderWidget",
                                 "ctkColorPickerButton", "ctkDirectoryButton", "ctkDoubleSlider", "ctkDoubleSpinBox")),
                          (slicer, ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox"))):
        for name in names:
            if not hasattr(module, name):
                setattr(module, name, type(name, (qt.QWidget,), {}))
    slicer.__path__ = [*slicer.__path__, str(folder)]
    for name in _FROM_SOURCES:
        setattr(slicer, name.split(".")[1], importlib.import_module(name))
