"""The nodes of one ensemble result, and how they are found again (also after the scene was saved and opened)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from MRISegSuiteLib.scene.parts import parts_of

from ..hot_spots import HotSpot

#: Attributes: panel.json on the fusion, hot_spots.json on the table of hot spots.
PANEL_ATTRIBUTE, HOT_SPOTS_ATTRIBUTE = "MRISegSuite.Panel", "MRISegSuite.HotSpots"
#: Attribute of the fusion: SHA-256 of the result.json that it was loaded from.
RESULT_ATTRIBUTE = "MRISegSuite.Result"


@dataclass
class EnsembleNodes:
    """The nodes of one result; what a result lacks is None.

    Attributes:
        fusion: vtkMRMLSegmentationNode, the fused structures; the one that a person corrects. Segment ids are the
            names of structures (edema, enhancing_tumour …).
        majority: vtkMRMLSegmentationNode, hidden: the plain majority beside another fusion.
        experts: vtkMRMLSegmentationNode, hidden: for every expert a segment for each structure it knows, each expert
            in its color; see :func:`expert_segments`.
        disagreement: vtkMRMLScalarVolumeNode, entropy in bits, 0..1.
        mutualInformation: the same for the mutual information, where experts gave probabilities.
        hotSpots: vtkMRMLLabelMapVolumeNode, at each voxel the number of its hot spot, 0 for none.
        hotSpotTable: vtkMRMLTableNode, a row for each hot spot, largest first; see :func:`hot_spots_of`.
        table: vtkMRMLTableNode, the measurements.
        warnings: sentences for the user.
        jobFolder: where the files are; None for a result found in the scene.
    """

    fusion: object = None
    majority: object = None
    experts: object = None
    disagreement: object = None
    mutualInformation: object = None
    hotSpots: object = None
    hotSpotTable: object = None
    table: object = None
    warnings: list = field(default_factory=list)
    jobFolder: Path | None = None


#: Part of a result (attribute on its node) -> field of EnsembleNodes.
FIELDS = {
    "majority": "majority",
    "experts": "experts",
    "disagreement": "disagreement",
    "mutual_information": "mutualInformation",
    "hot_spots": "hotSpots",
    "hot_spot_table": "hotSpotTable",
    "table": "table",
}


def nodes_of(scene, fusionNode) -> EnsembleNodes | None:
    """The nodes that belong to a fused segmentation, None where it is no result of an ensemble."""
    if fusionNode is None or fusionNode.GetAttribute(PANEL_ATTRIBUTE) is None:
        return None
    parts = parts_of(scene, fusionNode)
    return EnsembleNodes(fusion=fusionNode, **{field: parts.get(part) for part, field in FIELDS.items()})


def hot_spots_of(nodes: EnsembleNodes) -> list[HotSpot]:
    """The hot spots of a result, largest first; ``center_ras`` is in the world as it was at the run."""
    text = nodes.hotSpotTable.GetAttribute(HOT_SPOTS_ATTRIBUTE) if nodes.hotSpotTable is not None else None
    return [HotSpot.from_record(record) for record in json.loads(text or "[]")]


def panel_of(nodes: EnsembleNodes) -> dict:
    """What panel.json says about the result: experts, abstentions, voices, fusion, lights (see results.panel_record).

    Each of ``experts`` has ``id``, ``title``, ``structures``, ``record`` (model id, version and sha256, or the mask's
    sha256), ``prompted_by`` and ``seconds``.
    """
    return json.loads(nodes.fusion.GetAttribute(PANEL_ATTRIBUTE) or "{}")


def expert_segments(nodes: EnsembleNodes) -> dict[str, dict[str, str]]:
    """Expert id -> structure -> segment id in ``nodes.experts``. The segments of one expert do not overlap: of nested
    regions each shows what the region inside it leaves (edema, core, enhancing tumor)."""
    segmentation = nodes.experts.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return {
        expert["id"]: {one.removeprefix(prefix): one for one in ids if one.startswith(prefix)}
        for expert in panel_of(nodes)["experts"]
        for prefix in [segment_id_of(expert, "")]
    }


def segment_id_of(expert: dict, structure: str) -> str:
    """The id of a segment in the experts' segmentation; ``expert`` is an entry of panel.json."""
    return f"{expert['role']}_{structure}"
