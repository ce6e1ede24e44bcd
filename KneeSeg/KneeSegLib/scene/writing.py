"""Writing the parts of a knee result as nodes: new ones, or into those that were there before."""

from __future__ import annotations

import math
from dataclasses import dataclass

from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.scene import charts, colors, hierarchy, models, provenance, segmentations, tables, volumes

from ..layers import MOST_LAYERS, layer_structures
from ..regions import TITLES as REGION_TITLES
from ..scales import LONGEST_SHOWN_MS
from ..structures import BY_NAME, STRUCTURES, words
from ..subregions import SUBREGIONS
from .coloring import COLORINGS, SHOWN
from .loading import LoadedJob
from .nodes import SHAPE_RECORD, TO_TABLE, KneeNodes, connect, title

_CHART_LABEL = "Region"


def new_segmentation(scene, base, loaded: LoadedJob, volumeNode, parent):
    model = loaded.result.model or {}
    algorithm = " ".join(["MRI Seg Suite", *(str(model[key]) for key in ("id", "version") if model.get(key))])
    node = segmentations.new_segmentation_node(
        scene, f"{base} - Knee segmentation", *loaded.segmentation, _looks(loaded.side), volumeNode, loaded.surfaces,
        algorithm, "AUTOMATIC" if model else "SEMIAUTOMATIC")  # without a model it was given, and at most split
    # The bones with thickness are shown in 3D; the same surfaces twice would flicker.
    node.GetDisplayNode().SetVisibility3D(not loaded.bones)
    provenance.mark(node, provenance.provenance_of(loaded.result))
    hierarchy.place(scene, node, parent)
    return node


def new_truth(scene, base, loaded: LoadedJob, volumeNode, parent):
    """The truth of a virtual knee, hidden: to be compared with what was found."""
    node = segmentations.new_segmentation_node(
        scene, f"{base} - True segmentation", *loaded.truth, _looks(loaded.side), volumeNode,
        algorithm="MRI Seg Suite virtual knee", closed_surfaces=False)
    node.GetDisplayNode().SetVisibility(False)
    provenance.mark(node, provenance.provenance_of(loaded.result))
    hierarchy.place(scene, node, parent)


def _looks(side: str, structures=STRUCTURES) -> list:
    side = side if side in ("left", "right") else None
    return [
        segmentations.SegmentLook(s.name, s.title, s.color, terminology_entry(s.category, s.code, s.region, side))
        for s in structures
    ]


def write_parts(scene, base, loaded: LoadedJob, nodes: KneeNodes, volumeNode, parent, old) -> None:
    attributes = provenance.provenance_of(loaded.result)
    nodes.table = old.get(("table", "")) or tables.new_table_node(scene, f"{base} - Knee measurements")
    tables.fill_measurement_table(nodes.table, loaded.result.measurements, title)
    connect(nodes.table, "table", "", nodes, volumeNode, attributes)
    if ("table", "") not in old:
        hierarchy.place(scene, nodes.table, parent)
    _write_charts(scene, base, loaded, nodes, volumeNode, parent, old, attributes)
    _write_models(scene, base, loaded, nodes, volumeNode, parent, old, attributes)
    _write_shapes(scene, base, loaded, nodes, volumeNode, parent, old, attributes)
    _write_layers(scene, base, loaded, nodes, volumeNode, parent, old, attributes)
    _write_t2(scene, base, loaded, nodes, volumeNode, parent, old, attributes)


