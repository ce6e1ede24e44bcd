"""Where the timepoints lie in the space between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .lesions import TimepointLesions
from .masks import Grid

#: The common grid gets no more voxels than this; it becomes coarser instead.
_MOST_VOXELS = 3_000_000


@dataclass(frozen=True)
class Alignment:
    """Rigid transforms from a common (halfway) space to each of two timepoints.

    Attributes:
        to_baseline, to_followup: take a point of the common space (LPS, mm) to the same place in that timepoint, as
            ``sitk.Resample`` wants them.
        error_mm: how far the registration may be off, e.g. its inverse consistency error.
        volume_ratio: determinant of the affine from baseline to follow-up that the registration found for diagnosis,
            1.01 where the head is 1 % larger at follow-up; None where it is not known.
    """

    to_baseline: sitk.Transform
    to_followup: sitk.Transform
    error_mm: float = 0.0
    volume_ratio: float | None = None

    def __post_init__(self):
        if not (math.isfinite(self.error_mm) and self.error_mm >= 0):
            raise ValueError(f"the registration error must be 0 mm or more, not {self.error_mm}")
        if self.volume_ratio is not None and not self.volume_ratio > 0:
            raise ValueError(f"the volume ratio must be positive, not {self.volume_ratio}")

    def swapped(self) -> Alignment:
        """The same with baseline and follow-up exchanged."""
        ratio = None if self.volume_ratio is None else 1 / self.volume_ratio
        return Alignment(self.to_followup, self.to_baseline, self.error_mm, ratio)


def common_grid(baseline: TimepointLesions, followup: TimepointLesions, alignment: Alignment) -> sitk.Image:
    """An empty image of cubic voxels in the common space that holds both masks, along the axes of LPS.

    It does not depend on which of the two comes first.
    """
    corners = [
        _in_common(_corners(one.grid, one.whole.shape), to)
        for one, to in ((baseline, alignment.to_baseline), (followup, alignment.to_followup))
        if one.volume_mm3 > 0
    ]
    spacing = float(min(baseline.grid.spacing.min(), followup.grid.spacing.min()))
    if not corners:
        grid = sitk.Image(3, 3, 3, sitk.sitkUInt8)
        grid.SetSpacing([spacing] * 3)
        return grid
    low, high = np.concatenate(corners).min(axis=0), np.concatenate(corners).max(axis=0)
    spacing = max(spacing, float(np.prod(high - low) / _MOST_VOXELS) ** (1 / 3))
    size = np.ceil((high - low) / spacing).astype(int) + 3
    grid = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    grid.SetSpacing([spacing] * 3)
    grid.SetOrigin([float(x) for x in (low + high) / 2 - (size - 1) * spacing / 2])
    return grid


@dataclass(frozen=True)
class InCommonSpace:
    """Lesion numbers of both timepoints on one grid of cubic voxels, [k, j, i]; -1 for what is too small to be one."""

    spacing_mm: float
    baseline: np.ndarray
    followup: np.ndarray


def in_common_space(baseline: TimepointLesions, followup: TimepointLesions, alignment: Alignment) -> InCommonSpace:
    """Both masks moved into the common space in the same way: once, nearest neighbor."""
    grid = common_grid(baseline, followup, alignment)
    return InCommonSpace(
        grid.GetSpacing()[0],
        _labels_on(grid, baseline, alignment.to_baseline),
        _labels_on(grid, followup, alignment.to_followup),
    )


def _labels_on(grid: sitk.Image, lesions: TimepointLesions, transform: sitk.Transform) -> np.ndarray:
    image = sitk.GetImageFromArray(np.where(lesions.whole & (lesions.labels == 0), -1, lesions.labels))
    spacing = lesions.grid.spacing
    image.SetOrigin(lesions.grid.origin.tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lesions.grid.steps / spacing).ravel().tolist())
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkNearestNeighbor, 0))


def _corners(grid: Grid, shape) -> np.ndarray:
    ends = [(0, n - 1) for n in reversed(shape)]
    return grid.points(np.array([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]]))


def _in_common(points: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    back = transform.GetInverse()
    return np.array([back.TransformPoint([float(x) for x in point]) for point in points])
