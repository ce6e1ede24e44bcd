"""How near each expert came to what a person accepted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.measures.overlap import dice, volume_mm3

from ..label_regions import labels_within
from .review import Agreement, Expert


def agreement_of(expert: Expert, accepted: Mapping[str, sitk.Image]) -> tuple[Agreement, ...]:
    """Dice and volumes of an expert for each structure that it knows (that is among its masks, if only as an empty
    one) and that the accepted masks have or have parts of: a whole tumor is compared with edema, core and enhancing
    tumor together. An expert that abstained has no agreement."""
    if expert.abstained:
        return ()
    found = []
    for name, mask in expert.masks.items():
        parts = labels_within(name, accepted)
        if parts:
            theirs = sitk.GetArrayViewFromImage(mask) != 0
            ours = np.logical_or.reduce([sitk.GetArrayViewFromImage(accepted[part]) != 0 for part in parts])
            spacing = mask.GetSpacing()[::-1]
            volumes = (volume_mm3(m, spacing) / 1000 for m in (theirs, ours))
            found.append(Agreement(name, dice(theirs, ours), *volumes))
    return tuple(sorted(found, key=lambda agreement: agreement.structure))


def same_masks(one: Mapping[str, sitk.Image], other: Mapping[str, sitk.Image]) -> bool:
    """Whether two sets of masks hold the same voxels; a structure that is missing is empty."""
    for name in set(one) | set(other):
        arrays = [sitk.GetArrayViewFromImage(m[name]) != 0 for m in (one, other) if name in m]
        if len(arrays) == 1 and arrays[0].any():
            return False
        if len(arrays) == 2 and not np.array_equal(*arrays):
            return False
    return True
