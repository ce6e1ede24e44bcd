"""Distances between the surfaces of two binary masks, in mm.

The surface of a mask are its voxels with a face on a voxel outside it (outside the image counts as outside the mask);
a distance is that from the center of a surface voxel to the nearest center of the other surface. This is the
definition of MONAI's metrics; surface voxels all count alike, as in MONAI without subvoxels (Nikolov et al. 2021 weigh
them by area instead).

Empty masks: two empty masks have no distance between them (0 mm, surface Dice 1). Of one empty mask the other is
infinitely far away (infinity, surface Dice 0), so a limit on a distance is never met by accident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .overlap import require_masks

#: Distances this little (mm) beyond a tolerance are rounding: 3 voxels of 0.3 mm lie within 0.9 mm.
_ROUNDING_MM = 1e-9


class Surface:
    """The surface of one mask, to be measured against several others.

    A tree of its points is made once. Unlike a distance map it does not grow with the image or with how far two
    masks lie apart, so a stray voxel in a corner costs nothing.

    Args:
        mask: bool array, 2D or 3D.
        spacing: mm along each axis of the array.

    Raises:
        ValueError: the mask is not bool, or the spacing does not fit it.
    """

    def __init__(self, mask: np.ndarray, spacing: Sequence[float]):
        require_masks(mask)
        spacing = np.asarray(spacing, dtype=np.float64)
        if spacing.shape != (mask.ndim,) or not (np.isfinite(spacing).all() and spacing.min() > 0):
            raise ValueError(f"a spacing of {mask.ndim} positive numbers is needed, not {spacing.tolist()}")
        self.shape = mask.shape
        self.spacing = spacing
        #: (n, ndim) centers of the surface voxels, mm from the first voxel of the array.
        self.points = surface_indices(mask) * spacing
        self._tree: cKDTree | None = None

    def distances_to(self, other: Surface) -> np.ndarray:
        """Distance of every point to the nearest one of ``other``, (n,) mm; infinity where that has none."""
        if self.shape != other.shape or not np.allclose(self.spacing, other.spacing, rtol=1e-5, atol=0):
            raise ValueError("the surfaces are those of masks on different grids")
        if not len(other.points):
            return np.full(len(self.points), math.inf)
        if not len(self.points):
            return np.empty(0)
        if other._tree is None:
            other._tree = cKDTree(other.points)
        return other._tree.query(self.points)[0]

    def compare(self, other: Surface) -> SurfaceDistances:
        """Distances both ways."""
        return SurfaceDistances(self.distances_to(other), other.distances_to(self))


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances (mm) from the surface of A to that of B, and back."""

    forth: np.ndarray
    back: np.ndarray

    def percentile(self, percent: float) -> float:
        """The larger of the two directed percentiles, mm; 100 is the Hausdorff distance."""
        return max(_percentile(self.forth, percent), _percentile(self.back, percent))

    @property
    def hd95(self) -> float:
        """95 % Hausdorff distance, mm: the larger of the two directed 95th percentiles."""
        return self.percentile(95.0)

    @property
    def assd(self) -> float:
        """Average symmetric surface distance, mm: the mean over the points of both surfaces."""
        if self._one_is_empty:
            return math.inf
        count = len(self.forth) + len(self.back)
        return float((self.forth.sum() + self.back.sum()) / count) if count else 0.0

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of the points of both surfaces that lie within the tolerance of the other one, 0 to 1."""
        if not tolerance_mm >= 0:
            raise ValueError(f"a tolerance is 0 mm or more, not {tolerance_mm}")
        count = len(self.forth) + len(self.back)
        limit = tolerance_mm + _ROUNDING_MM
        near = np.count_nonzero(self.forth <= limit) + np.count_nonzero(self.back <= limit)
        return near / count if count else 1.0

    @property
    def _one_is_empty(self) -> bool:
        return (len(self.forth) == 0) != (len(self.back) == 0)


def surface_distances(a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Args:
        a, b: bool arrays of one shape, 2D or 3D.
        spacing: mm along each axis of the arrays.

    Raises:
        ValueError: not bool, of different shapes, or the spacing does not fit.
    """
    require_masks(a, b)
    return Surface(a, spacing).compare(Surface(b, spacing))


def surface_indices(mask: np.ndarray) -> np.ndarray:
    """(n, ndim) indices of the surface voxels of a bool array."""
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, mask.ndim), dtype=np.int64)
    padded = np.pad(mask[box], 1)
    core = (slice(1, -1),) * mask.ndim
    inside = padded[core].copy()
    for axis in range(mask.ndim):
        for shifted in (slice(2, None), slice(None, -2)):
            inside &= padded[core[:axis] + (shifted,) + core[axis + 1 :]]
    return np.argwhere(padded[core] & ~inside) + [side.start for side in box]


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, ...] | None:
    """The smallest box around a mask, ``margin`` voxels wider but within the array; None where the mask is empty."""
    box: list[slice] = []
    rest = mask
    for axis in range(mask.ndim):  # what the axes before leave out is not looked at again
        along = np.flatnonzero(rest.any(axis=tuple(range(1, rest.ndim))))
        if not len(along):
            return None
        first, last = int(along[0]), int(along[-1]) + 1
        box.append(slice(max(0, first - margin), min(mask.shape[axis], last + margin)))
        rest = rest[first:last].any(axis=0)
    return tuple(box)


def _percentile(distances: np.ndarray, percent: float) -> float:
    if not len(distances):
        return 0.0
    if np.isinf(distances[0]):  # nothing on the other side: all are infinite, and interpolation would give NaN
        return math.inf
    return float(np.percentile(distances, percent))
