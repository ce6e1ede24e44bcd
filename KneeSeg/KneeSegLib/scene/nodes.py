"""The nodes of one knee result, and how they are found again.

What is made of one job folder hangs together by node references: table, models and chart refer to the segmentation
that they describe, models to the table that measures them. They are kept when the scene is saved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import slicer

from MRISegSuiteLib.scene import provenance

from ..regions import TITLES as REGION_TITLES
from ..structures import BY_NAME, words
from ..subregions import SUBREGIONS

#: What a node is in a result, and the references that hold a result together.
PART, STRUCTURE = "MRISegSuite.Part", "MRISegSuite.Structure"
_TO_SEGMENTATION, TO_TABLE, _TO_VOLUME = "MRISegSuiteSegmentation", "MRISegSuiteTable", "MRISegSuiteVolume"
#: The record of a shape fit (shape.json) on the models that it made.
SHAPE_RECORD = "MRISegSuite.Shape"
_TO_ECHO, _TO_BASELINE, _INPUTS = "MRISegSuiteEcho", "MRISegSuiteBaseline", "MRISegSuite.Inputs"


@dataclass
class KneeNodes:
    """The nodes of one result; what a result lacks is None.

    Attributes:
        segmentation: vtkMRMLSegmentationNode; the one that was measured, if the run was given one.
        layers: vtkMRMLSegmentationNode of the depth layers of the cartilages, hidden.
        t2: vtkMRMLScalarVolumeNode, T2 in ms, 0 where there is none.
        models: bone -> vtkMRMLModelNode, colored by cartilage thickness.
        shapes: name -> vtkMRMLModelNode, what a shape model makes of a bone (and of its joint surface), hidden.
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
    shapes: dict = field(default_factory=dict)
    table: object = None
    chart: object = None
    chartTable: object = None
    series: object = None
    changeChart: object = None
    side: str = "unknown"
    warnings: list = field(default_factory=list)
    jobFolder: Path | None = None


def volume_of(segmentationNode):
    """The volume that a segmentation was made on (its reference geometry), or None."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return segmentationNode.GetNodeReference(role)


def remember_inputs(segmentationNode, echoNodes=(), baselineNode=None, **settings) -> None:
    """Keep on the segmentation what else was measured and from what, for :func:`inputs_of`.

    Args:
        segmentationNode: of the result.
        echoNodes: volumes of the single echoes, or their sequence. baselineNode: segmentation of an earlier time.
        settings: what JSON can hold.
    """
    if segmentationNode is None:
        return
    segmentationNode.RemoveNodeReferenceIDs(_TO_ECHO)
    for node in echoNodes:
        segmentationNode.AddNodeReferenceID(_TO_ECHO, node.GetID())
    segmentationNode.SetNodeReferenceID(_TO_BASELINE, baselineNode.GetID() if baselineNode is not None else None)
    kept = {name: value for name, value in settings.items() if value}
    segmentationNode.SetAttribute(_INPUTS, json.dumps(kept) if kept else None)


def inputs_of(segmentationNode) -> dict:
    """What :func:`remember_inputs` was given, as its keyword arguments (also after the scene was loaded again)."""
    count = segmentationNode.GetNumberOfNodeReferences(_TO_ECHO)
    echoes = [segmentationNode.GetNthNodeReference(_TO_ECHO, n) for n in range(count)]
    return {
        "echoNodes": [] if None in echoes else echoes,
        "baselineNode": segmentationNode.GetNodeReference(_TO_BASELINE),
        **json.loads(segmentationNode.GetAttribute(_INPUTS) or "{}"),
    }


def nodes_of(scene, segmentationNode) -> KneeNodes | None:
    """The nodes that describe a segmentation (also after the scene was loaded again), or None when nothing does."""
    parts = parts_of(scene, segmentationNode)
    if not parts:
        return None
    return KneeNodes(
        segmentation=segmentationNode,
        layers=parts.get(("layers", "")),
        t2=parts.get(("t2", "")),
        models={structure: node for (part, structure), node in parts.items() if part == "model"},
        shapes={structure: node for (part, structure), node in parts.items() if part == "shape"},
        table=parts.get(("table", "")),
        chart=parts.get(("chart", "")),
        chartTable=parts.get(("chart_table", "")),
        series=parts.get(("series", "")),
        changeChart=parts.get(("change_chart", "")),
    )


def connect(node, part, structure, nodes: KneeNodes, volumeNode, attributes, digest=None) -> None:
    """``digest``: see ``provenance.seal``."""
    provenance.mark(node, attributes)
    node.SetAttribute(PART, part)
    if structure:
        node.SetAttribute(STRUCTURE, structure)
    if nodes.segmentation is not None:
        node.SetNodeReferenceID(_TO_SEGMENTATION, nodes.segmentation.GetID())
    if volumeNode is not None:
        node.SetNodeReferenceID(_TO_VOLUME, volumeNode.GetID())
    if part != "table":
        node.SetNodeReferenceID(TO_TABLE, nodes.table.GetID())
    if is_sealed(node):
        provenance.seal(node, digest)


def parts_of(scene, segmentationNode) -> dict:
    """(part, structure) -> the latest node of that kind that describes the segmentation."""
    parts = {}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.GetAttribute(PART) and node.GetNodeReference(_TO_SEGMENTATION) is segmentationNode:
            parts[(node.GetAttribute(PART), node.GetAttribute(STRUCTURE) or "")] = node
    return parts


def is_alive(scene, node) -> bool:
    """Whether a node is (still) in the scene."""
    return node is not None and bool(scene.IsNodePresent(node))


def is_sealed(node) -> bool:
    """Nodes whose content a person may edit."""
    return any(node.IsA(kind) for kind in ("vtkMRMLTableNode", "vtkMRMLModelNode", "vtkMRMLVolumeNode"))


def base_name(anchor, job_folder) -> str:
    return anchor.GetName() if anchor is not None else Path(job_folder).resolve().name


def title(name: str) -> str:
    """What a person reads for a structure or region; subregions have names of their own (ccMFC)."""
    if name in BY_NAME:
        return BY_NAME[name].title
    if name in SUBREGIONS.values():
        return name
    title = REGION_TITLES.get(name, words(name))
    return title[0].upper() + title[1:]
