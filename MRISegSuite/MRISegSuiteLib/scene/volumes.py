"""Volume nodes from images."""

from __future__ import annotations

import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from .geometry import ijk_to_ras_of, matrix_of_array


def new_volume_node(scene, name: str, image: sitk.Image, kind: str = "vtkMRMLScalarVolumeNode"):
    """Add a volume node with the voxels and geometry (LPS, mm) of ``image``; its name is made unique.

    ``kind`` is the node's class: a scalar volume, or ``vtkMRMLLabelMapVolumeNode`` for numbers that are labels.
    """
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(name))
    data = vtk.vtkImageData()
    data.SetDimensions(image.GetSize())
    scalars = numpy_to_vtk(sitk.GetArrayViewFromImage(image).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    data.GetPointData().SetScalars(scalars)
    node.SetAndObserveImageData(data)
    node.SetIJKToRASMatrix(matrix_of_array(ijk_to_ras_of(image)))
    node.SetSpacing(image.GetSpacing())
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


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
