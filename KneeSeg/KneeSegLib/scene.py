"""Knee results in the MRML scene: segmentation, bones with thickness colors, table, chart.

What is made of one job folder hangs together by node references: table, models and chart refer to the segmentation
that they describe, models to the table that measures them. That is how :func:`update_results` finds what to bring up
to date, also after the scene was saved and loaded again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk
import slicer

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.images.segmentation_files import read_segmentation
from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.meshes.polydata import get_point_data, read_vtp, set_point_data
from MRISegSuiteLib.scene import charts, colors, hierarchy, models, provenance, segmentations, tables, volumes
from MRISegSuiteLib.scene.change import SceneChange

from .layers import MOST_LAYERS, layer_structures
from .regions import TITLES as REGION_TITLES
from .scales import GREATEST_SHOWN_CHANGE_MM, LONGEST_SHOWN_MS, THICKEST_SHOWN_MM
from .structures import BY_NAME, INPUT_NAMES, STRUCTURES, words
from .subregions import SUBREGIONS

#: Point data of the bones' surfaces (see measure.KneeMeasurement).
THICKNESS, SUBCHONDRAL = "thickness_mm", "subchondral"
#: Point data of T2, and what is shown of it.
T2, SHOWN_T2 = "t2_ms", "t2_shown_ms"
CHANGE, SHOWN_CHANGE = "change_mm", "change_shown_mm"
#: Point data that is shown: thickness on the joint surface, something else elsewhere (see colors.shown_values).
SHOWN_THICKNESS = "thickness_shown_mm"
#: What the bones can be colored by: measure -> point data, end of its scale, name of its colors, title of its legend.
COLORINGS = {
    "thickness": (SHOWN_THICKNESS, THICKEST_SHOWN_MM, "Cartilage thickness (mm)", "Cartilage\nthickness\n(mm)"),
    "t2": (SHOWN_T2, LONGEST_SHOWN_MS, "T2 (ms)", "T2\n(ms)"),
    "change": (SHOWN_CHANGE, GREATEST_SHOWN_CHANGE_MM, "Change of thickness (mm)", "Change of\nthickness\n(mm)"),
}

_SHOWN = {array for array, *_ in COLORINGS.values()}

#: What a node is in a result, and the references that hold a result together.
_PART, _STRUCTURE = "MRISegSuite.Part", "MRISegSuite.Structure"
_TO_SEGMENTATION, _TO_TABLE, _TO_VOLUME = "MRISegSuiteSegmentation", "MRISegSuiteTable", "MRISegSuiteVolume"
_TO_ECHO, _T2_INPUTS = "MRISegSuiteEcho", "MRISegSuite.T2Inputs"
_CHART_LABEL = "Region"


@dataclass
class KneeNodes:
    """The nodes of one result; what a result lacks is None.

    Attributes:
        segmentation: vtkMRMLSegmentationNode; the one that was measured, if the run was given one.
        layers: vtkMRMLSegmentationNode of the depth layers of the cartilages, hidden.
        t2: vtkMRMLScalarVolumeNode, T2 in ms, 0 where there is none.
        models: bone -> vtkMRMLModelNode, colored by cartilage thickness.
        table: vtkMRMLTableNode, a row for each region.
        chart: vtkMRMLPlotChartNode, thickness by region.
        chartTable, series: what the chart draws.
        changeChart: vtkMRMLPlotChartNode, change of thickness since a baseline by region.
        side: "left", "right" or "unknown".
        warnings: sentences for the user.
        jobFolder: where the files are.
    """

    segmentation: object = None
    layers: object = None
    t2: object = None
    models: dict = field(default_factory=dict)
    table: object = None
    chart: object = None
    chartTable: object = None
    series: object = None
    changeChart: object = None
    side: str = "unknown"
    warnings: list = field(default_factory=list)
    jobFolder: Path | None = None


@dataclass
class _Loaded:
    """The files of a job folder, read before the scene is touched."""

    result: Result
    segmentation: tuple | None  # label image (LPS), {structure: value}
    truth: tuple | None  # the same for the known truth of a virtual knee
    layers: tuple | None  # the same for the depth layers
    t2: sitk.Image | None
    surfaces: dict  # structure -> vtkPolyData in the world, RAS, mm

    @property
    def bones(self) -> dict:
        return {name: mesh for name, mesh in self.surfaces.items() if mesh.GetPointData().HasArray(SHOWN_THICKNESS)}

    @property
    def side(self) -> str:
        return str(self.result.parameters.get("side_found") or self.result.parameters.get("side") or "unknown")


def add_results(scene, job_folder, volumeNode=None, segmentationNode=None) -> KneeNodes:
    """Load a finished job into the scene as new nodes, beside the volume.

    Args:
        scene: the vtkMRMLScene.
        job_folder: folder with result.json.
        volumeNode: the volume that the job worked on; without it results lie in world coordinates on their own.
        segmentationNode: the segmentation that the job measured, if it was given one; no other is made then.

    Raises:
        SuiteError: the job failed, or a file is missing or damaged. The scene is unchanged.
    """
    loaded = _load(job_folder)
    anchor = volumeNode or segmentationNode
    with SceneChange(scene, undo_like=anchor):
        nodes = KneeNodes(segmentation=segmentationNode)
        base = _base_name(anchor, job_folder)
        parent = hierarchy.parent_item(scene, anchor)
        if segmentationNode is None and loaded.segmentation is not None:
            nodes.segmentation = _new_segmentation(scene, base, loaded, volumeNode, parent)
            if loaded.truth is not None:
                _new_truth(scene, base, loaded, volumeNode, parent)
        _write_parts(scene, base, loaded, nodes, volumeNode, parent, {})
        return _finished(nodes, loaded, job_folder)


def update_results(scene, job_folder, volumeNode, segmentationNode) -> KneeNodes:
    """Bring the table, models and chart that belong to a segmentation up to date with a finished job.

    Those that a person edited or removed are replaced by new ones. The segmentation stays as it is, but its segments
    that were edited are no longer called automatic (see ``segmentations.mark_edited_segments``).
    Arguments, raises: see :func:`add_results`.
    """
    loaded = _load(job_folder)
    old = _parts_of(scene, segmentationNode)
    keep = {key: node for key, node in old.items() if not (_is_sealed(node) and provenance.was_edited(node))}
    with SceneChange(scene, changed=keep.values(), undo_like=volumeNode or segmentationNode):
        nodes = KneeNodes(segmentation=segmentationNode)
        base = _base_name(volumeNode or segmentationNode, job_folder)
        parent = hierarchy.parent_item(scene, volumeNode or segmentationNode)
        _write_parts(scene, base, loaded, nodes, volumeNode, parent, keep)
        segmentations.mark_edited_segments(segmentationNode)
        return _finished(nodes, loaded, job_folder)


def colorings_of(nodes: KneeNodes) -> list[str]:
    """Which of ``COLORINGS`` the bones of a result have."""
    meshes = [node.GetPolyData().GetPointData() for node in nodes.models.values() if node.GetPolyData() is not None]
    return [name for name, (array, *_) in COLORINGS.items() if any(data.HasArray(array) for data in meshes)]


def coloring_of(nodes: KneeNodes) -> str:
    """Which of ``COLORINGS`` the bones show now; empty when they show something else."""
    shown = {node.GetDisplayNode().GetActiveScalarName() for node in nodes.models.values() if node.GetDisplayNode()}
    return next((name for name, (array, *_) in COLORINGS.items() if array in shown), "")


def color_bones_by(scene, nodes: KneeNodes, coloring: str) -> None:
    """Show thickness, T2 or change on the bones, and its legend; see :func:`colorings_of` for what there is."""
    array, highest, name, title = COLORINGS[coloring]
    make = colors.change_color_node if coloring == "change" else colors.measure_color_node
    lowest = -highest if coloring == "change" else 0.0
    for node in nodes.models.values():
        if not node.GetPolyData().GetPointData().HasArray(array):
            continue
        models.show_scalars(node, array, make(scene, name), highest, lowest)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        if legend is not None:
            legend.SetTitleText(title)


def volume_of(segmentationNode):
    """The volume that a segmentation was made on (its reference geometry), or None."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return segmentationNode.GetNodeReference(role)