def _write_charts(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    nodes.chartTable, nodes.chart, nodes.series = _write_chart(
        scene, _Chart("", "ThCtAB", "Cartilage thickness", "Mean thickness over the subchondral bone (mm)"),
        base, loaded, nodes, volumeNode, parent, old, attributes)
    _, nodes.changeChart, _ = _write_chart(
        scene, _Chart("change_", "ThCtAB_change", "Change of thickness", "Follow-up minus baseline (mm)"),
        base, loaded, nodes, volumeNode, parent, old, attributes)


@dataclass(frozen=True)
class _Chart:
    """A bar chart of one measure by region: prefix of its parts' names, measure, title, axis."""

    prefix: str
    measure: str
    title: str
    axis: str


def _write_chart(scene, what: _Chart, base, loaded, nodes, volumeNode, parent, old, attributes):
    """Table, chart and series; None each where there is nothing to draw."""
    names = [what.prefix + part for part in ("chart_table", "chart", "series")]
    table, chart, series = (old.get((name, "")) for name in names)
    rows = _chart_rows(loaded.result.measurements, what.measure)
    if not rows and table is None:
        return None, chart, series
    if table is None:
        table = tables.new_table_node(scene, f"{base} - {what.title} by region")
        hierarchy.place(scene, table, parent)
    method = next((m.method for m in loaded.result.measurements if m.name == what.measure), "")
    tables.fill_table(table, {_CHART_LABEL: list(rows)}, {what.measure: list(rows.values())},
                      {what.measure: ("mm", method)})
    connect(table, names[0], "", nodes, volumeNode, attributes)
    if chart is None:
        chart, series = charts.new_bar_chart(
            scene, f"{base} - {what.title}", f"{base}: {what.title.lower()} ({what.measure})", table,
            _CHART_LABEL, what.measure, what.axis)
        hierarchy.place(scene, series, parent)
        hierarchy.place(scene, chart, parent)
    else:
        series = chart.GetNthPlotSeriesNode(0)
        if series is not None:
            series.SetAndObserveTableNodeID(table.GetID())
    for name, node in zip(names[1:], (chart, series), strict=True):
        if node is not None:
            connect(node, name, "", nodes, volumeNode, attributes)
    return table, chart, series


def _write_models(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    placed_like = volumeNode or nodes.segmentation
    fresh = []
    for name, mesh in loaded.bones.items():
        node = old.get(("model", name))
        if node is None:
            node = models.new_model_node(
                scene, f"{base} - {title(name)} with cartilage thickness", mesh, BY_NAME[name].color, placed_like)
            fresh.append(node)
        else:
            models.update_model_node(node, mesh)
        shown = node.GetDisplayNode().GetActiveScalarName() if node.GetDisplayNode() else ""
        if node in fresh or (shown in SHOWN and not mesh.GetPointData().HasArray(shown)):
            # T2 or change that was shown may no longer be part of the result.
            array, highest, colors_name, _ = COLORINGS["thickness"]
            models.show_scalars(node, array, colors.measure_color_node(scene, colors_name), highest)
        connect(node, "model", name, nodes, volumeNode, attributes)
        nodes.models[name] = node
    for (part, name), node in old.items():
        if part == "model" and name not in loaded.bones:
            # What it shows is no longer in the segmentation. Hidden, not removed: removing is the user's to do.
            node.SetDisplayVisibility(False)
            node.RemoveNodeReferenceIDs(TO_TABLE)
            nodes.warnings.append(f"The surface of the {name} is no longer part of the result; it was hidden.")
    if fresh:
        held = [hierarchy.parent_item(scene, node) for node in nodes.models.values() if node not in fresh]
        folder = held[0] if held else hierarchy.new_folder(scene, f"{base} - Knee surfaces", parent)
        for node in fresh:
            hierarchy.place(scene, node, folder)
        if not held:
            # One legend for all bones: they share the colors and the range.
            colors.add_legend(fresh[0].GetDisplayNode(), COLORINGS["thickness"][3])


def _write_shapes(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    """What a shape model makes of a bone, hidden, beside the bones; one that is no longer there is hidden."""
    for name, mesh in loaded.shapes.items():
        node = old.get(("shape", name))
        if node is None:
            bone = name.partition("_")[0]
            placed_like = volumeNode or nodes.segmentation
            node = models.new_model_node(
                scene, f"{base} - Shape model: {words(name)}", mesh, BY_NAME[bone].color, placed_like)
            node.SetDisplayVisibility(False)
            hierarchy.place(scene, node, parent)
        else:
            models.update_model_node(node, mesh)
        node.SetAttribute(SHAPE_RECORD, loaded.shape)
        connect(node, "shape", name, nodes, volumeNode, attributes)
        nodes.shapes[name] = node
    for (part, name), node in old.items():
        if part == "shape" and name not in loaded.shapes:
            node.SetDisplayVisibility(False)


def _write_layers(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    """The depth layers as a segmentation of their own, hidden; layers that a person edited are left alone."""
    former = old.get(("layers", ""))
    if former is not None and segmentations.mark_edited_segments(former):
        former = None
    if loaded.layers is None:
        return
    labels, names = loaded.layers
    known = next(s for s in map(layer_structures, range(2, MOST_LAYERS + 1)) if set(names) <= {one.name for one in s})
    node = segmentations.new_segmentation_node(
        scene, f"{base} - Cartilage layers", labels, names, _looks(loaded.side, known), volumeNode,
        algorithm="MRI Seg Suite", closed_surfaces=False)
    node.GetDisplayNode().SetVisibility(False)
    nodes.layers = _placed(scene, node, former, "layers", nodes, volumeNode, parent, attributes)


def _write_t2(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    nodes.t2 = old.get(("t2", ""))
    if loaded.t2 is None:
        return
    node = volumes.new_volume_node(scene, f"{base} - T2 map", loaded.t2, window=(0.0, LONGEST_SHOWN_MS))
    volumes.follow_volume(node, volumeNode)
    volumes.show_measure(node, colors.measure_color_node(scene, "T2 (ms)"), LONGEST_SHOWN_MS)
    nodes.t2 = _placed(scene, node, nodes.t2, "t2", nodes, volumeNode, parent, attributes, loaded.t2_digest)


def _placed(scene, fresh, former, part, nodes: KneeNodes, volumeNode, parent, attributes, digest=None):
    """The new node in its place in the hierarchy, or its content in the node that was there before."""
    if former is None:
        connect(fresh, part, "", nodes, volumeNode, attributes, digest)
        hierarchy.place(scene, fresh, parent)
        return fresh
    former.CopyContent(fresh)
    hierarchy.forget(scene, fresh)
    scene.RemoveNode(fresh.GetDisplayNode())
    scene.RemoveNode(fresh)
    connect(former, part, "", nodes, volumeNode, attributes, digest)
    return former


def _chart_rows(measurements, measure: str) -> dict[str, float]:
    """Bar label -> value; the femur is shown by its regions. Subregions are in the table only."""
    means = [
        m
        for m in measurements
        if m.name == measure and math.isfinite(m.value) and m.region not in SUBREGIONS.values()
    ]
    with_regions = {m.structure for m in means if m.region != "whole"}
    rows = {}
    for m in means:
        if m.region != "whole":
            bone = title(m.structure).removesuffix(" cartilage")
            rows[f"{bone}: {REGION_TITLES.get(m.region, words(m.region))}"] = m.value
        elif m.structure not in with_regions:
            rows[title(m.structure).removesuffix(" cartilage")] = m.value
    return rows
