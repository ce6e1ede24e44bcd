"""Masks as arrays with their geometry: the part of the image that holds the mask, and points in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.measures.surface_distance import bounding_box


@dataclass(frozen=True)
class Grid:
    """A voxel grid in space (LPS, mm). Indices are (i, j, k); arrays below are [k, j, i].

    Attributes:
        origin: center of voxel (0, 0, 0).
        steps: 3 x 3, column n is the step in mm when index n grows by one (direction cosines times spacing).
    """

    origin: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, image: sitk.Image, first: tuple[int, int, int] = (0, 0, 0)) -> Grid:
        """The grid of an image, counted from voxel ``first`` (i, j, k)."""
        direction = np.array(image.GetDirection()).reshape(3, 3)
        steps = direction * np.array(image.GetSpacing())
        return cls(np.array(image.GetOrigin()) + steps @ np.array(first, float), steps)

    @property
    def spacing(self) -> np.ndarray:
        """Distance of neighboring voxels along i, j and k, mm."""
        return np.linalg.norm(self.steps, axis=0)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel (the determinant: right for sheared grids as well)."""
        return float(abs(np.linalg.det(self.steps)))

    def points(self, indices: np.ndarray) -> np.ndarray:
        """Points (LPS, mm) of indices (n, 3) in the order i, j, k; fractions are allowed."""
        return self.origin + np.asarray(indices, float) @ self.steps.T

    def indices(self, points: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`points`."""
        return np.linalg.solve(self.steps, (np.asarray(points, float) - self.origin).T).T


@dataclass(frozen=True)
class CutMask:
    """The box of an image that holds its mask: ``array`` is boolean [k, j, i], with a frame of background voxels of
    its own, so that nothing touches the border; ``first`` is the index (i, j, k) of its first voxel in the image."""

    array: np.ndarray
    grid: Grid
    first: tuple[int, int, int] = (0, 0, 0)

    @property
    def volume_mm3(self) -> float:
        return float(np.count_nonzero(self.array)) * self.grid.voxel_mm3


def cut_mask(mask: sitk.Image) -> CutMask:
    """The smallest box around everything that is not zero, one voxel of background around it; 3 x 3 x 3 background
    voxels where the mask is empty.

    Raises:
        ValueError: not a scalar 3D image.
    """
    if mask.GetDimension() != 3 or mask.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError("a mask is a 3D image with one value a voxel")
    array = sitk.GetArrayViewFromImage(mask)
    box = bounding_box(array)
    if box is None:
        return CutMask(np.zeros((3, 3, 3), bool), Grid.of(mask))
    inside = np.pad(array[box] != 0, 1)
    first = tuple(part.start - 1 for part in reversed(box))
    return CutMask(inside, Grid.of(mask, first), first)


def native_volume_mm3(mask: sitk.Image) -> float:
    """Volume of a mask in its own grid: count of voxels times the volume of one. Nothing is resampled."""
    array = sitk.GetArrayViewFromImage(mask)
    return float(np.count_nonzero(array)) * Grid.of(mask).voxel_mm3
