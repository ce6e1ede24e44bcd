"""What a registration engine is given: the part of a scan that counts, evenly lit, in voxels of one size.

All of this is for registration only. The scan itself is never changed, and nothing is measured in what is made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from .masks import Mask, find_mask, mask_volume_ml

#: Voxel size that engines work at, mm: as fine as the scan, within these bounds. A rigid registration of a
#: head is within some hundredths of a millimeter at them, as some hundred thousand voxels steer six numbers.
FINEST_MM, COARSEST_MM = 1.5, 3.0
_MARGIN_MM = 12.0
_SMOOTH = sitk.RecursiveGaussianImageFilter.ZeroOrder
#: A turn that brings no axis near another.
_ASKEW = Rotation.from_euler("xyz", (11.3, -8.7, 9.9), degrees=True).as_matrix()
_BIAS_GRID_MM, _BIAS_ROUNDS = 5.0, (25, 15)


@dataclass(frozen=True)
class Prepared:
    """One timepoint, ready to be registered.

    Attributes:
        image: float32, isotropic, cut to the mask and a margin; even brightness, 0 to 1. Lies where the scan lies.
        mask: uint8 on its grid: what steers the registration.
        found: the mask on the scan's own grid, and what it is of.
        points: (N, 3) points in the mask (LPS, mm), at which maps are compared.
    """

    image: sitk.Image
    mask: sitk.Image
    found: Mask
    points: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """Center of the mask (LPS, mm)."""
        return self.points.mean(axis=0)


def prepare(
    image: sitk.Image, anatomy: str = "auto", mask: sitk.Image | None = None, left_out: sitk.Image | None = None
) -> Prepared:
    """Make a scan ready for registration.

    Args:
        image: 3D scalar image, any geometry.
        anatomy: see :func:`masks.find_mask`.
        mask: brain or body mask from elsewhere (any grid in the same space), instead of finding one.
        left_out: what must not steer, such as lesions that may have changed (above 0, any grid).

    Raises:
        ValueError: the image or the mask is empty.
    """
    image = sitk.Cast(image, sitk.sitkFloat32)
    if mask is None:
        found = find_mask(image, anatomy)
    else:
        given = sitk.Cast(_onto(mask, image) > 0.5, sitk.sitkUInt8)
        found = Mask(given, "given", mask_volume_ml(given))
    if found.volume_ml == 0:
        raise ValueError("the mask is empty")
    spacing = float(np.clip(np.prod(image.GetSpacing()) ** (1 / 3), FINEST_MM, COARSEST_MM))
    grid = _grid_around(found.image, spacing)
    small = sitk.Resample(_smoothed_for(image, spacing), grid, sitk.Transform(), sitk.sitkLinear, 0.0)
    steering = sitk.Resample(found.image, grid, sitk.Transform(), sitk.sitkLinear, 0, sitk.sitkFloat32) > 0.5
    small = evened(small, sitk.Cast(steering, sitk.sitkUInt8))
    if left_out is not None:
        steering = without(steering, left_out)
    steering = sitk.Cast(steering, sitk.sitkUInt8)
    values = sitk.GetArrayViewFromImage(small)[sitk.GetArrayViewFromImage(steering) > 0]
    low, high = np.percentile(values, (0.5, 99.5))
    small = sitk.Clamp((small - float(low)) / float(max(high - low, 1e-6)), sitk.sitkFloat32, 0.0, 1.0)
    return Prepared(small, steering, found, points_in(steering))


def evened(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """The image without the slow shading of the coil (N4, Tustison et al. 2010), found in the mask, coarsely."""
    lowest = float(np.min(sitk.GetArrayViewFromImage(image)))
    shifted = image - lowest if lowest < 0 else image
    grid = _grid_like(shifted, _BIAS_GRID_MM)
    small = sitk.Resample(_smoothed_for(shifted, _BIAS_GRID_MM), grid, sitk.Transform(), sitk.sitkLinear, 0.0)
    inside = sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0) > 0
    inside = sitk.Cast(inside & (small > 0), sitk.sitkUInt8)
    if np.count_nonzero(sitk.GetArrayViewFromImage(inside)) < 500:
        return shifted  # too little to tell shading from tissue
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(_BIAS_ROUNDS)
    corrector.Execute(small, inside)
    field = sitk.Exp(corrector.GetLogBiasFieldAsImage(small))
    field = sitk.Resample(field, image, sitk.Transform(), sitk.sitkLinear, 1.0, sitk.sitkFloat32)
    return shifted / sitk.Maximum(field, 1e-3)


def without(mask: sitk.Image, left_out: sitk.Image, margin_mm: float = 3.0) -> sitk.Image:
    """The mask without ``left_out`` and a margin; unchanged where that would take more than a third of it."""
    holes = sitk.Resample(sitk.Cast(left_out > 0, sitk.sitkUInt8), mask, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    reach = [max(1, int(round(margin_mm / spacing))) for spacing in mask.GetSpacing()]
    kept = sitk.Cast(mask > 0, sitk.sitkUInt8) * sitk.Cast(sitk.BinaryDilate(holes, reach) == 0, sitk.sitkUInt8)
    before, after = (np.count_nonzero(sitk.GetArrayViewFromImage(one)) for one in (mask, kept))
    return kept if after > 2 / 3 * before else sitk.Cast(mask > 0, sitk.sitkUInt8)


def coarser(prepared: Prepared, spacing_mm: float) -> Prepared:
    """The same in larger voxels, for the search of a start."""
    grid = _grid_like(prepared.image, spacing_mm)
    image = sitk.Resample(_smoothed_for(prepared.image, spacing_mm), grid, sitk.Transform(), sitk.sitkLinear, 0.0)
    mask = sitk.Resample(prepared.mask, grid, sitk.Transform(), sitk.sitkLinear, 0, sitk.sitkFloat32) > 0.5
    return Prepared(image, sitk.Cast(mask, sitk.sitkUInt8), prepared.found, prepared.points)


def turned(prepared: Prepared) -> Prepared:
    """The same on a grid whose axes lie otherwise: the voxels of two such scans coincide nowhere."""
    image, mask = prepared.image, prepared.mask
    axes = _ASKEW @ np.array(image.GetDirection()).reshape(3, 3)
    spacing = image.GetSpacing()[0]
    steps = np.array(mask.GetDirection()).reshape(3, 3) * mask.GetSpacing()
    there = (np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1] @ steps.T + mask.GetOrigin()) @ axes
    low, high = there.min(axis=0) - _MARGIN_MM, there.max(axis=0) + _MARGIN_MM
    grid = sitk.Image([int(n) for n in np.ceil((high - low) / spacing).astype(int) + 1], sitk.sitkFloat32)
    grid.SetSpacing([spacing] * 3)
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin((axes @ low).tolist())
    there = sitk.Resample(mask, grid, sitk.Transform(), sitk.sitkLinear, 0, sitk.sitkFloat32) > 0.5
    return Prepared(
        sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0), sitk.Cast(there, sitk.sitkUInt8),
        prepared.found, prepared.points,
    )  # fmt: skip


def points_in(mask: sitk.Image, count: int = 2000) -> np.ndarray:
    """About ``count`` points spread evenly over a mask (LPS, mm), the same ones at every call."""
    index = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1]
    index = index[:: max(1, len(index) // count)]
    direction = np.array(mask.GetDirection()).reshape(3, 3) * mask.GetSpacing()
    return index @ direction.T + mask.GetOrigin()


def _onto(mask: sitk.Image, image: sitk.Image) -> sitk.Image:
    return sitk.Resample(sitk.Cast(mask > 0, sitk.sitkFloat32), image, sitk.Transform(), sitk.sitkLinear, 0.0)


def _smoothed_for(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Smoothed along the axes that get larger steps, so that nothing aliases."""
    for axis, own in enumerate(image.GetSpacing()):
        if spacing_mm > 1.01 * own and image.GetSize()[axis] >= 4:
            sigma = 0.5 * np.sqrt(spacing_mm**2 - own**2)
            image = sitk.RecursiveGaussian(image, float(sigma), False, _SMOOTH, axis)
    return image


def _grid_around(mask: sitk.Image, spacing_mm: float) -> sitk.Image:
    """An empty isotropic grid on the axes of ``mask`` that holds it and a margin."""
    there = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1]
    spacing = np.array(mask.GetSpacing())
    margin = _MARGIN_MM / spacing
    # Not beyond the image: there is nothing, and the edge would look like an outline.
    low = np.maximum(there.min(axis=0) - margin, 0)
    high = np.minimum(there.max(axis=0) + margin, np.array(mask.GetSize()) - 1)
    return _grid(mask, low, high, spacing_mm)


def _grid_like(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    return _grid(image, np.zeros(3), np.array(image.GetSize()) - 1.0, spacing_mm)


def _grid(image: sitk.Image, low, high, spacing_mm: float) -> sitk.Image:
    """An empty grid between two continuous indices of ``image``, in its middle."""
    lengths = (high - low) * image.GetSpacing()
    size = np.maximum(np.floor(lengths / spacing_mm).astype(int) + 1, 1)
    start = low + ((lengths - (size - 1) * spacing_mm) / 2.0) / image.GetSpacing()
    grid = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(start.tolist()))
    return grid