def remember_t2_inputs(segmentationNode, layers: int | None, echoNodes, t2: dict) -> None:
    """Keep on the segmentation what T2 and layers were measured from, for :func:`t2_inputs_of`."""
    if segmentationNode is None:
        return
    segmentationNode.RemoveNodeReferenceIDs(_TO_ECHO)
    for node in echoNodes:
        segmentationNode.AddNodeReferenceID(_TO_ECHO, node.GetID())
    record = {"layers": layers, "t2": t2} if layers or t2 else None
    segmentationNode.SetAttribute(_T2_INPUTS, json.dumps(record) if record else None)


def t2_inputs_of(segmentationNode) -> tuple[int | None, list, dict]:
    """Number of layers, echo volumes and T2 parameters of the last run (also after the scene was loaded again)."""
    count = segmentationNode.GetNumberOfNodeReferences(_TO_ECHO)
    echoes = [segmentationNode.GetNthNodeReference(_TO_ECHO, n) for n in range(count)]
    record = json.loads(segmentationNode.GetAttribute(_T2_INPUTS) or "{}")
    return record.get("layers"), [] if None in echoes else echoes, record.get("t2", {})


def nodes_of(scene, segmentationNode) -> KneeNodes | None:
    """The nodes that describe a segmentation (also after the scene was loaded again), or None when nothing does."""
    parts = _parts_of(scene, segmentationNode)
    if not parts:
        return None
    return KneeNodes(
        segmentation=segmentationNode,
        layers=parts.get(("layers", "")),
        t2=parts.get(("t2", "")),
        models={structure: node for (part, structure), node in parts.items() if part == "model"},
        table=parts.get(("table", "")),
        chart=parts.get(("chart", "")),
        chartTable=parts.get(("chart_table", "")),
        series=parts.get(("series", "")),
        changeChart=parts.get(("change_chart", "")),
    )


