"""Where the image itself changed: two aligned scans matched in intensity, subtracted and scaled by their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.canonical import same_grid

#: Normal distribution: standard deviation = this times the median absolute deviation.
_MAD = 1.4826
#: Voxels further than this many standard deviations apart do not take part in matching.
_TRIM, _ROUNDS = 2.5, 8
_FEWEST_VOXELS = 1000


@dataclass(frozen=True)
class IntensityMatch:
    """Straight lines that bring both scans to a common scale: ``(value - center) / scale`` for each."""

    baseline_center: float
    baseline_scale: float
    followup_center: float
    followup_scale: float
    kept: float


@dataclass(frozen=True)
class IntensityChange:
    """The map and what went into it.

    Attributes:
        z: follow-up minus baseline over the noise at that place, 0 outside of the mask; swapping the scans negates it.
        difference: the same in units of the common scale, not divided by the noise.
        noise: standard deviation of the difference where the image is smooth, on the common scale.
        match: how the intensities were matched.
    """

    z: sitk.Image
    difference: sitk.Image
    noise: float
    match: IntensityMatch


def intensity_change(
    baseline: sitk.Image,
    followup: sitk.Image,
    mask: sitk.Image,
    registration_error_mm: float = 0.0,
    smoothing_mm: float = 0.0,
) -> IntensityChange:
    """The change map of two scans of the same contrast.

    A misregistration of e mm makes differences of e times the gradient along every border; they are counted as noise
    there, so that borders do not light up.

    Args:
        baseline, followup: resampled once each into the common space, on one grid.
        mask: where both are valid, e.g. the overlap of the brain masks; on the same grid.
        registration_error_mm: along each axis.
        smoothing_mm: standard deviation of a Gaussian that smooths the difference before it is scaled.

    Raises:
        BadInput: the grids differ, the mask is too small, or a scan is constant inside it.
    """
    if not (same_grid(baseline, followup) and same_grid(baseline, mask)):
        raise BadInput("The two scans and the mask are not on one grid.", "Resample them into the common space first.")
    inside = sitk.GetArrayViewFromImage(mask) != 0
    if np.count_nonzero(inside) < _FEWEST_VOXELS:
        raise BadInput(
            f"The mask holds {np.count_nonzero(inside)} voxels only; {_FEWEST_VOXELS} are needed to match the scans.",
            "Check the brain masks and the registration.",
        )
    first = sitk.GetArrayFromImage(baseline).astype(np.float32)
    second = sitk.GetArrayFromImage(followup).astype(np.float32)
    match = match_intensities(first[inside], second[inside])
    first = (first - match.baseline_center) / match.baseline_scale
    second = (second - match.followup_center) / match.followup_scale
    spacing = baseline.GetSpacing()[::-1]
    difference = np.where(inside, second - first, 0)
    if smoothing_mm > 0:
        difference = _smoothed_inside(difference, inside, [smoothing_mm / s for s in spacing])
    steepness = _gradient_magnitude((first + second) / 2, spacing)
    smooth = inside & (steepness <= np.median(steepness[inside]))
    noise = _MAD * float(np.median(np.abs(difference[smooth] - np.median(difference[smooth]))))
    if noise <= 0:
        noise = float(np.finfo(np.float32).eps)  # identical scans: nothing differs, nothing lights up
    z = np.where(inside, difference / np.sqrt(noise**2 + (registration_error_mm * steepness) ** 2), 0)
    return IntensityChange(_image(z, baseline), _image(difference, baseline), noise, match)


def match_intensities(first: np.ndarray, second: np.ndarray) -> IntensityMatch:
    """Center and scale of both, from the voxels that did not change.

    Starts with median and MAD; then, in rounds, voxels whose standardized values differ by more than 2.5 robust
    standard deviations are left out and mean and standard deviation of the rest taken (the line of least products,
    which treats both scans alike).

    Raises:
        BadInput: one is constant.
    """
    centers = [float(np.median(v)) for v in (first, second)]
    scales = [_MAD * float(np.median(np.abs(v - c))) for v, c in zip((first, second), centers)]
    kept = 1.0
    for round_ in range(_ROUNDS):
        if min(scales) <= 0:
            raise BadInput("A scan is constant inside the mask.", "Check the scans and the mask.")
        apart = (second - centers[1]) / scales[1] - (first - centers[0]) / scales[0]
        off = np.abs(apart - np.median(apart))
        keep = off <= max(_TRIM * _MAD * float(np.median(off)), 1e-6)
        kept, before = float(keep.mean()), kept
        centers = [float(v[keep].mean()) for v in (first, second)]
        scales = [float(v[keep].std()) for v in (first, second)]
        if round_ and abs(kept - before) < 1e-4:
            break
    return IntensityMatch(centers[0], scales[0], centers[1], scales[1], kept)


def _gradient_magnitude(array: np.ndarray, spacing) -> np.ndarray:
    return np.sqrt(sum(np.gradient(array, s, axis=axis) ** 2 for axis, s in enumerate(spacing)))


def _smoothed_inside(array: np.ndarray, inside: np.ndarray, sigma) -> np.ndarray:
    """Gaussian mean of the voxels inside: nothing leaks in from outside."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(array * inside, sigma)
    return np.where(inside, smooth / np.maximum(weight, 1e-6), 0)


def _image(array: np.ndarray, like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.CopyInformation(like)
    return image
