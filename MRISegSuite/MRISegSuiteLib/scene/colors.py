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


def measure_color_node(scene, name: str):
    """The color node for a measure >= 0: "not measured" and zero have colors of their own, the rest is a ramp.

    One per name in a scene: found again by an attribute, so that colors a user changed stay changed.
    """
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
    position = np.linspace(0.0, len(_RAMP) - 1.0, _STEPS - 2)
    ramp = np.stack([np.interp(position, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)], axis=1)
    for index, color in enumerate([OUTSIDE_COLOR, ZERO_COLOR, *ramp.tolist()]):
        label = {0: "not measured", 1: "zero"}.get(index, str(index))
        node.SetColor(index, label, *color, 1.0)
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
