"""Slice and 3D views of a MRML scene as pictures, drawn by Slicer's own displayable managers off screen."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SIZE = 600

_SLICE_MANAGERS = ["vtkMRMLModelSliceDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D"]
_VIEW_MANAGERS = [
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLColorLegendDisplayableManager",
]


class View:
    """A 3D view as in Slicer. Make it before the scene is filled: legends are noticed when they are added."""

    def __init__(self, headless):
        self._node = headless.scene.AddNewNodeByClass("vtkMRMLViewNode")
        self._node.SetLayoutName("1")
        self._node.SetBoxVisible(False)
        self._node.SetAxisLabelsVisible(False)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self._window = _Window(headless, factory, _VIEW_MANAGERS, self._node)

    def picture(self, seen_from=(0.0, 1.0, 0.0)) -> np.ndarray:
        """RGB (rows, columns, 3) of everything visible, seen from a direction in RAS (anterior by default)."""
        camera = self._window.renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(*seen_from)
        camera.SetViewUp(0, 0, 1)
        self._window.renderer.ResetCamera()
        camera.Zoom(1.4)
        self._window.renderer.ResetCameraClippingRange()
        return self._window.picture()


def slice_picture(headless, volumeNode, orientation: str, offset_mm: float | None = None) -> np.ndarray:
    """RGB (rows, columns, 3) of a slice view: the volume and the segmentation over it.

    Args:
        headless: the scene with its logics.
        volumeNode: shown behind.
        orientation: "Axial", "Coronal" or "Sagittal".
        offset_mm: position of the slice along its normal (RAS); the middle of the volume by default.
    """
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(headless.application_logic)
    headless.application_logic.GetSliceLogics().AddItem(logic)
    logic.SetMRMLScene(headless.scene)
    sliceNode = logic.AddSliceNode(f"Test{headless.scene.GetNumberOfNodes()}")
    sliceNode.SetOrientation(orientation)
    sliceNode.SetDimensions(SIZE, SIZE, 1)
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volumeNode.GetID())
    logic.FitSliceToBackground()
    if offset_mm is not None:
        logic.SetSliceOffset(offset_mm)
    # In the application CTK draws the image; the managers draw what lies over it.
    logic.UpdatePipeline()
    mapper = vtk.vtkImageMapper()
    mapper.SetInputConnection(logic.GetImageDataConnection())
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    return _Window(headless, factory, _SLICE_MANAGERS, sliceNode, actor).picture()


class _Window:
    """An off-screen window with the displayable managers of a view node."""

    def __init__(self, headless, factory, managers, viewNode, behind=None):
        factory.SetMRMLApplicationLogic(headless.application_logic)
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.renderer = vtk.vtkRenderer()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)
        self._window.SetSize(SIZE, SIZE)
        self._window.AddRenderer(self.renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        if behind is not None:
            self.renderer.AddViewProp(behind)
        self._group = factory.InstantiateDisplayableManagers(self.renderer)
        self._group.SetMRMLDisplayableNode(viewNode)

    def picture(self) -> np.ndarray:
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        data = grab.GetOutput()
        width, height, _ = data.GetDimensions()
        return vtk_to_numpy(data.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


def save_png(picture: np.ndarray, path) -> None:
    """Write an RGB picture."""
    sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(path))
