"""The nodes of one comparison, and how they are found again: every part refers to the table of the result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from MRISegSuiteLib.scene.parts import parts_of

RECORD, INPUTS = "MRISegSuite.Comparison", "MRISegSuite.CompareInputs"
#: Corrections of which lesion is which, made since the result was measured or before.
CORRECTIONS = "MRISegSuite.LinkCorrections"
#: Attribute of a diameter line: "timepoint lesion longest|perpendicular".
DIAMETER = "MRISegSuite.Diameter"
_TO_VOLUME, _TO_MASK, _TO_FURTHER = "MRISegSuiteTimepoint", "MRISegSuiteTimepointMask", "MRISegSuiteContrast"


@dataclass
class CompareNodes:
    """The nodes of one result; what a result lacks is None or not in its dictionary. Timepoints count from 1.

    Attributes:
        volumes, masks: the scans and segmentations (vtkMRMLSegmentationNode) that were compared, in order of time.
        further: (timepoint, contrast) -> volume of another contrast of that session.
        masksOf: for each mask the contrast that it was drawn on; "" for that of ``volumes``. May be empty: all "".
        table: vtkMRMLTableNode, all measurements; the other parts refer to it.
        transforms: timepoint -> vtkMRMLLinearTransformNode from the scan to the common space; no transform where the
            registration failed.
        sessions: (timepoint, contrast) -> the same for another contrast, where it was registered within its session.
        maps: "subtraction_2", "intensity_change_2", "checkerboard_2", "jacobian_2" … ->
            vtkMRMLScalarVolumeNode, common space.
        lines: (timepoint, lesion, "longest" or "perpendicular") -> vtkMRMLMarkupsLineNode.
        timeline, chart, series: table, vtkMRMLPlotChartNode and vtkMRMLPlotSeriesNode of volumes over time.
        warnings: sentences for the user. jobFolder: where the files are.
    """

    volumes: list = field(default_factory=list)
    masks: list = field(default_factory=list)
    further: dict = field(default_factory=dict)
    masksOf: list = field(default_factory=list)
    table: object = None
    transforms: dict = field(default_factory=dict)
    sessions: dict = field(default_factory=dict)
    maps: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)
    timeline: object = None
    chart: object = None
    series: object = None
    warnings: list = field(default_factory=list)
    jobFolder: Path | None = None

    def parts(self) -> dict:
        """Name of the part -> node, as they are found again."""
        found = {"table": self.table, "timeline": self.timeline, "chart": self.chart, "series": self.series}
        found |= {f"transform_{n}": node for n, node in self.transforms.items()}
        found |= {f"session_{n}_{contrast}": node for (n, contrast), node in self.sessions.items()}
        found |= dict(self.maps)
        found |= {" ".join(map(str, key)): node for key, node in self.lines.items()}
        return {name: node for name, node in found.items() if node is not None}


def nodes_of(scene, tableNode) -> CompareNodes | None:
    """The nodes of the result whose table this is (also after the scene was loaded again); None for other tables."""
    if tableNode is None or tableNode.GetAttribute(RECORD) is None:
        return None
    nodes = CompareNodes(table=tableNode)
    for role, found in ((_TO_VOLUME, nodes.volumes), (_TO_MASK, nodes.masks)):
        for n in range(tableNode.GetNumberOfNodeReferences(role)):
            node = tableNode.GetNthNodeReference(role, n)
            if node is not None:
                found.append(node)
    given = inputs_of(nodes)
    nodes.masksOf = given.get("masksOf", [])
    for n, names in enumerate(given.get("contrasts", []), start=1):
        for contrast in names[1:]:
            node = tableNode.GetNodeReference(f"{_TO_FURTHER}{n}_{contrast}")
            if node is not None:
                nodes.further[n, contrast] = node
    for name, node in parts_of(scene, tableNode).items():
        if name.startswith("session_"):
            _, n, contrast = name.split("_", 2)
            nodes.sessions[int(n), contrast] = node
        elif name.startswith("transform_"):
            nodes.transforms[int(name.rpartition("_")[2])] = node
        elif name in ("timeline", "chart", "series"):
            setattr(nodes, name, node)
        elif node.GetAttribute(DIAMETER):
            timepoint, lesion, which = node.GetAttribute(DIAMETER).split()
            nodes.lines[(int(timepoint), int(lesion), which)] = node
        elif node.IsA("vtkMRMLVolumeNode"):
            nodes.maps[name] = node
    return nodes


def refer_to_inputs(nodes: CompareNodes) -> None:
    """Keep on the table which scans and masks the result is of."""
    for role, inputs in ((_TO_VOLUME, nodes.volumes), (_TO_MASK, nodes.masks)):
        nodes.table.RemoveNodeReferenceIDs(role)
        for node in inputs:
            nodes.table.AddNodeReferenceID(role, node.GetID())
    for (n, contrast), node in nodes.further.items():
        nodes.table.SetNodeReferenceID(f"{_TO_FURTHER}{n}_{contrast}", node.GetID())


def record_of(nodes: CompareNodes) -> dict:
    """The lesions over time, gate and categories: see ``results.lesion_record``."""
    return json.loads(nodes.table.GetAttribute(RECORD))


def remember_inputs(nodes: CompareNodes, **settings) -> None:
    """Keep on the table how the result was asked for (what JSON can hold), for :func:`inputs_of`."""
    nodes.table.SetAttribute(INPUTS, json.dumps({name: value for name, value in settings.items() if value}))


def inputs_of(nodes: CompareNodes) -> dict:
    """What :func:`remember_inputs` was given."""
    return json.loads(nodes.table.GetAttribute(INPUTS) or "{}")


def corrections_of(nodes: CompareNodes) -> list[dict]:
    """A person's corrections of which lesion is which, in order: list of {text, links}.

    They stay with the result, are saved with it, and are what it is measured again with.
    """
    return json.loads(nodes.table.GetAttribute(CORRECTIONS) or "[]")


def set_corrections(nodes: CompareNodes, corrections: list[dict]) -> None:
    """Replace the corrections of :func:`corrections_of`; the result has to be measured again."""
    nodes.table.SetAttribute(CORRECTIONS, json.dumps(corrections) if corrections else None)


def links_of(nodes: CompareNodes) -> list[dict]:
    """All links of the corrections, as a job takes them."""
    return [link for one in corrections_of(nodes) for link in one["links"]]


def are_links_measured(nodes: CompareNodes) -> bool:
    """False while there are corrections that the numbers do not know of."""
    return links_of(nodes) == inputs_of(nodes).get("links", [])


def align(nodes: CompareNodes, aligned: bool) -> None:
    """Show scans, masks and diameters in the common space, or where they were scanned.

    Only the parent transform changes. A node that a person has put under another transform is left where it is.
    """
    ours = _our_transforms(nodes)
    for n, transform in nodes.transforms.items():
        members = [(volume, transform) for volume in nodes.volumes[n - 1 : n]]
        of = nodes.masksOf[n - 1] if len(nodes.masksOf) >= n else ""
        members += [(mask, nodes.sessions.get((n, of), transform)) for mask in nodes.masks[n - 1 : n]]
        members += [(volume, nodes.sessions.get((m, name), transform))
                    for (m, name), volume in nodes.further.items() if m == n]
        members += [(line, transform) for (timepoint, _, _), line in nodes.lines.items() if timepoint == n]
        for node, parent in members:
            if node.GetTransformNodeID() in (None, "", *ours):
                node.SetAndObserveTransformNodeID(parent.GetID() if aligned else None)


def _our_transforms(nodes: CompareNodes) -> set[str]:
    return {node.GetID() for node in (*nodes.transforms.values(), *nodes.sessions.values())}


def is_aligned(nodes: CompareNodes) -> bool:
    """True while the scans are shown in the common space."""
    ours = _our_transforms(nodes)
    return any(node.GetTransformNodeID() in ours for node in nodes.volumes)


def diameters_of(nodes: CompareNodes) -> list[dict]:
    """The diameters as the lines lie now: list of {timepoint, lesion, which, ends (LPS, mm, in the scan), length_mm,
    moved}. ``moved`` tells whether a person has moved the line."""
    record = record_of(nodes)
    found = []
    for (timepoint, lesion, which), line in sorted(nodes.lines.items()):
        if line.GetNumberOfControlPoints() < 2:
            continue
        ends = np.array([line.GetNthControlPointPosition(n) for n in range(2)]) * (-1, -1, 1)
        lesions = record["timepoints"][timepoint - 1]["lesions"]
        entry = next((one for one in lesions if one["label"] == lesion), None)
        before = np.array(entry[f"{which}_ends"]) if entry is not None else ends
        found.append({
            "timepoint": timepoint, "lesion": lesion, "which": which, "ends": ends.tolist(),
            "length_mm": float(np.linalg.norm(ends[1] - ends[0])), "moved": bool(np.abs(ends - before).max() > 1e-3),
        })  # fmt: skip
    return found