# -- reading

def _load(job_folder) -> _Loaded:
    folder = Path(job_folder)
    result = Result.read(folder)
    if result.failure() is not None:
        raise result.failure()
    labels = {
        role: read_segmentation(folder / result.files[role], accepted=INPUT_NAMES)
        for role in ("segmentation", "truth") if role in result.files
    }
    surfaces = {}
    for role, name in result.files.items():
        if role.startswith("surface_"):
            try:
                mesh = models.to_world_ras(read_vtp(folder / name))
            except OSError as exception:
                raise BadInput(str(exception), "Run the job again.") from exception
            _add_shown(mesh)
            surfaces[role[len("surface_"):]] = mesh
    layers = read_segmentation(folder / result.files["layers"]) if "layers" in result.files else None
    t2 = read_image_file(folder / result.files["t2"]) if "t2" in result.files else None
    return _Loaded(result, labels.get("segmentation"), labels.get("truth"), layers, t2, surfaces)


def _add_shown(mesh) -> None:
    """Point data for showing: with values that the color node knows for "not measured" and "zero"."""
    data = mesh.GetPointData()
    if data.HasArray(T2):
        t2 = get_point_data(mesh, T2)
        set_point_data(mesh, SHOWN_T2, colors.shown_values(t2, t2 > 0, LONGEST_SHOWN_MS))
    if data.HasArray(CHANGE):
        change, compared = get_point_data(mesh, CHANGE), get_point_data(mesh, "compared") > 0
        set_point_data(mesh, SHOWN_CHANGE, colors.shown_changes(change, compared, GREATEST_SHOWN_CHANGE_MM))
    if data.HasArray(THICKNESS) and data.HasArray(SUBCHONDRAL):
        thickness, joint = get_point_data(mesh, THICKNESS), get_point_data(mesh, SUBCHONDRAL) > 0
        set_point_data(mesh, SHOWN_THICKNESS, colors.shown_values(thickness, joint, THICKEST_SHOWN_MM))


