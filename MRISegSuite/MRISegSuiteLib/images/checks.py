"""Is it a knee MR volume? Refuse what cannot be, warn of what is doubtful."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import WrongContent
from .canonical import index_to_lps
from .reading import Volume, require_numbers, spacing_sentence

#: Limits of voxel spacing (mm): beyond them the unit or the header is wrong.
SPACING_LIMITS_MM = (0.05, 10.0)

#: Smallest field of view (mm) in which a knee joint can lie: the shortest and the two longer sides.
SMALLEST_FIELD_MM = (40.0, 70.0)

#: An image with no more different values than this is a label map.
MOST_LABELS = 16

#: Knee coils image less than this (mm) in the shortest direction; a head or a body is larger.
LARGEST_SHORT_SIDE_MM = 200.0


def check_knee_volume(volume: Volume, path="the image") -> list[str]:
    """Warnings about a scan that shall be segmented as a knee.

    Raises:
        WrongContent: not 3D, NaN or infinite voxels, constant, a label map, absurd spacing, far too small.
    """
    image = volume.image
    if image.GetDimension() != 3 or min(image.GetSize()) < 2:
        raise WrongContent(
            f"{path} is not a 3D volume ({' x '.join(map(str, image.GetSize()))}).", "Give the whole series."
        )
    _check_spacing(image, path)
    warnings = _check_field_of_view(image, path)
    array = sitk.GetArrayViewFromImage(image)
    require_numbers(array, path)
    low, high = float(array.min()), float(array.max())
    if low == high:
        raise WrongContent(f"{path} is constant: every voxel is {low:g}.", "Give the scan itself; this one is empty.")
    count = _different_values(array)
    if count <= MOST_LABELS:
        raise WrongContent(
            f"{path} holds only {count} different values: a label map or mask, not a scan.",
            "Give it as the segmentation (command line: --segmentation FILE), or give the scan.",
        )
    slice_distance = max(image.GetSpacing())
    if slice_distance > 2.0:
        warnings.append(
            f"{path}: slices lie {slice_distance:.3g} mm apart; cartilage of 2 mm falls between slices and its "
            "thickness there is interpolated."
        )
    if volume.info.get("modality") not in (None, "MR"):
        warnings.append(f"{path} is {volume.info['modality']}, not MR: the model has not been made for it.")
    return warnings


def check_on_scan(labels: sitk.Image, scan: sitk.Image) -> list[str]:
    """Warnings about a segmentation of which a part lies outside of the scan that it comes with.

    Raises:
        WrongContent: nothing of it lies in the scan.
    """
    index = np.argwhere(sitk.GetArrayViewFromImage(labels)[::2, ::2, ::2] > 0)[:, ::-1] * 2
    if not len(index):
        return []
    to_scan = np.linalg.inv(index_to_lps(scan)) @ index_to_lps(labels)
    place = index @ to_scan[:3, :3].T + to_scan[:3, 3]
    inside = np.mean(((place > -0.51) & (place < np.array(scan.GetSize()) - 0.49)).all(axis=1))
    if inside == 0.0:
        raise WrongContent(
            "Nothing of the segmentation lies in the scan.",
            "Give the scan that was segmented; or leave it out, and the segmentation alone is measured.",
        )
    if inside < 0.98:
        return [f"Only {100 * inside:.0f} % of the segmentation lies in the scan: do they belong together?"]
    return []


def _different_values(array: np.ndarray) -> int:
    """Number of different values; for a scan that of a sample, as sorting all of it takes seconds."""
    sample = len(np.unique(array[::2, ::7, ::7]))
    return sample if sample > MOST_LABELS else len(np.unique(array))


def _check_spacing(image: sitk.Image, path) -> None:
    spacing = np.array(image.GetSpacing())
    if not np.isfinite(spacing).all() or spacing.min() < SPACING_LIMITS_MM[0] or spacing.max() > SPACING_LIMITS_MM[1]:
        raise WrongContent(
            f"{path} has {spacing_sentence(image)}: no MR scan has such voxels.",
            "Its unit may be wrong (meters, micrometers): correct the header or export it again.",
        )


def _check_field_of_view(image: sitk.Image, path) -> list[str]:
    lengths = [size * spacing for size, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    sides = sorted(lengths)
    text = " x ".join(f"{length:.0f}" for length in lengths) + " mm"
    if sides[0] < SMALLEST_FIELD_MM[0] or sides[1] < SMALLEST_FIELD_MM[1]:
        raise WrongContent(
            f"{path} covers {text} only: a knee joint does not fit in.",
            "Give the scan of the whole joint; or check its voxel spacing.",
        )
    if sides[0] > LARGEST_SHORT_SIDE_MM:
        return [f"{path} covers {text}, more than a knee scan does: is it a knee?"]
    return []
