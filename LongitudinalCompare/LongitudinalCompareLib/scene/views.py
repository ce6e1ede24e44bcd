"""The layout side by side, and what its slice views show: a view for each timepoint, moved together."""

from __future__ import annotations

import numpy as np
import slicer

from .nodes import CompareNodes

#: Numbers of our layouts in Slicer's list, far from its own: this one plus the number of timepoints.
LAYOUT = 5600
#: What the views can show -> the map that it needs.
MODES = {"side_by_side": None, "fade": None, "checkerboard": "checkerboard", "change": "intensity_change",
         "subtraction": "subtraction", "expansion": "jacobian"}  # fmt: skip
#: Shown half transparent over the scan.
_OVERLAYS = ("change", "expansion")
_COLORS = ("#4da6ff", "#ff9e26", "#73cc59", "#d973d9")
_MOST_LAYOUTS = 99
_GROUP = 56  # views of one group are linked; the standard views are in group 0


def view_name(timepoint: int) -> str:
    """Singleton tag of the slice view of a timepoint (from 1)."""
    return f"Timepoint{timepoint}"


#: More views than this beside each other would be too narrow.
_MOST_IN_A_ROW = 4


def layout_description(labels: list[str]) -> str:
    """A slice view for each timepoint beside each other, in several rows where there are many; below them a plot."""
    views = [
        f'<item><view class="vtkMRMLSliceNode" singletontag="{view_name(n)}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{n}</property>'
        f'<property name="viewcolor" action="default">{_COLORS[(n - 1) % len(_COLORS)]}</property>'
        f'<property name="viewgroup" action="default">{_GROUP}</property></view></item>'
        for n in range(1, len(labels) + 1)
    ]
    rows = -(-len(views) // _MOST_IN_A_ROW)
    size = -(-len(views) // rows)
    parts = [f'<layout type="horizontal">{"".join(views[n : n + size])}</layout>' for n in range(0, len(views), size)]
    return (
        '<layout type="vertical" split="true">'
        + "".join(f'<item splitSize="{700 // rows}">{part}</item>' for part in parts)
        + '<item splitSize="300"><view class="vtkMRMLPlotViewNode" singletontag="PlotView1">'
        '<property name="viewlabel" action="default">P</property></view></item></layout>'
    )


def show_layout(layoutNode, labels: list[str]) -> int:
    """Switch to the layout; returns its number."""
    number = LAYOUT + len(labels)
    if not layoutNode.IsLayoutDescription(number):
        layoutNode.AddLayoutDescription(number, layout_description(labels))
    layoutNode.SetViewArrangement(number)
    return number


def is_shown(layoutNode) -> bool:
    """Whether one of our layouts is switched on."""
    return LAYOUT < layoutNode.GetViewArrangement() <= LAYOUT + _MOST_LAYOUTS


def show_chart(applicationLogic, chart) -> None:
    """Show a chart (None: nothing) in the plot views of the layout as it is."""
    applicationLogic.GetSelectionNode().SetActivePlotChartID(chart.GetID() if chart is not None else None)
    applicationLogic.PropagatePlotChartSelection()


def composites(scene) -> dict[int, object]:
    """Timepoint -> vtkMRMLSliceCompositeNode of its view, of the views that there are."""
    found = {}
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        name = node.GetLayoutName() or ""
        if name.startswith("Timepoint") and name[9:].isdigit():
            found[int(name[9:])] = node
    return found


def slice_nodes(scene) -> dict[int, object]:
    """Timepoint -> vtkMRMLSliceNode of its view."""
    found = {}
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        name = node.GetLayoutName() or ""
        if name.startswith("Timepoint") and name[9:].isdigit():
            found[int(name[9:])] = node
    return found


def modes_of(nodes: CompareNodes | None) -> list[str]:
    """The modes that a result has the maps for."""
    names = nodes.maps if nodes is not None else ()
    return [mode for mode, role in MODES.items() if role is None or any(name.startswith(role) for name in names)]


def contrasts_of(nodes: CompareNodes | None) -> list[str]:
    """The further contrasts that there are scans of."""
    return list(dict.fromkeys(contrast for _, contrast in (nodes.further if nodes is not None else ())))


def show(scene, nodes: CompareNodes, mode: str = "side_by_side", fade: float = 0.0, contrast: str = "") -> None:
    """Fill the views.

    Args:
        mode: side_by_side: each view its own scan. fade: each view the baseline, and over it, as strong as ``fade``
            says, its own scan. checkerboard, subtraction, change, expansion: that map of each later timepoint, where
            it is.
        fade: 0 to 1.
        contrast: which scans and maps; "" for the scans that were registered, which also stand in for what a
            timepoint has not.
    """
    volumes = [nodes.further.get((n, contrast), volume) for n, volume in enumerate(nodes.volumes, start=1)]
    for n, composite in composites(scene).items():
        if n > len(volumes):
            continue
        own, first = volumes[n - 1].GetID(), volumes[0].GetID()
        back, front, opacity = own, None, 0.0
        if mode == "fade" and len(volumes) > 1:
            back, front, opacity = first, volumes[max(n, 2) - 1].GetID(), fade
        elif MODES[mode] is not None:
            names = [f"{MODES[mode]}_{contrast}_{max(n, 2)}"] * bool(contrast) + [f"{MODES[mode]}_{max(n, 2)}"]
            found = next((nodes.maps[name] for name in names if name in nodes.maps), None)
            if found is not None:
                back, front, opacity = own, found.GetID(), 0.5 if mode in _OVERLAYS else 1.0
        composite.SetBackgroundVolumeID(back)
        composite.SetForegroundVolumeID(front)
        composite.SetForegroundOpacity(opacity)
        # Set here, not by a person in a view: the other views of the group follow positions, not these images.
        composite.SetLinkedControl(True)
        composite.SetHotLinkedControl(True)
    for node in nodes.maps.values():  # a legend looks anew whether its volume is shown
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        if legend is not None:
            legend.Modified()


def show_lines_of(scene, nodes: CompareNodes) -> None:
    """In the views of the timepoints each shows its own diameters alone; other views show all."""
    ours = {node.GetID(): n for n, node in slice_nodes(scene).items()}
    found = [scene.GetNthNodeByClass(index, "vtkMRMLAbstractViewNode").GetID()
             for index in range(scene.GetNumberOfNodesByClass("vtkMRMLAbstractViewNode"))]
    for (timepoint, _, _), line in nodes.lines.items():
        display = line.GetDisplayNode()
        display.RemoveAllViewNodeIDs()
        for view in found:
            if ours.get(view, timepoint) == timepoint:
                display.AddViewNodeID(view)


def jump_to(scene, nodes: CompareNodes, timepoint: int, point) -> tuple[float, float, float]:
    """Center every view on a place: ``point`` (LPS, mm) of that timepoint's scan; returns the place in world RAS."""
    place = np.append(np.array(point, float) * (-1, -1, 1), 1.0)
    transform = nodes.transforms.get(timepoint)
    if transform is not None and nodes.volumes[timepoint - 1].GetTransformNodeID() == transform.GetID():
        matrix = slicer.util.arrayFromTransformMatrix(transform)
        place = matrix @ place
    world = tuple(float(x) for x in place[:3])
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        node.JumpSliceByCentering(*world)
    return world


def fit(scene, applicationLogic, nodes: CompareNodes) -> None:
    """Zoom the views to the baseline, all alike, and center them on it."""
    if not nodes.volumes:
        return
    bounds = [0.0] * 6
    nodes.volumes[0].GetRASBounds(bounds)
    middle = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
    for node in slice_nodes(scene).values():
        logic = applicationLogic.GetSliceLogic(node)
        if logic is not None:
            width, height, _ = node.GetDimensions()
            logic.FitSliceToVolume(nodes.volumes[0], width, height)
        node.JumpSliceByCentering(*middle)
