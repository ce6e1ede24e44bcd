"""What the bones of a result are colored by."""

from __future__ import annotations

import slicer

from MRISegSuiteLib.meshes.polydata import get_point_data, set_point_data
from MRISegSuiteLib.scene import colors, models

from ..scales import GREATEST_SHOWN_CHANGE_MM, GREATEST_SHOWN_ERROR_MM, LONGEST_SHOWN_MS, THICKEST_SHOWN_MM
from .nodes import KneeNodes

#: Point data of the bones' surfaces (see measure.KneeMeasurement).
THICKNESS, SUBCHONDRAL = "thickness_mm", "subchondral"
#: Point data of T2, and what is shown of it.
T2, SHOWN_T2 = "t2_ms", "t2_shown_ms"
CHANGE, SHOWN_CHANGE = "change_mm", "change_shown_mm"
SHAPE_ERROR, SHOWN_SHAPE_ERROR = "shape_error_mm", "shape_error_shown_mm"
#: Point data that is shown: thickness on the joint surface, something else elsewhere (see colors.shown_values).
SHOWN_THICKNESS = "thickness_shown_mm"
#: What the bones can be colored by: measure -> point data, end of its scale, name of its colors, title of its legend.
COLORINGS = {
    "thickness": (SHOWN_THICKNESS, THICKEST_SHOWN_MM, "Cartilage thickness (mm)", "Cartilage\nthickness\n(mm)"),
    "t2": (SHOWN_T2, LONGEST_SHOWN_MS, "T2 (ms)", "T2\n(ms)"),
    "change": (SHOWN_CHANGE, GREATEST_SHOWN_CHANGE_MM, "Change of thickness (mm)", "Change of\nthickness\n(mm)"),
    "shape": (SHOWN_SHAPE_ERROR, GREATEST_SHOWN_ERROR_MM, "Bone beyond shape model (mm)", "Beyond\nshape model\n(mm)"),
}
#: Those that go to both sides of zero.
_SIGNED = ("change", "shape")

#: Point data that is made for showing.
SHOWN = {array for array, *_ in COLORINGS.values()}


def colorings_of(nodes: KneeNodes) -> list[str]:
    """Which of ``COLORINGS`` the bones of a result have."""
    meshes = [node.GetPolyData().GetPointData() for node in nodes.models.values() if node.GetPolyData() is not None]
    return [name for name, (array, *_) in COLORINGS.items() if any(data.HasArray(array) for data in meshes)]


def coloring_of(nodes: KneeNodes) -> str:
    """Which of ``COLORINGS`` the bones show now; empty when they show something else."""
    shown = {node.GetDisplayNode().GetActiveScalarName() for node in nodes.models.values() if node.GetDisplayNode()}
    return next((name for name, (array, *_) in COLORINGS.items() if array in shown), "")


def color_bones_by(scene, nodes: KneeNodes, coloring: str) -> None:
    """Show thickness, T2, change or the error of the shape model on the bones, and its legend.

    See :func:`colorings_of` for what there is.
    """
    array, highest, name, title = COLORINGS[coloring]
    signed = coloring in _SIGNED
    make = colors.change_color_node if signed else colors.measure_color_node
    lowest = -highest if signed else 0.0
    for node in nodes.models.values():
        if not node.GetPolyData().GetPointData().HasArray(array):
            continue
        models.show_scalars(node, array, make(scene, name), highest, lowest)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        if legend is not None:
            legend.SetTitleText(title)


def add_shown(mesh) -> None:
    """Point data for showing: with values that the color node knows for "not measured" and "zero"."""
    data = mesh.GetPointData()
    if data.HasArray(T2):
        t2 = get_point_data(mesh, T2)
        set_point_data(mesh, SHOWN_T2, colors.shown_values(t2, t2 > 0, LONGEST_SHOWN_MS))
    if data.HasArray(CHANGE):
        change, compared = get_point_data(mesh, CHANGE), get_point_data(mesh, "compared") > 0
        set_point_data(mesh, SHOWN_CHANGE, colors.shown_changes(change, compared, GREATEST_SHOWN_CHANGE_MM))
    if data.HasArray(SHAPE_ERROR):
        error, fitted = get_point_data(mesh, SHAPE_ERROR), get_point_data(mesh, "shape_fitted") > 0
        set_point_data(mesh, SHOWN_SHAPE_ERROR, colors.shown_changes(error, fitted, GREATEST_SHOWN_ERROR_MM))
    if data.HasArray(THICKNESS) and data.HasArray(SUBCHONDRAL):
        thickness, joint = get_point_data(mesh, THICKNESS), get_point_data(mesh, SUBCHONDRAL) > 0
        set_point_data(mesh, SHOWN_THICKNESS, colors.shown_values(thickness, joint, THICKEST_SHOWN_MM))
