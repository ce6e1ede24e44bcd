"""Volume nodes from images."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .geometry import ijk_to_ras_of, local_to_world, matrix_of_array, volume_ijk_to_ras


def new_volume_node(scene, name: str, image: sitk.Image, kind: str = "vtkMRMLScalarVolumeNode",
                    window: tuple[float, float] | None = None, data: vtk.vtkImageData | None = None):
    """Add a volume node with the voxels and geometry (LPS, mm) of ``image``; its name is made unique.

    ``kind`` is the node's class: a scalar volume, or ``vtkMRMLLabelMapVolumeNode`` for numbers that are labels.
    ``window`` is the lowest and the highest gray value that a scalar volume shows; without it MRML looks for them
    among all the voxels, which takes a while. ``data`` is :func:`image_data_of` the image, where it was made before.
    """
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(name))
    set_image(node, image, data)
    scene.AddNode(node)
    if window is None:
        node.CreateDefaultDisplayNodes()
    else:
        display = slicer.vtkMRMLScalarVolumeDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(*window)
        scene.AddNode(display)
        display.SetDefaultColorMap()
        node.SetAndObserveDisplayNodeID(display.GetID())
    return node


def image_data_of(image: sitk.Image) -> vtk.vtkImageData:
    """The voxels of an image, copied, as a volume node holds them; of millions that takes a while."""
    data = vtk.vtkImageData()
    data.SetDimensions(image.GetSize())
    scalars = numpy_to_vtk(sitk.GetArrayViewFromImage(image).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    data.GetPointData().SetScalars(scalars)
    return data


def set_image(node, image: sitk.Image, data: vtk.vtkImageData | None = None) -> None:
    """Give a volume node other voxels, and their geometry (LPS, mm); ``data`` as for :func:`new_volume_node`."""
    node.SetAndObserveImageData(data if data is not None else image_data_of(image))
    node.SetIJKToRASMatrix(matrix_of_array(ijk_to_ras_of(image)))
    node.SetSpacing(image.GetSpacing())


def follow_volume(node, volumeNode) -> None:
    """Put a volume node that lies in the world, as files of a job do, under the transform of ``volumeNode``.

    It stays in its place (what it is moved by is taken out of its own geometry), and from now on moves with the other.
    """
    if volumeNode is None or volumeNode.GetTransformNodeID() is None:
        return
    to_local = np.linalg.inv(local_to_world(volumeNode))
    node.SetIJKToRASMatrix(matrix_of_array(to_local @ volume_ijk_to_ras(node)))
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())


def show_measure(volumeNode, colorNode, highest: float) -> None:
    """Show a volume of a measure in colors over 0..``highest``, with its voxels of value 0 transparent."""
    display = volumeNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, highest)
    display.SetInterpolate(False)
    # Values are above 0 by a long way where there is one.
    display.SetThreshold(1e-3 * highest, 1e9)
    display.SetApplyThreshold(True)
