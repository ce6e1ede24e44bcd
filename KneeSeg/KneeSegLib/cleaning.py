"""Loose pieces and holes of a network's segmentation put right. Never applied to a person's own masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .structures import BONE_OF, BY_NAME, words

#: A piece of cartilage or meniscus stays when it is at least this part of the largest one.
LEAST_PART = 0.05
#: Holes in a bone up to this volume are filled, mm^3; larger ones are left, and said.
LARGEST_HOLE_MM3 = 2000.0


def clean_labels(labels: sitk.Image, names: Mapping[str, int]) -> tuple[sitk.Image, list[str]]:
    """Keep each bone's largest piece and fill its holes; drop crumbs of the other structures.

    A cartilage piece stays when it touches its bone and is not tiny; cartilage is lost in islands, so more than one
    piece is normal.

    Args:
        labels: 3D label map as it came from inference.
        names: structure name -> label.

    Returns:
        A new label map on the same grid, and a sentence for every structure that was changed noticeably (by more
        than 1 % of its volume).
    """
    array = sitk.GetArrayFromImage(labels)
    spacing = np.array(labels.GetSpacing())[::-1]
    voxel = float(np.prod(spacing))
    warnings: list[str] = []
    highest = max(names.values(), default=0)
    boxes = ndimage.find_objects(array.astype(np.int32, copy=False), max_label=highest)
    # Bones first: whether a piece of cartilage touches its bone is asked of the bone that stays.
    for name in sorted(names, key=lambda n: BY_NAME[n].tissue != "bone" if n in BY_NAME else True):
        value = names[name]
        if not 0 < value <= highest or boxes[value - 1] is None:
            continue
        box = tuple(
            slice(max(s.start - 2, 0), min(s.stop + 2, n)) for s, n in zip(boxes[value - 1], array.shape, strict=True)
        )
        part = array[box]
        mask = part == value
        before = np.count_nonzero(mask)
        tissue = BY_NAME[name].tissue if name in BY_NAME else "cartilage"
        keep = _largest(mask) if tissue == "bone" else _worthy(mask, _bone_of(name, names, part))
        dropped = before - np.count_nonzero(keep)
        part[mask & ~keep] = 0
        if dropped > 0.01 * before:
            warnings.append(f"Loose pieces of the {words(name)}, {dropped * voxel:.0f} mm³ in all, were taken away.")
        if tissue == "bone":
            filled, left = _fill_holes(part, keep, value, LARGEST_HOLE_MM3 / voxel)
            if filled > 0.01 * before:
                warnings.append(f"Holes in the {words(name)}, {filled * voxel:.0f} mm³ in all, were filled.")
            if left:
                warnings.append(f"The {words(name)} has a hole of {left * voxel:.0f} mm³, which was left as it is.")
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(labels)
    return result, warnings


def _bone_of(name: str, names: Mapping[str, int], part: np.ndarray) -> np.ndarray | None:
    bone = BONE_OF.get(name)
    return part == names[bone] if bone in names else None


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    size = np.bincount(pieces.ravel())
    size[0] = 0
    return pieces == int(np.argmax(size))


def _worthy(mask: np.ndarray, bone: np.ndarray | None) -> np.ndarray:
    """Pieces that are large enough and, where there is a bone to touch, touch it."""
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count == 0:
        return mask
    size = np.bincount(pieces.ravel(), minlength=count + 1)
    size[0] = 0
    good = size >= LEAST_PART * size.max()
    if bone is not None and bone.any():
        near = ndimage.binary_dilation(bone, structure=np.ones((3, 3, 3)), iterations=2)
        touches = np.bincount(pieces[near].ravel(), minlength=count + 1) > 0
        # Where no piece at all touches, the bone is what is wrong: nothing is dropped for it.
        if touches[1:].any():
            good &= touches
    good[0] = False
    return good[pieces]


def _fill_holes(part: np.ndarray, bone: np.ndarray, value: int, largest: float) -> tuple[int, int]:
    """Fill background that the bone encloses, in place; voxels filled, and the size of the largest hole left open."""
    pieces, count = ndimage.label(np.pad(~bone, 1, constant_values=True))
    if count < 2:
        return 0, 0
    inner = pieces[1:-1, 1:-1, 1:-1]
    size = np.bincount(inner.ravel(), minlength=count + 1)
    size[pieces[0, 0, 0]] = 0
    size[0] = 0
    # Only unlabelled voxels are filled: another structure inside a bone is somebody's finding.
    fill = (size > 0) & (size <= largest)
    chosen = fill[inner] & (part == 0)
    part[chosen] = value
    return int(np.count_nonzero(chosen)), int(size[size > largest].max(initial=0))
