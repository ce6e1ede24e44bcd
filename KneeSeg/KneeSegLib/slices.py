"""Thick slices made finer by shape, so that surfaces and rays do not see steps of millimeters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

#: Slices thicker than this are divided until they are not, mm.
FINE_MM = 0.85


def refine_slices(
    bone: np.ndarray, layers: Mapping[str, np.ndarray], spacing: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Shape-based interpolation (Raya and Udupa 1990) across the slices, where they are thick.

    Signed distances to the outline in each slice are interpolated between slices. A layer is interpolated together
    with the bone under it, so that the two stay in touch.

    Args:
        bone: 3D bool.
        layers: name -> 3D bool, on the bone.
        spacing: (3,) mm.

    Returns:
        bone, layers and spacing; the masks handed in where no axis is thicker than ``FINE_MM``. The first slice stays
        at index 0, so index times spacing is the same place before and after.
    """
    spacing = np.array(spacing, dtype=np.float64)
    axis = int(np.argmax(spacing))
    factor = int(np.ceil(spacing[axis] / FINE_MM - 1e-9))
    if factor < 2:
        return bone, dict(layers), spacing
    in_plane = np.delete(spacing, axis)
    fine = spacing.copy()
    fine[axis] /= factor
    bone_fine = _between(bone, axis, in_plane, factor)
    fine_layers = {
        name: _between(bone | layer, axis, in_plane, factor) & ~bone_fine for name, layer in layers.items()
    }
    return bone_fine, fine_layers, fine


def _between(mask: np.ndarray, axis: int, in_plane: np.ndarray, factor: int) -> np.ndarray:
    slices = np.moveaxis(mask, axis, 0)
    distance = np.array([_signed_distance(s, in_plane) for s in slices])
    count = (len(slices) - 1) * factor + 1
    result = np.empty((count,) + slices.shape[1:], dtype=bool)
    for i in range(count):
        low, part = divmod(i, factor)
        if part == 0:
            result[i] = slices[low]
        else:
            weight = part / factor
            result[i] = (1 - weight) * distance[low] + weight * distance[low + 1] > 0
    return np.moveaxis(result, 0, axis)


def _signed_distance(outline: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance in a slice to the outline, mm, positive inside; a slice without the structure is far outside."""
    if not outline.any():
        # As if the structure ended just before this slice: half of the gap to it is filled.
        return np.full(outline.shape, -float(spacing.min()), dtype=np.float32)
    half = 0.5 * float(spacing.min())
    inside = ndimage.distance_transform_edt(np.pad(outline, 1), sampling=spacing)[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~outline, sampling=spacing)
    return np.where(outline, inside - half, half - outside).astype(np.float32)
