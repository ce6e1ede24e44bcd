"""From fused masks to one label map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from MRISegSuiteLib.images.structures import NESTED_TUMOR_REGIONS, TUMOR_REGIONS, Structure, structure_of

from ..expert_panel import LABELS, ExpertPanel
from .methods import Fusion

#: What is left of a region without the region inside it, as BraTS defines them.
_REST = {("whole_tumour", "tumour_core"): "edema", ("tumour_core", "enhancing_tumour"): "non_enhancing_core"}


def paint(masks: Mapping[str, np.ndarray], support: Mapping[str, np.ndarray], vote: str):
    """One label map of masks that may overlap.

    Regions of a tumor are painted from the outside in, and what is left of one bears the name of its label (edema).
    Of other structures the one with more support wins a voxel; of equal ones the smaller.

    Args:
        masks: structure -> bool.
        support: structure -> 0..1; a structure without one counts with its mask.
        vote: "regions" or "labels" (see expert_panel).

    Returns:
        (uint8 label array, the structures in it, sentences for the user).
    """
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    nested = [name for name in NESTED_TUMOR_REGIONS if name in masks]
    others = [name for name in masks if name not in nested]
    if vote == LABELS and all(name in masks for name in TUMOR_REGIONS["whole_tumour"]):
        # The regions are unions of the labels, which are painted themselves.
        nested, others = [], [name for name in masks if name not in TUMOR_REGIONS]
    used: list[Structure] = []
    for region, inner in zip(nested, [*nested[1:], ""]):
        used.append(structure_of(_REST.get((region, inner), region), 0))
        labels[masks[region]] = used[-1].label
    return labels, used, _paint_others(labels, others, masks, support, used)


def _paint_others(labels, others, masks, support, used) -> list[str]:
    """Structures that exclude each other, onto ``labels`` where nothing is yet; appends to ``used``."""
    free = labels == 0
    best = np.zeros(labels.shape, np.float32)
    several = np.zeros(labels.shape, bool)
    taken = {structure.label for structure in used}
    for name in sorted(others, key=lambda one: -int(masks[one].sum())):
        next_label = next(value for value in range(11, 256) if value not in taken)
        structure = structure_of(name, next_label)
        taken.add(structure.label)
        used.append(structure)
        mine = masks[name] & free
        strength = support.get(name, masks[name]).astype(np.float32)
        several |= mine & (best > 0)
        wins = mine & (strength >= best)
        labels[wins] = structure.label
        best[wins] = strength[wins]
    count = int(several.sum())
    return [f"{count} voxels belong to several fused structures; the one with more support has them."] if count else []


def label_map(panel: ExpertPanel, fusion: Fusion):
    """The fusion as one label map; see :func:`paint`."""
    return paint(fusion.masks, fusion.support, panel.vote)


def label_map_of(panel: ExpertPanel, expert: str):
    """One expert's answers as one label map; see :func:`paint`."""
    opinion = next(opinion for opinion in panel.opinions if opinion.expert == expert)
    masks, support = {}, {}
    for name in panel.structures:
        if name in opinion.answers:
            masks[name] = panel.mask(expert, name)
            given = panel.probability(expert, name)
            support[name] = masks[name] if given is None else given
    return paint(masks, support, panel.vote)


def undecided_voxels(panel: ExpertPanel) -> int:
    """Voxels that more than half of the experts call tumor, but none of the labels has more than half of the votes.

    Voting on labels leaves them out; voting on regions gives them to the innermost region that has a majority.
    """
    parts = TUMOR_REGIONS["whole_tumour"]
    everywhere = set.intersection(*(set(opinion.answers) for opinion in panel.opinions))
    if not {*parts, "whole_tumour"} <= everywhere:
        return 0
    tumor = _majority(panel, "whole_tumour")
    for name in parts:
        tumor &= ~_majority(panel, name)
    return int(tumor.sum())


def _majority(panel: ExpertPanel, structure: str) -> np.ndarray:
    patterns = panel.patterns(structure)
    return patterns.map(patterns.share(panel.weights_on(structure)) > 0.5)
