"""How near each expert came to what a person accepted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.measures.overlap import dice, volume_mm3

from .review import Agreement, Expert


def agreement_of(expert: Expert, accepted: Mapping[str, sitk.Image]) -> tuple[Agreement, ...]:
    """Dice and volumes of an expert for each accepted structure that it knows (that is among its masks, if only as an
    empty one). An expert that abstained has no agreement."""
    if expert.abstained:
        return ()
    found = []
    for name in (name for name in accepted if name in expert.masks):
        theirs, ours = (sitk.GetArrayViewFromImage(masks[name]) != 0 for masks in (expert.masks, accepted))
        spacing = accepted[name].GetSpacing()[::-1]
        found.append(Agreement(name, dice(theirs, ours), *(volume_mm3(m, spacing) / 1000 for m in (theirs, ours))))
    return tuple(found)


def same_masks(one: Mapping[str, sitk.Image], other: Mapping[str, sitk.Image]) -> bool:
    """Whether two sets of masks hold the same voxels; a structure that is missing is empty."""
    for name in set(one) | set(other):
        arrays = [sitk.GetArrayViewFromImage(m[name]) != 0 for m in (one, other) if name in m]
        if len(arrays) == 1 and arrays[0].any():
            return False
        if len(arrays) == 2 and not np.array_equal(*arrays):
            return False
    return True
