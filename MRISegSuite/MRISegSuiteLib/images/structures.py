"""Structures of the brain that several modules know: names, label values, colors, terminology, what is part of what.

A structure is known by its NAME. Regions (whole tumor, tumor core) are unions of the exclusive labels, as the BraTS
challenges define them (Menze et al. 2015, Bakas et al. 2017).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Code = tuple[str, str, str]


@dataclass(frozen=True)
class Structure:
    """One structure.

    Attributes:
        name: identifier in files and tables, e.g. ``enhancing_tumour``.
        label: value in our own label maps.
        title: what a person reads.
        color: RGB, 0..1.
        code: (scheme, value, meaning) of the segmented type, as Slicer's DICOM master list has it.
        region: (scheme, value, meaning) of the anatomic region.
        category: (scheme, value, meaning) of the terminology category that lists ``code``.
    """

    name: str
    label: int
    title: str
    color: tuple[float, float, float]
    code: Code
    region: Code | None = None
    category: Code = ("SCT", "49755003", "Morphologically Altered Structure")


_BRAIN: Code = ("SCT", "12738006", "Brain")
_MASS: Code = ("SCT", "4147007", "Mass")
_NEOPLASM: Code = ("SCT", "108369006", "Neoplasm")

#: Label values 1, 2 and 4 are those of BraTS.
TUMOR_STRUCTURES: tuple[Structure, ...] = (
    Structure("non_enhancing_core", 1, "Necrotic and non-enhancing core", (0.90, 0.35, 0.30),
              ("SCT", "6574001", "Necrosis"), _BRAIN),
    Structure("edema", 2, "Edema", (0.45, 0.80, 0.45), ("SCT", "79654002", "Edema"), _BRAIN),
    Structure("enhancing_tumour", 4, "Enhancing tumor", (0.98, 0.80, 0.25), _NEOPLASM, _BRAIN),
    Structure("whole_tumour", 5, "Whole tumor", (0.30, 0.75, 0.85), _MASS, _BRAIN),
    Structure("tumour_core", 6, "Tumor core", (0.85, 0.45, 0.75), _NEOPLASM, _BRAIN),
    Structure("lesion", 7, "Lesion", (0.95, 0.55, 0.25), _MASS, None),
)  # fmt: skip
TUMOR_BY_NAME: dict[str, Structure] = {structure.name: structure for structure in TUMOR_STRUCTURES}

#: Region -> the labels that it is made of.
TUMOR_REGIONS: dict[str, tuple[str, ...]] = {
    "whole_tumour": ("edema", "non_enhancing_core", "enhancing_tumour"),
    "tumour_core": ("non_enhancing_core", "enhancing_tumour"),
}
#: Regions from the outside in: each lies within the one before it.
NESTED_TUMOR_REGIONS = ("whole_tumour", "tumour_core", "enhancing_tumour")
#: Values of a BraTS label map.
BRATS_LABELS = {"non_enhancing_core": 1, "edema": 2, "enhancing_tumour": 4}

#: Other ways of writing the names.
_ALIASES = {
    "whole_tumor": "whole_tumour", "wt": "whole_tumour", "tumor_core": "tumour_core", "tc": "tumour_core",
    "enhancing_tumor": "enhancing_tumour", "enhancing": "enhancing_tumour", "et": "enhancing_tumour",
    "oedema": "edema", "ed": "edema", "peritumoral_edema": "edema", "ncr": "non_enhancing_core",
    "necrotic_and_non_enhancing_core": "non_enhancing_core",
}  # fmt: skip

#: Colors for structures that nobody has given one.
_OTHER_COLORS = (
    (0.35, 0.65, 0.95), (0.95, 0.60, 0.30), (0.45, 0.80, 0.45), (0.85, 0.40, 0.70), (0.95, 0.85, 0.35),
    (0.45, 0.85, 0.85), (0.75, 0.55, 0.40), (0.65, 0.55, 0.90),
)  # fmt: skip


def with_tumor_regions(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The masks, and whole tumor and tumor core where they follow from the labels that are there.

    A region is made only where every one of its labels is known: absent is not the same as empty, so somebody who says
    that there is no edema gives an empty mask for it.

    Args:
        masks: structure name -> bool array; names that are no tumor's pass through.
    """
    found = dict(masks)
    for region, parts in TUMOR_REGIONS.items():
        if region not in found and all(part in masks for part in parts):
            found[region] = np.logical_or.reduce([masks[part] for part in parts])
    return found


def tumor_name(name: str) -> str:
    """The name as the tables here write it ("Whole tumor", "WT" is ``whole_tumour``); others with underscores only."""
    tidy = "_".join(re.findall(r"[a-z0-9]+", name.lower()))
    return _ALIASES.get(tidy, tidy or name)


def structure_of(name: str, label: int) -> Structure:
    """The structure of a name: of the tables here, or one made up with a color of its own and ``label`` as value."""
    if name in TUMOR_BY_NAME:
        return TUMOR_BY_NAME[name]
    title = name.replace("_", " ").strip()
    return Structure(name, label, title[:1].upper() + title[1:], _OTHER_COLORS[label % len(_OTHER_COLORS)],
                     ("SCT", "85756007", "Tissue"), None, ("SCT", "85756007", "Tissue"))