# -- writing

def _new_segmentation(scene, base, loaded: _Loaded, volumeNode, parent):
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


def _new_truth(scene, base, loaded: _Loaded, volumeNode, parent):
    """The truth of a virtual knee, hidden: to be compared with what was found."""
    node = segmentations.new_segmentation_node(
        scene, f"{base} - True segmentation", *loaded.truth, _looks(loaded.side), volumeNode,
        algorithm="MRI Seg Suite virtual knee")
    node.GetDisplayNode().SetVisibility(False)
    provenance.mark(node, provenance.provenance_of(loaded.result))
    hierarchy.place(scene, node, parent)


def _looks(side: str, structures=STRUCTURES) -> list:
    side = side if side in ("left", "right") else None
    return [
        segmentations.SegmentLook(s.name, s.title, s.color, terminology_entry(s.category, s.code, s.region, side))
        for s in structures
    ]


def _write_parts(scene, base, loaded: _Loaded, nodes: KneeNodes, volumeNode, parent, old) -> None:
    attributes = provenance.provenance_of(loaded.result)
    nodes.table = old.get(("table", "")) or tables.new_table_node(scene, f"{base} - Knee measurements")
    tables.fill_measurement_table(nodes.table, loaded.result.measurements, _title)
    _connect(nodes.table, "table", "", nodes, volumeNode, attributes)
    if ("table", "") not in old:
        hierarchy.place(scene, nodes.table, parent)
    _write_charts(scene, base, loaded, nodes, volumeNode, parent, old, attributes)
    _write_models(scene, base, loaded, nodes, volumeNode, parent, old, attributes)
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
    _connect(table, names[0], "", nodes, volumeNode, attributes)
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
            _connect(node, name, "", nodes, volumeNode, attributes)
    return table, chart, series


def _write_models(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    placed_like = volumeNode or nodes.segmentation
    fresh = []
    for name, mesh in loaded.bones.items():
        node = old.get(("model", name))
        if node is None:
            node = models.new_model_node(
                scene, f"{base} - {_title(name)} with cartilage thickness", mesh, BY_NAME[name].color, placed_like)
            fresh.append(node)
        else:
            models.update_model_node(node, mesh)
        shown = node.GetDisplayNode().GetActiveScalarName() if node.GetDisplayNode() else ""
        if node in fresh or (shown in _SHOWN and not mesh.GetPointData().HasArray(shown)):
            # T2 or change that was shown may no longer be part of the result.
            array, highest, colors_name, _ = COLORINGS["thickness"]
            models.show_scalars(node, array, colors.measure_color_node(scene, colors_name), highest)
        _connect(node, "model", name, nodes, volumeNode, attributes)
        nodes.models[name] = node
    for (part, name), node in old.items():
        if part == "model" and name not in loaded.bones:
            # What it shows is no longer in the segmentation. Hidden, not removed: removing is the user's to do.
            node.SetDisplayVisibility(False)
            node.RemoveNodeReferenceIDs(_TO_TABLE)
            nodes.warnings.append(f"The surface of the {name} is no longer part of the result; it was hidden.")
    if fresh:
        held = [hierarchy.parent_item(scene, node) for node in nodes.models.values() if node not in fresh]
        folder = held[0] if held else hierarchy.new_folder(scene, f"{base} - Knee surfaces", parent)
        for node in fresh:
            hierarchy.place(scene, node, folder)
        if not held:
            # One legend for all bones: they share the colors and the range.
            colors.add_legend(fresh[0].GetDisplayNode(), COLORINGS["thickness"][3])


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
        algorithm="MRI Seg Suite")
    node.GetDisplayNode().SetVisibility(False)
    nodes.layers = _placed(scene, node, former, "layers", nodes, volumeNode, parent, attributes)


