"""Color nodes and color legends for numbers on surfaces."""

from __future__ import annotations

import numpy as np
import slicer

_KEY = "MRISegSuite.ColorMap"

# Dark violet over green to yellow: even steps to the eye, also to a color-blind one, and in gray print.
_RAMP = np.array([
    (0.27, 0.00, 0.33), (0.28, 0.14, 0.46), (0.25, 0.27, 0.53), (0.21, 0.37, 0.55), (0.16, 0.47, 0.56),
    (0.13, 0.57, 0.55), (0.13, 0.66, 0.52), (0.27, 0.75, 0.44), (0.48, 0.82, 0.32), (0.74, 0.87, 0.15),
    (0.99, 0.91, 0.14),
])
_STEPS = 256

# Red for loss over white to blue for gain: told apart by color-blind eyes.
_CHANGE_RAMP = np.array([
    (0.40, 0.00, 0.12), (0.70, 0.09, 0.17), (0.84, 0.38, 0.30), (0.96, 0.65, 0.51), (0.99, 0.86, 0.78),
    (0.97, 0.97, 0.97), (0.82, 0.90, 0.94), (0.57, 0.77, 0.87), (0.26, 0.58, 0.76), (0.13, 0.40, 0.67),
    (0.02, 0.19, 0.38),
])

# Over a gray scan: blue for less over nothing (black) to orange for more, brighter the larger the change is.
_OVERLAY_RAMP = np.array([
    (0.62, 0.90, 1.00), (0.30, 0.70, 1.00), (0.12, 0.47, 0.86), (0.05, 0.22, 0.45), (0.00, 0.05, 0.12),
    (0.00, 0.00, 0.00), (0.14, 0.05, 0.00), (0.50, 0.20, 0.02), (0.90, 0.42, 0.05), (1.00, 0.66, 0.20),
    (1.00, 0.90, 0.55),
])

#: Color of surface that was not measured, and of exactly zero (bare bone).
OUTSIDE_COLOR, ZERO_COLOR = (0.88, 0.82, 0.70), (0.84, 0.11, 0.10)

#: Value for points that were not measured. Color nodes have no color for NaN that survives saving the scene.
OUTSIDE = -1.0


def shown_values(values: np.ndarray, measured: np.ndarray, highest: float) -> np.ndarray:
    """Point values (>= 0) such that the color node of :func:`measure_color_node` over 0..``highest`` tells them apart.

    Points that were not measured become OUTSIDE and get the first color. Zero, and what cannot be told from it,
    becomes a value in the middle of the second color (``highest`` / 171), so that range and legend begin at 0.
    """
    lowest = 1.5 * highest / _STEPS
    return np.where(measured, np.maximum(values, lowest), OUTSIDE).astype(np.float32)


def shown_changes(values: np.ndarray, compared: np.ndarray, extreme: float) -> np.ndarray:
    """Point values for the color node of :func:`change_color_node` over ``-extreme``..``extreme``.

    Points that were not compared get a value in the first color, all others values beyond it.
    """
    lowest = -extreme + 2 * 1.5 * extreme / _STEPS
    return np.where(compared, np.maximum(values, lowest), -extreme).astype(np.float32)


def measure_color_node(scene, name: str):
    """The color node for a measure >= 0: "not measured" and zero have colors of their own, the rest is a ramp.

    One per name in a scene: found again by an attribute, so that colors a user changed stay changed.
    """
    return _color_node(scene, name, {0: ("not measured", OUTSIDE_COLOR), 1: ("zero", ZERO_COLOR)}, _RAMP)


def change_color_node(scene, name: str):
    """The color node for a change: "not compared" has a color of its own, the rest is red over white to blue."""
    return _color_node(scene, name, {0: ("not compared", OUTSIDE_COLOR)}, _CHANGE_RAMP)


def overlay_color_node(scene, name: str):
    """The color node for a change that is laid over a scan: blue over black (none) to orange."""
    return _color_node(scene, name, {}, _OVERLAY_RAMP)


def _color_node(scene, name: str, first: dict, ramp: np.ndarray):
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLColorTableNode")
        if node.GetAttribute(_KEY) == name:
            return node
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)
    node.SetTypeToUser()
    node.SetHideFromEditors(False)  # hidden color nodes are not offered for saving
    node.SetName(scene.GenerateUniqueName(name))
    node.SetAttribute(_KEY, name)
    node.SetAttribute("Category", "MRI Seg Suite")
    node.SetNumberOfColors(_STEPS)
    position = np.linspace(0.0, len(ramp) - 1.0, _STEPS - len(first))
    between = np.stack([np.interp(position, np.arange(len(ramp)), ramp[:, c]) for c in range(3)], axis=1)
    for index, color in enumerate([*(color for _, color in first.values()), *between.tolist()]):
        node.SetColor(index, first[index][0] if index in first else str(index), *color, 1.0)
    node.GetLookupTable().SetRange(0, _STEPS - 1)
    scene.AddNode(node)
    return node


def add_legend(displayNode, title: str):
    """Show a color legend for a display node and return its node."""
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(displayNode)
    legend.SetTitleText(title)
    legend.SetNumberOfLabels(5)
    legend.SetMaxNumberOfColors(_STEPS)
    legend.SetOrientation(legend.Vertical)
    legend.SetSize(0.12, 0.5)
    legend.SetPosition(0.95, 0.5)
    legend.SetVisibility(True)
    return legend


def renew_legend(scene, displayableNode) -> None:
    """Make the color legend of a node anew, where it has one: views that were made after a legend never show it."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(displayableNode)
    if legend is not None:
        title, visible = legend.GetTitleText(), legend.GetVisibility()
        scene.RemoveNode(legend)
        add_legend(displayableNode.GetDisplayNode(), title).SetVisibility(visible)
