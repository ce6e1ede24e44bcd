"""Model nodes from surfaces."""

from __future__ import annotations

import numpy as np
import vtk

from .geometry import RAS_TO_LPS, local_to_world, transformed


def to_world_ras(mesh_lps: vtk.vtkPolyData) -> vtk.vtkPolyData:
    """A copy of a surface (LPS, mm) in RAS; a half turn about S, so cells keep their orientation."""
    return transformed(mesh_lps, RAS_TO_LPS)


def to_local(mesh: vtk.vtkPolyData, volumeNode) -> vtk.vtkPolyData:
    """A surface (world, RAS, mm) in the coordinates of a node under the same parent transform as ``volumeNode``."""
    if volumeNode is None or volumeNode.GetParentTransformNode() is None:
        return mesh
    return transformed(mesh, np.linalg.inv(local_to_world(volumeNode)))


def new_model_node(scene, name: str, mesh: vtk.vtkPolyData, color, volumeNode=None):
    """Add a model node.

    Args:
        scene: the vtkMRMLScene.
        name: node name; made unique.
        mesh: surface with point data (world, RAS, mm).
        color: RGB, 0..1, where no scalars are shown.
        volumeNode: the node gets its parent transform (and the mesh the inverse), so that both move together.
    """
    node = scene.CreateNodeByClass("vtkMRMLModelNode")
    node.UnRegister(None)
    node.SetName(scene.GenerateUniqueName(name))
    node.SetAndObserveMesh(to_local(mesh, volumeNode))
    scene.AddNode(node)
    if volumeNode is not None:
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*color)
    display.SetVisibility2D(False)  # the segmentation shows the outline in slices
    return node


def show_scalars(modelNode, array_name: str, colorNode, highest: float, lowest: float = 0.0) -> None:
    """Color a model by a point array over ``lowest``..``highest`` (see colors.measure_color_node)."""
    display = modelNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode.GetID())
    display.SetActiveScalar(array_name, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(lowest, highest)
    display.SetScalarVisibility(True)


def update_model_node(modelNode, mesh: vtk.vtkPolyData) -> None:
    """Replace the surface (world, RAS, mm) of a model node; its name, colors and visibility stay."""
    display = modelNode.GetDisplayNode()
    shown = display.GetActiveScalarName() if display is not None else None
    scalar_range = display.GetScalarRange() if display is not None else None
    world_to_local = np.linalg.inv(local_to_world(modelNode))
    modelNode.SetAndObserveMesh(transformed(mesh, world_to_local))
    if shown:
        display.SetActiveScalar(shown, vtk.vtkAssignAttribute.POINT_DATA)
        display.SetScalarRange(scalar_range)