def _write_t2(scene, base, loaded, nodes, volumeNode, parent, old, attributes) -> None:
    nodes.t2 = old.get(("t2", ""))
    if loaded.t2 is None:
        return
    node = volumes.new_volume_node(scene, f"{base} - T2 map", loaded.t2)
    if volumeNode is not None:
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    volumes.show_measure(node, colors.measure_color_node(scene, "T2 (ms)"), LONGEST_SHOWN_MS)
    nodes.t2 = _placed(scene, node, nodes.t2, "t2", nodes, volumeNode, parent, attributes)


def _placed(scene, fresh, former, part, nodes: KneeNodes, volumeNode, parent, attributes):
    """The new node in its place in the hierarchy, or its content in the node that was there before."""
    if former is None:
        _connect(fresh, part, "", nodes, volumeNode, attributes)
        hierarchy.place(scene, fresh, parent)
        return fresh
    former.CopyContent(fresh)
    hierarchy.forget(scene, fresh)
    scene.RemoveNode(fresh.GetDisplayNode())
    scene.RemoveNode(fresh)
    _connect(former, part, "", nodes, volumeNode, attributes)
    return former


def _connect(node, part, structure, nodes: KneeNodes, volumeNode, attributes) -> None:
    provenance.mark(node, attributes)
    node.SetAttribute(_PART, part)
    if structure:
        node.SetAttribute(_STRUCTURE, structure)
    if nodes.segmentation is not None:
        node.SetNodeReferenceID(_TO_SEGMENTATION, nodes.segmentation.GetID())
    if volumeNode is not None:
        node.SetNodeReferenceID(_TO_VOLUME, volumeNode.GetID())
    if part != "table":
        node.SetNodeReferenceID(_TO_TABLE, nodes.table.GetID())
    if _is_sealed(node):
        provenance.seal(node)


def _finished(nodes: KneeNodes, loaded: _Loaded, job_folder) -> KneeNodes:
    nodes.side = loaded.side
    nodes.warnings = list(loaded.result.warnings) + nodes.warnings
    nodes.jobFolder = Path(job_folder)
    return nodes


# -- finding and naming

def _parts_of(scene, segmentationNode) -> dict:
    """(part, structure) -> the latest node of that kind that describes the segmentation."""
    parts = {}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.GetAttribute(_PART) and node.GetNodeReference(_TO_SEGMENTATION) is segmentationNode:
            parts[(node.GetAttribute(_PART), node.GetAttribute(_STRUCTURE) or "")] = node
    return parts


def _is_sealed(node) -> bool:
    """Nodes whose content a person may edit."""
    return any(node.IsA(kind) for kind in ("vtkMRMLTableNode", "vtkMRMLModelNode", "vtkMRMLVolumeNode"))


def _base_name(anchor, job_folder) -> str:
    return anchor.GetName() if anchor is not None else Path(job_folder).resolve().name


def _title(name: str) -> str:
    """What a person reads for a structure or region; subregions have names of their own (ccMFC)."""
    if name in BY_NAME:
        return BY_NAME[name].title
    if name in SUBREGIONS.values():
        return name
    title = REGION_TITLES.get(name, words(name))
    return title[0].upper() + title[1:]


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
            bone = _title(m.structure).removesuffix(" cartilage")
            rows[f"{bone}: {REGION_TITLES.get(m.region, words(m.region))}"] = m.value
        elif m.structure not in with_regions:
            rows[_title(m.structure).removesuffix(" cartilage")] = m.value
    return rows
