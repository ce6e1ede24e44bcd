"""The space in the middle of all timepoints: its grid, and every image brought onto it once, in the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.canonical import to_canonical

from .rigid import nearest_rigid, transform_of

#: The grid gets no more voxels than this; it becomes coarser instead.
MOST_VOXELS = 20_000_000


def common_grid(images: Sequence[sitk.Image], from_common: Sequence[np.ndarray]) -> sitk.Image:
    """An empty grid that holds all images in the common space.

    Its axes are the mean of the images' own (in the order nearest to L, P, S), its spacing along each is the finest of
    theirs. It does not depend on the order of the images.

    Args:
        images: native, any geometry.
        from_common: for each the (4, 4) matrix that takes points of the common space to its points (LPS, mm).
    """
    ordered = [to_canonical(image, "LPS") for image in images]
    backs = [np.linalg.inv(matrix) for matrix in from_common]
    directions = [
        back[:3, :3] @ np.array(image.GetDirection()).reshape(3, 3) for image, back in zip(ordered, backs, strict=True)
    ]
    mean = np.eye(4)
    mean[:3, :3] = np.sum(directions, axis=0)
    axes = nearest_rigid(mean)[:3, :3]
    spacing = np.min([image.GetSpacing() for image in ordered], axis=0)
    corners = np.concatenate([_corners(image, back) for image, back in zip(ordered, backs, strict=True)]) @ axes
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = spacing * max(1.0, (np.prod((high - low) / spacing) / MOST_VOXELS) ** (1 / 3))
    size = np.maximum(np.ceil((high - low) / spacing - 1e-6).astype(int) + 1, 1)
    start = (low + high) / 2 - (size - 1) * spacing / 2
    grid = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin((axes @ start).tolist())
    return grid


def into_common_space(
    image: sitk.Image, grid: sitk.Image, from_common: np.ndarray, labels: bool = False
) -> sitk.Image:
    """An image on the common grid: interpolated once (linear; ``labels``: nearest neighbor), 0 where it has none."""
    how = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    kind = image.GetPixelID() if labels else sitk.sitkFloat32
    return sitk.Resample(image, grid, transform_of(from_common), how, 0, kind)


def _corners(image: sitk.Image, back: np.ndarray) -> np.ndarray:
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in image.GetSize()], indexing="ij")).reshape(3, -1).T
    steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    points = ends @ steps.T + image.GetOrigin()
    return points @ back[:3, :3].T + back[:3, 3]
