"""Clean up what a network found: one piece a bone, no islands of cartilage, no holes; never a person's masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .structures import BONE_OF

#: Pieces of cartilage smaller than this share of the largest, or than this volume, are islands.
ISLAND_SHARE, ISLAND_MM3 = 0.05, 25.0
#: A piece of cartilage has to come this close to its bone (mm).
ON_BONE_MM = 1.5
#: Removed volumes above this (ml) are worth a warning.
WARN_ML = 0.5


def clean_labels(labels: sitk.Image, names: Mapping[str, int]) -> tuple[sitk.Image, list[str]]:
    """Keep the largest piece of each bone, drop islands of cartilage, fill holes inside bones.

    Args:
        labels: integer label map (LPS, mm), any orientation; it is not changed.
        names: structure name -> value.

    Returns:
        the cleaned label map on the same grid, and sentences about what was removed where that was much.
    """
    array = sitk.GetArrayFromImage(labels)
    spacing = np.array(labels.GetSpacing()[::-1])
    voxel_ml = float(np.prod(spacing)) / 1000.0
    warnings = []
    bones = [name for name in names if name not in BONE_OF]
    for name in [*bones, *(n for n in names if n in BONE_OF)]:
        value = names[name]
        box = _box(array == value, 2)
        if box is None:
            continue
        part = array[box]
        mask = part == value
        keep = _largest(mask) if name in bones else _on_bone(mask, part == names.get(BONE_OF[name], -1), spacing)
        removed = float((mask & ~keep).sum()) * voxel_ml
        part[mask & ~keep] = 0
        if name in bones:
            part[ndimage.binary_fill_holes(keep) & (part == 0)] = value
        if removed > WARN_ML:
            title = name.replace("_", " ")
            warnings.append(f"{removed:.1f} ml of what the model called {title} lay apart from it and was removed.")
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(labels)
    return result, warnings


def _box(mask: np.ndarray, margin: int) -> tuple[slice, ...] | None:
    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box:
        return None
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box[0], mask.shape))


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == int(sizes.argmax())


def _on_bone(mask: np.ndarray, bone: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Pieces that are large enough and lie on the bone (on anything, where no bone is known)."""
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(spacing))
    sizes[0] = 0
    good = (sizes >= ISLAND_MM3) & (sizes >= ISLAND_SHARE * sizes.max())
    if bone.any():
        # A neighboring slice may lie farther away than the limit; it counts as close all the same.
        near = ndimage.distance_transform_edt(~bone, sampling=spacing) <= max(ON_BONE_MM, float(spacing.max()) * 1.01)
        touching = np.bincount(pieces[near].ravel(), minlength=count + 1) > 0
        good &= touching
    return good[pieces]
