"""Writing the parts of a comparison as nodes: new ones, or into those that were there before."""

from __future__ import annotations

import json

from MRISegSuiteLib.images.structures import TUMOR_BY_NAME
from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.scene import charts, colors, hierarchy, provenance, segmentations, tables, volumes
from MRISegSuiteLib.scene.geometry import matrix_of_array
from MRISegSuiteLib.scene.parts import connect

from ..timepoints import STRUCTURE
from .loading import LoadedJob
from .nodes import DIAMETER, RECORD, CompareNodes, refer_to_inputs

_TITLES = {
    "subtraction": "Subtraction", "intensity_change": "Change in units of noise", "checkerboard": "Checkerboard",
    "jacobian": "Local expansion (%)",
}  # fmt: skip
#: Maps with colors -> name of the colors and title of their legend.
_COLORED = {
    "intensity_change": ("Change of gray value (noise)", "Change of gray\nvalue (SD of noise)"),
    "jacobian": ("Local expansion (%)", "Local expansion\n(%)"),
}  # fmt: skip
#: Diameter lines are made for the largest lesions only: hundreds of them hide the scan.
_MOST_LINES = 20
_COLORS = ((0.30, 0.65, 1.0), (1.0, 0.62, 0.15), (0.45, 0.80, 0.35), (0.85, 0.45, 0.85))


def new_inputs(scene, base: str, loaded: LoadedJob, nodes: CompareNodes, parent: int) -> None:
    """What the caller has no nodes of: images (from the common space) and masks."""
    count = len(loaded.record["timepoints"])
    attributes = provenance.provenance_of(loaded.result)
    if not nodes.volumes:
        for n in range(1, count + 1):
            if n in loaded.images:
                label = loaded.record["timepoints"][n - 1]["label"]
                node = volumes.new_volume_node(scene, f"{base} - {label.capitalize()}, aligned", loaded.images[n])
                provenance.mark(node, attributes)
                hierarchy.place(scene, node, parent)
                nodes.volumes.append(node)
        loaded.transforms.clear()  # these images lie in the common space already
    if nodes.masks or loaded.transforms == {}:
        return
    lesion = TUMOR_BY_NAME[STRUCTURE]
    look = segmentations.SegmentLook(lesion.name, lesion.title, lesion.color,
                                     terminology_entry(lesion.category, lesion.code, lesion.region))  # fmt: skip
    model = loaded.result.model or {}
    for n, (image, names) in loaded.masks.items():
        volumeNode = nodes.volumes[n - 1]
        values = names or {STRUCTURE: lesion.label}
        node = segmentations.new_segmentation_node(
            scene, f"{volumeNode.GetName()} - Lesions", image, values, [look], volumeNode,
            algorithm=f"MRI Seg Suite {model.get('id', '')}".strip(),
            algorithm_type="AUTOMATIC" if model else "SEMIAUTOMATIC")  # fmt: skip
        provenance.mark(node, attributes)
        hierarchy.place(scene, node, hierarchy.parent_item(scene, volumeNode))
        nodes.masks.append(node)


def write_parts(scene, base: str, loaded: LoadedJob, nodes: CompareNodes, parent: int, old: dict) -> None:
    """Table, transforms, maps, diameters and chart; ``old`` are the nodes to write into, by part."""
    attributes = provenance.provenance_of(loaded.result)
    first = nodes.volumes[0] if nodes.volumes else None

    def add(node, part: str):
        connect(node, part, nodes.table, first, attributes, digest=loaded.digests.get(part))
        if part not in old:
            hierarchy.place(scene, node, parent)
        return node

    nodes.table = old.get("table") or tables.new_table_node(scene, f"{base} - Change")
    measured = [m for m in loaded.result.measurements if m.structure != "registration"]
    tables.fill_measurement_table(nodes.table, measured or loaded.result.measurements, _title)
    nodes.table.SetAttribute(RECORD, json.dumps(loaded.record))
    refer_to_inputs(nodes)
    add(nodes.table, "table")
    for n, matrix in loaded.transforms.items():
        part = f"transform_{n}"
        node = old.get(part) or _new(scene, "vtkMRMLLinearTransformNode",
                                     f"{nodes.volumes[n - 1].GetName()} - To common space")  # fmt: skip
        node.SetMatrixTransformToParent(matrix_of_array(matrix))
        nodes.transforms[n] = add(node, part)
    for (n, contrast), matrix in loaded.sessions.items():
        part = f"session_{n}_{contrast}"
        if (n, contrast) in nodes.further:
            name = f"{nodes.further[n, contrast].GetName()} - To common space"
            node = old.get(part) or _new(scene, "vtkMRMLLinearTransformNode", name)
            node.SetMatrixTransformToParent(matrix_of_array(matrix))
            nodes.sessions[n, contrast] = add(node, part)
    _write_maps(scene, base, loaded, nodes, old, add)
    _write_lines(scene, loaded, nodes, old, add)
    _write_timeline(scene, base, loaded, nodes, old, add)


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _new(scene, kind: str, name: str):
    return scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))


