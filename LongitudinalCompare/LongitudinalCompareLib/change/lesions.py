"""The lesions of one timepoint: connected components of its mask, in its own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .diameters import Diameters, measure_diameters, slice_axis
from .masks import CutMask, Grid, cut_mask
from .partial_volume import partial_volume_variance, unevenness

_STRUCTURES = {6: 1, 18: 2, 26: 3}

#: Smallest lesion that is counted by default: a ball 3 mm wide.
SMALLEST_LESION_MM3 = math.pi / 6 * 3.0**3


@dataclass(frozen=True)
class Lesion:
    """One lesion at one timepoint, measured natively.

    Attributes:
        label: its number at this timepoint, from 1, the largest lesion first.
        volume_mm3: voxels times their volume.
        point: a voxel inside it, the nearest to its centroid (LPS, mm).
        diameters: see :class:`~.diameters.Diameters`.
        variance_mm6: variance of the volume from partial volume alone, see :mod:`.partial_volume`.
    """

    label: int
    volume_mm3: float
    point: tuple[float, float, float]
    diameters: Diameters
    variance_mm6: float


@dataclass(frozen=True)
class TimepointLesions:
    """The lesions of a mask.

    Attributes:
        lesions: those of at least ``smallest_mm3``, the largest first.
        volume_mm3: of the whole mask: what is too small to be a lesion counts as well.
        variance_mm6: variance of ``volume_mm3`` from partial volume alone.
        left_out: number of components that are too small. left_out_mm3: their volume.
        connectivity: 6, 18 or 26 neighbors.
        labels: [k, j, i], ``label`` of the lesion or 0, on ``grid``.
        whole: the mask, on ``grid``.
        pixel_mm, slice_mm: largest spacing in the acquisition plane, and distance of the slices.
    """

    lesions: tuple[Lesion, ...]
    volume_mm3: float
    variance_mm6: float
    left_out: int
    left_out_mm3: float
    connectivity: int
    smallest_mm3: float
    pixel_mm: float
    slice_mm: float
    grid: Grid = field(repr=False)
    labels: np.ndarray = field(repr=False)
    whole: np.ndarray = field(repr=False)

    def by_label(self, label: int) -> Lesion:
        """The lesion of that number."""
        return self.lesions[label - 1]

    def label_at(self, point) -> int:
        """Number of the lesion at a point (LPS, mm); 0 where there is none."""
        i, j, k = np.rint(self.grid.indices(np.asarray(point, float)[None]))[0].astype(int)
        inside = all(0 <= n < size for n, size in zip((k, j, i), self.labels.shape))
        return int(self.labels[k, j, i]) if inside else 0


def find_lesions(
    mask: sitk.Image, connectivity: int = 26, smallest_mm3: float = SMALLEST_LESION_MM3, axis: int | None = None
) -> TimepointLesions:
    """The connected components of a mask, measured in its own grid.

    Args:
        mask: everything that is not zero is lesion; any geometry.
        connectivity: 6, 18 or 26 neighbors.
        smallest_mm3: smaller components are not counted as lesions.
        axis: slice axis of the acquisition; None finds it, see :func:`.diameters.slice_axis`.

    Raises:
        ValueError: another connectivity, a negative size, or not a scalar 3D image.
    """
    if connectivity not in _STRUCTURES:
        raise ValueError(f"connectivity is 6, 18 or 26, not {connectivity}")
    if not smallest_mm3 >= 0:
        raise ValueError(f"the smallest lesion must be 0 mm3 or larger, not {smallest_mm3}")
    axis = slice_axis(mask) if axis is None else axis
    cut = cut_mask(mask)
    voxel = cut.grid.voxel_mm3
    found, count = ndimage.label(cut.array, ndimage.generate_binary_structure(3, _STRUCTURES[connectivity]))
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    # sizes are multiples of the voxel: half a voxel of tolerance for rounding
    kept = [n for n in np.argsort(-sizes, kind="stable") if (sizes[n] + 0.5) * voxel >= smallest_mm3]
    numbers = np.zeros(count + 1, np.int32)
    boxes = ndimage.find_objects(found)
    lesions = []
    for label, n in enumerate(kept, start=1):
        numbers[n + 1] = label
        lesions.append(_measured(label, cut, found, n + 1, boxes[n], axis))
    left_out = np.delete(sizes, kept)
    # a speck of n voxels: each is there or not, so its volume is no better known than a count
    variance = sum(one.variance_mm6 for one in lesions) + float(left_out.sum()) * voxel**2
    spacing = cut.grid.spacing
    return TimepointLesions(
        lesions=tuple(lesions),
        volume_mm3=cut.volume_mm3,
        variance_mm6=variance,
        left_out=len(left_out),
        left_out_mm3=float(left_out.sum()) * voxel,
        connectivity=connectivity,
        smallest_mm3=float(smallest_mm3),
        pixel_mm=float(np.delete(spacing, axis).max()),
        slice_mm=float(spacing[axis]),
        grid=cut.grid,
        labels=numbers[found],
        whole=cut.array,
    )


def _measured(label: int, cut: CutMask, found: np.ndarray, number: int, box, axis: int) -> Lesion:
    around = tuple(slice(part.start - 1, part.stop + 1) for part in box)  # the frame leaves room for this
    array = found[around] == number
    first = tuple(part.start for part in reversed(around))
    grid = Grid(cut.grid.points(np.array([first]))[0], cut.grid.steps)
    whole_first = tuple(int(a + b) for a, b in zip(first, cut.first))
    indices = np.argwhere(array)[:, ::-1]
    center = indices.mean(axis=0)
    nearest = indices[np.argmin((((indices - center) @ grid.steps.T) ** 2).sum(axis=1))]
    # a lesion in one slice is still a voxel thick: a box has a twelfth of its squared width as variance
    values, axes = np.linalg.eigh(np.cov(indices.T, bias=True).reshape(3, 3))
    spread = (axes * np.maximum(values, 1 / 12)) @ axes.T
    volume = len(indices) * grid.voxel_mm3
    covariance = grid.steps @ spread @ grid.steps.T
    uneven = unevenness(array, covariance, grid.steps)
    variance = partial_volume_variance(volume, covariance, grid.steps) * uneven
    thin = _thinner(covariance, array, grid)
    if thin is not None:
        variance = max(variance, partial_volume_variance(volume, thin, grid.steps, volume_is_sure=False) * uneven)
    return Lesion(
        label=label,
        volume_mm3=volume,
        point=tuple(float(x) for x in grid.points(nearest[None])[0]),
        diameters=measure_diameters(CutMask(array, grid, whole_first), axis),
        variance_mm6=variance,
    )


def _thinner(covariance: np.ndarray, array: np.ndarray, grid: Grid) -> np.ndarray | None:
    """Second moments (mm2) of a lesion in a single slice, if it is no thicker than it is wide; None for others.

    One slice tells nothing of a thickness below two of its own. A lesion that is smaller in the slice than the slice
    is thick was met by chance, and might as well have been missed.
    """
    for axis in range(3):
        if array.any(axis=tuple(a for a in range(3) if a != 2 - axis)).sum() != 1:
            continue
        normal = np.linalg.inv(grid.steps)[axis]
        normal = normal / np.linalg.norm(normal)
        across = float(normal @ covariance @ normal)
        wide = (np.trace(covariance) - across) / 2
        if wide < across:
            return covariance + (wide - across) * np.outer(normal, normal)
    return None
