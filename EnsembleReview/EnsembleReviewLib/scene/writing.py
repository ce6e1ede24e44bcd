"""Writing the parts of an ensemble result as new nodes."""

from __future__ import annotations

import json

from MRISegSuiteLib.images.structures import structure_of
from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.scene import colors, hierarchy, provenance, segmentations, tables, volumes
from MRISegSuiteLib.scene.parts import connect

from ..expert_colors import expert_color
from .loading import LoadedJob
from .nodes import FIELDS, HOT_SPOTS_ATTRIBUTE, PANEL_ATTRIBUTE, EnsembleNodes, segment_id_of

_MAPS = {"disagreement": "Disagreement", "mutual_information": "Mutual information"}


def write_parts(scene, base: str, loaded: LoadedJob, volumeNode, parent: int) -> EnsembleNodes:
    """Make all nodes of a result.

    Args:
        scene: the vtkMRMLScene. base: name of the input.
        loaded: the files. volumeNode: the first image, or None. parent: item of the subject hierarchy to put them in.
    """
    nodes = EnsembleNodes()
    attributes = provenance.provenance_of(loaded.result)
    method = loaded.panel["fusion"]["method"]

    def add(node, part: str):
        # Maps are never written again, so nothing has to tell whether somebody changed their millions of voxels.
        connect(node, part, nodes.fusion, volumeNode, attributes, seal=node.IsA("vtkMRMLTableNode"))
        hierarchy.place(scene, node, parent)
        return node

    nodes.fusion = _fusion(scene, f"{base} - Fusion", loaded, loaded.fusion, method, volumeNode,
                           loaded.surfaces)
    nodes.fusion.SetAttribute(PANEL_ATTRIBUTE, json.dumps(loaded.panel))
    add(nodes.fusion, "fusion")
    if loaded.majority is not None:
        nodes.majority = _fusion(scene, f"{base} - Majority", loaded, loaded.majority, "majority", volumeNode)
        nodes.majority.GetDisplayNode().SetVisibility(False)
        add(nodes.majority, "majority")
    nodes.experts = add(_experts(scene, f"{base} - Experts", loaded, volumeNode), "experts")
    for role, title in _MAPS.items():
        if role in loaded.maps:
            node = volumes.new_volume_node(scene, f"{base} - {title}", loaded.maps[role], window=(0.0, 1.0))
            volumes.show_measure(node, colors.measure_color_node(scene, f"{title} (bits)"), 1.0)
            volumes.follow_volume(node, volumeNode)
            add(node, role)
            setattr(nodes, FIELDS[role], node)
    nodes.hotSpots = volumes.new_volume_node(
        scene, f"{base} - Hot spots", loaded.hot_spots, "vtkMRMLLabelMapVolumeNode")
    volumes.follow_volume(nodes.hotSpots, volumeNode)
    add(nodes.hotSpots, "hot_spots")
    nodes.hotSpotTable = _spot_table(scene, f"{base} - Hot spot list", loaded)
    add(nodes.hotSpotTable, "hot_spot_table")
    nodes.table = tables.new_table_node(scene, f"{base} - Panel measurements")
    titles = {expert["id"]: expert["title"] for expert in loaded.panel["experts"]}
    tables.fill_measurement_table(nodes.table, loaded.result.measurements, lambda name: _title(name, titles))
    add(nodes.table, "table")
    return nodes


def _fusion(scene, name: str, loaded: LoadedJob, labels: tuple, method: str, volumeNode, surfaces=None):
    """A fused segmentation; structures of which nothing was found are there as empty segments, to be drawn. Without
    ``surfaces`` it gets none: they are made when somebody wants to see them in 3D."""
    image, values = labels
    values = dict(values)
    for structure in loaded.panel["labels"]:
        if structure not in values:
            values[structure] = max(values.values(), default=0) + 1
    looks = [_look(structure, values[structure]) for structure in loaded.panel["labels"]]
    kind = "AUTOMATIC" if all("file" not in e["record"] for e in loaded.panel["experts"]) else "SEMIAUTOMATIC"
    return segmentations.new_segmentation_node(
        scene, name, image, values, looks, volumeNode, surfaces, f"MRI Seg Suite {method}", kind,
        closed_surfaces=surfaces is not None)


def _look(name: str, value: int, identifier: str = "", title: str = "", color=None):
    structure = structure_of(name, value)
    return segmentations.SegmentLook(
        identifier or name, title or structure.title, color or structure.color,
        terminology_entry(structure.category, structure.code, structure.region),
    )


def _experts(scene, name: str, loaded: LoadedJob, volumeNode):
    """One segmentation with the segments of all experts, each expert on a layer of its own; hidden to begin with."""
    node = None
    for number, expert in enumerate(loaded.panel["experts"]):
        image, values = loaded.experts[expert["id"]]
        looks, ids = [], {}
        for structure, value in values.items():
            identifier = segment_id_of(expert, structure)
            title = f"{expert['title']}: {structure_of(structure, value).title.lower()}"
            looks.append(_look(structure, value, identifier, title, expert_color(number)))
            ids[identifier] = value
        kind = "SEMIAUTOMATIC" if "file" in expert["record"] else "AUTOMATIC"
        if node is None:
            node = segmentations.new_segmentation_node(
                scene, name, image, ids, looks, volumeNode, algorithm=expert["title"], algorithm_type=kind,
                closed_surfaces=False)
        else:
            segmentations.add_layer(node, image, ids, looks, volumeNode, expert["title"], kind)
    display = node.GetDisplayNode()
    display.SetVisibility(False)
    display.SetVisibility3D(False)
    display.SetVisibility2DFill(False)  # opinions that lie over each other are told apart by their outlines
    display.SetAllSegmentsVisibility(True)
    return node


def _spot_table(scene, name: str, loaded: LoadedJob):
    titles = {expert["id"]: expert["title"] for expert in loaded.panel["experts"]}
    spots = loaded.spots
    texts = {
        "Structure": [structure_of(spot.structure, 0).title for spot in spots],
        "Dispute": [spot.kind for spot in spots],
        "In favor": [", ".join(titles.get(e, e) for e in spot.in_favor) for spot in spots],
        "Against": [", ".join(titles.get(e, e) for e in spot.against) for spot in spots],
    }
    numbers = {
        "Number": [spot.number for spot in spots],
        "volume": [spot.volume_mm3 for spot in spots],
        "in_fusion": [spot.fused_share for spot in spots],
        **{axis: [spot.center_ras[index] for spot in spots] for index, axis in enumerate("RAS")},
    }
    units = {
        "volume": ("mm3", "number of voxels times their volume"),
        "in_fusion": ("1", "part of the place that the fusion calls the structure"),
        **{axis: ("mm", "center, world coordinates") for axis in "RAS"},
    }
    node = tables.new_table_node(scene, name)
    tables.fill_table(node, texts, numbers, units)
    node.SetAttribute(HOT_SPOTS_ATTRIBUTE, json.dumps([spot.to_record() for spot in spots]))
    return node


def _title(name: str, titles: dict[str, str]) -> str:
    return titles.get(name) or structure_of(name, 0).title
