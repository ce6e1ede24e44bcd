"""A MRML scene in plain Python: what Slicer's application sets up before any module runs, for ``slicer-core``.

Inside Slicer :func:`ensure_scene` returns the application's own scene and sets up nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import slicer
import vtk

# Name at the application logic (lower case in slicer.modules) -> class of the logic. Only those that the scene
# package, the panels and rendering use. Order matters: Colors first, the others look for its default color nodes.
_MODULE_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Texts": "vtkSlicerTextsLogic",
}


class HeadlessSlicer:
    """Holds a scene and the logics that watch it; they live as long as this object.

    Attributes:
        scene: the vtkMRMLScene.
        application_logic: the vtkSlicerApplicationLogic.
        logics: module name -> module logic.
    """

    def __init__(self):
        # Where logics look for color files and the like. slicer-core has none, so it is a nearly empty folder.
        self._share = tempfile.TemporaryDirectory(prefix="MRISegSuite-", ignore_cleanup_errors=True)
        (Path(self._share.name) / "ColorFiles").mkdir()
        self.scene = slicer.vtkMRMLScene()
        self._give_a_cache_folder()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetTemporaryPath(self._share.name)
        self.application_logic.SetHomeDirectory(self._share.name)
        self.application_logic.SetShareDirectory(".")
        # The application fills these with its views; without them AddDefaultNodes and rendering code meet None.
        self.application_logic.SetSliceLogics(vtk.vtkCollection())
        self.application_logic.SetViewLogics(vtk.vtkCollection())
        self.logics = {name: self._logic(name, kind) for name, kind in _MODULE_LOGICS.items()}
        self.application_logic.SetMRMLScene(self.scene)
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)
        # Markups come with slicer-core, but how they are saved is told by a logic that wants an application.
        self.scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())

    def publish(self) -> None:
        """Make this scene ``slicer.mrmlScene`` and its logics ``slicer.modules.<name>.logic()``."""
        slicer.mrmlScene = self.scene
        slicer.modules = SimpleNamespace(**{
            name.lower(): SimpleNamespace(logic=lambda logic=logic: logic, name=name)
            for name, logic in self.logics.items()
        })

    def _logic(self, name, kind):
        logic = getattr(slicer, kind)()
        if hasattr(logic, "SetModuleShareDirectory"):  # all but the color logic
            logic.SetModuleShareDirectory(self._share.name)
        logic.SetMRMLApplicationLogic(self.application_logic)
        if name == "Colors":
            self.application_logic.SetColorLogic(logic)
        logic.SetMRMLScene(self.scene)
        self.application_logic.SetModuleLogic(name, logic)
        return logic

    def _give_a_cache_folder(self):
        """Opening a .mrb file unpacks it into the cache folder of the scene's data manager."""
        (Path(self._share.name) / ".slicer-cache").touch()  # says that the folder is Slicer's own to clean
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(self._share.name)
        cache.SetMRMLScene(self.scene)
        data_manager = slicer.vtkDataIOManager()
        data_manager.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(data_manager)


def ensure_scene():
    """Return ``slicer.mrmlScene``; in plain Python make it first (once)."""
    if getattr(slicer, "mrmlScene", None) is None:
        headless = HeadlessSlicer()
        headless.publish()
        slicer.modules.headless = headless  # keeps the logics alive
    return slicer.mrmlScene
