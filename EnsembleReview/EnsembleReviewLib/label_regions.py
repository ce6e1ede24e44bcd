"""What a decision on a place means for the labels there. Labels exclude each other; regions of a tumor are unions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from MRISegSuiteLib.images.structures import NESTED_TUMOR_REGIONS, TUMOR_REGIONS

#: The label that is left of a region without the region inside it.
_REST = {"whole_tumour": "edema", "tumour_core": "non_enhancing_core"}


def labels_within(structure: str, labels: Collection[str]) -> list[str]:
    """Those of the labels of a segmentation that are part of a structure (it may be a region)."""
    parts = {structure, *TUMOR_REGIONS.get(structure, ())}
    if structure in NESTED_TUMOR_REGIONS:
        parts |= set(NESTED_TUMOR_REGIONS[NESTED_TUMOR_REGIONS.index(structure):])
    return [label for label in labels if label in parts]


def label_without(structure: str, labels: Collection[str]) -> str:
    """What a voxel is when it is not ``structure`` but what is around that: of a core edema, of a whole tumor ""."""
    if structure not in NESTED_TUMOR_REGIONS:
        return ""
    outside = NESTED_TUMOR_REGIONS[: NESTED_TUMOR_REGIONS.index(structure)]
    for region in reversed(outside):
        for label in (_REST.get(region), region):
            if label in labels:
                return label
    return ""


def label_for(said: str, labels: Collection[str]) -> str | None:
    """The label of a segmentation for what an expert says; None where any label within the structure will do (it
    says "whole tumor", the segmentation knows its parts), "" where the segmentation has nothing of the kind."""
    if said in labels:
        return said
    if labels_within(said, labels):
        return None
    for region in reversed(NESTED_TUMOR_REGIONS):
        if region in labels and said in TUMOR_REGIONS.get(region, ()):
            return region
    return ""


def dropped(structure: str, place: np.ndarray, masks: Mapping[str, np.ndarray]):
    """The change when a structure is dropped at a place.

    Args:
        structure: what goes. place: bool array. masks: label -> bool array, what the segmentation says.

    Returns:
        (label -> voxels that it gains, voxels that become none)
    """
    going = place & np.logical_or.reduce([masks[label] for label in labels_within(structure, masks)] or
                                         [np.zeros_like(place)])
    left = label_without(structure, masks)
    return ({left: going}, np.zeros_like(place)) if left else ({}, going)


def taken(said: Mapping[str, np.ndarray], known: Collection[str], place: np.ndarray,
          masks: Mapping[str, np.ndarray]):
    """The change when a place is taken over from an expert.

    Args:
        said: structure -> bool array, what the expert says (exclusive). known: structures that it can tell.
        place: bool array. masks: label -> bool array, what the segmentation says.

    Returns:
        (label -> voxels that it gains, voxels that become none). Labels that the expert knows nothing about stay,
        unless it says that something else is there.
    """
    gained: dict[str, np.ndarray] = {}
    spoken = np.zeros_like(place)
    for structure, mask in said.items():
        here = mask & place
        label = label_for(structure, masks)
        if label is None:  # any part will do: what is there stays, the rest becomes the outermost part
            parts = labels_within(structure, masks)
            there = np.logical_or.reduce([masks[part] for part in parts])
            rest = _REST.get(structure)
            label = rest if rest in masks else parts[0]
            spoken |= here
            here = here & ~there
        if label:
            gained[label] = gained.get(label, np.zeros_like(place)) | here
            spoken |= here
    told = [label for structure in known for label in labels_within(structure, masks)]
    # Who knows every part of a region can tell that the region is not there.
    told += [label for label in masks if label in TUMOR_REGIONS and set(TUMOR_REGIONS[label]) <= set(known)]
    ours = np.logical_or.reduce([masks[label] for label in told] or [np.zeros_like(place)])
    return gained, place & ours & ~spoken