def _write_maps(scene, base, loaded, nodes, old, add) -> None:
    for part, image in loaded.maps.items():
        role, contrast, number = _role_of(part)
        title = _TITLES[role] + (f", {contrast}" if contrast else "")
        title += f" {number}" if len(loaded.record["timepoints"]) > 2 else ""
        node, data = old.get(part), loaded.data[part]
        if node is not None:
            volumes.set_image(node, image, data)
        else:
            node = volumes.new_volume_node(
                scene, f"{base} - {title}", image, window=loaded.windows[part], data=data)
            if role in _COLORED:
                color = colors.overlay_color_node(scene, _COLORED[role][0])
                node.GetDisplayNode().SetAndObserveColorNodeID(color.GetID())
                colors.add_legend(node.GetDisplayNode(), _COLORED[role][1])
        nodes.maps[part] = add(node, part)


def _role_of(part: str) -> tuple[str, str, str]:
    """Role, contrast ("" for that of the timepoints' own scans) and timepoint of a map."""
    name, _, number = part.rpartition("_")
    role = next(role for role in _TITLES if name == role or name.startswith(role + "_"))
    return role, name[len(role) + 1 :], number


def _write_lines(scene, loaded, nodes, old, add) -> None:
    """Diameters as lines that a person can move; those of lesions that are gone are removed."""
    for n, timepoint in enumerate(loaded.record["timepoints"], start=1):
        if n not in loaded.transforms and nodes.volumes:
            continue
        for lesion in timepoint["lesions"][:_MOST_LINES]:
            for which in ("longest", "perpendicular"):
                key = (n, lesion["label"], which)
                part = " ".join(map(str, key))
                name = f"{timepoint['label'].capitalize()} {lesion['label']} {which}"
                node = old.get(part) or _new(scene, "vtkMRMLMarkupsLineNode", name)
                node.RemoveAllControlPoints()
                for point in lesion[f"{which}_ends"]:
                    node.AddControlPoint(-point[0], -point[1], point[2])
                node.CreateDefaultDisplayNodes()
                display = node.GetDisplayNode()
                display.SetSelectedColor(*_COLORS[(n - 1) % len(_COLORS)])
                display.SetPropertiesLabelVisibility(which == "longest")
                display.SetTextScale(2.0)
                display.SetGlyphScale(1.2)
                node.SetAttribute(DIAMETER, part)
                nodes.lines[key] = add(node, part)
    for node in old.values():
        if node.IsA("vtkMRMLMarkupsLineNode") and node not in nodes.lines.values():
            hierarchy.forget(scene, node)
            scene.RemoveNode(node)


def _write_timeline(scene, base, loaded, nodes, old, add) -> None:
    """Volume over time: days where they are known, else the number of the timepoint."""
    timepoints = loaded.record["timepoints"]
    if "volume_mm3" not in timepoints[0]:
        return
    known = timepoints[0]["days"] is not None
    x = [float(one["days"]) if known else float(n) for n, one in enumerate(timepoints, start=1)]
    name = "Days" if known else "Timepoint"
    nodes.timeline = old.get("timeline") or tables.new_table_node(scene, f"{base} - Volume over time")
    tables.fill_table(
        nodes.timeline, {"Label": [one["label"] for one in timepoints]},
        {name: x, "Volume": [one["volume_mm3"] / 1000 for one in timepoints]},
        {name: ("day" if known else "", ""), "Volume": ("cm3", "voxels of the mask in its own grid")})  # fmt: skip
    add(nodes.timeline, "timeline")
    nodes.chart, nodes.series = old.get("chart"), old.get("series")
    if nodes.chart is None or nodes.series is None:
        nodes.chart, nodes.series = charts.new_bar_chart(
            scene, f"{base} - Volume over time", f"{base}: volume of the lesions", nodes.timeline, "Label", "Volume",
            "Volume (cm³)")  # fmt: skip
    nodes.series.SetPlotType(nodes.series.PlotTypeScatter)
    nodes.series.SetXColumnName(name)
    nodes.series.SetAndObserveTableNodeID(nodes.timeline.GetID())
    nodes.series.SetMarkerStyle(nodes.series.MarkerStyleCircle)
    nodes.chart.SetXAxisTitle("Days since the baseline" if known else "Timepoint")
    nodes.chart.SetXAxisTitleVisibility(True)
    add(nodes.series, "series")
    add(nodes.chart, "chart")
