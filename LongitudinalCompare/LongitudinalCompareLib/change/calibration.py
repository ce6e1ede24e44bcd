"""Known growth put into this patient's own scan, and what the measuring makes of it.

The lesion is scaled about its centroid by the cube root of the factor, so its true volume ratio is the factor exactly.
Each trial makes two scans: the lesion as it is and the lesion grown, each with the head lying a little differently on
the voxel grid. ln(measured ratio) - ln(factor) is the error; its mean is the bias and its standard deviation the
spread of a change measured on scans like this one.

``calibrate_masks`` scales and re-grids the mask: partial volume and voxels, nothing else. ``calibrate_images`` warps
the image as well (what lies around the lesion gives way) and has a segmentation run on it: the measuring as a whole,
but for the scanner and the patient, which a single scan cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from MRISegSuiteLib.errors import BadInput

from .masks import CutMask, Grid, cut_mask
from .uncertainty import Z95

#: Factors of growth that are put in, in turn.
FACTORS = (0.8, 1.25, 0.5, 2.0, 1.0)

#: How differently the head lies in each simulated scan: standard deviation of the angle about each axis, degrees. The
#: shift is any part of a voxel.
POSE_DEGREES = 3.0

#: The image gives way within this many radii of the lesion.
_OUTER_RADII = 2.0


@dataclass(frozen=True)
class CalibrationTrial:
    """ln of the growth that was put in, and of the growth that was measured (NaN where the lesion was not found)."""

    true_log: float
    measured_log: float

    @property
    def error(self) -> float:
        return self.measured_log - self.true_log


@dataclass(frozen=True)
class Calibration:
    """What came out: ``level`` is ``mask`` or ``image``."""

    level: str
    trials: tuple[CalibrationTrial, ...]

    @property
    def errors(self) -> np.ndarray:
        """Errors of the trials in which the lesion was found."""
        errors = np.array([trial.error for trial in self.trials])
        return errors[np.isfinite(errors)]

    @property
    def missed(self) -> int:
        """Trials in which the segmentation did not find the lesion."""
        return len(self.trials) - len(self.errors)

    @property
    def bias(self) -> float:
        """Mean error of ln(V2 / V1)."""
        return float(self.errors.mean()) if len(self.errors) else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation of the error of ln(V2 / V1); NaN with fewer than two trials."""
        return float(self.errors.std(ddof=1)) if len(self.errors) > 1 else math.nan

    @property
    def sentence(self) -> str:
        """Bias and spread in words."""
        what = "mask" if self.level == "mask" else "scan"
        text = (
            f"Known growth put into this {what} {len(self.trials)} times: bias {100 * math.expm1(self.bias):+.1f} %, "
            f"95 % of the errors within ±{100 * math.expm1(Z95 * self.spread):.1f} %"
        )
        return text + (f"; the lesion was missed {self.missed} times." if self.missed else ".")


def calibrate_masks(
    baseline: sitk.Image,
    followup_like: sitk.Image | None = None,
    trials: int = 20,
    factors: Sequence[float] = FACTORS,
    seed: int = 1,
) -> Calibration:
    """Calibration with the mask alone.

    Args:
        baseline: mask in its own grid.
        followup_like: image whose voxels the grown lesion is drawn on; the baseline's where None.
        factors: growth of each trial, in turn.
        seed: of the positions: the same seed gives the same answer.

    Raises:
        BadInput: the mask is empty.
    """
    body, center = _body(cut_mask(baseline))
    random = np.random.default_rng(seed)
    grids = [Grid.of(baseline), Grid.of(followup_like if followup_like is not None else baseline)]
    done = []
    for number in range(trials):
        factor = float(factors[number % len(factors)])
        volumes = [_volume_on(body, center, grid, f, random) for grid, f in zip(grids, (1.0, factor))]
        done.append(_trial(factor, *volumes))
    return Calibration("mask", tuple(done))


def calibrate_images(
    image: sitk.Image,
    mask: sitk.Image,
    segment: Callable[[sitk.Image], sitk.Image],
    trials: int = 5,
    factors: Sequence[float] = FACTORS,
    seed: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Calibration of a segmentation: two simulated scans a trial are segmented and measured.

    Args:
        image: the scan. mask: one lesion in it (of several, the largest is used), on the same grid.
        segment: scan -> mask on the same grid; is called ``2 * trials`` times.
        progress: is told the part that is done, 0 to 1, after each segmentation.

    Raises:
        BadInput: the mask is empty.
    """
    lesion = _largest(cut_mask(mask))
    indices = np.argwhere(lesion.array)[:, ::-1]
    points = lesion.grid.points(indices)
    center = points.mean(axis=0)
    radius = float(np.linalg.norm(points - center, axis=1).max() + np.linalg.norm(lesion.grid.spacing) / 2)
    random = np.random.default_rng(seed)
    noise = noise_sd(sitk.GetArrayViewFromImage(image))
    done = []
    for number in range(trials):
        factor = float(factors[number % len(factors)])
        volumes = []
        for which, f in enumerate((1.0, factor)):
            scan, posed = _simulated(image, center, radius, f, noise, random)
            found = segment(scan)
            volumes.append(_volume_near(found, posed, radius * (f ** (1 / 3) + _outer(f)) / 2))
            if progress:
                progress((2 * number + which + 1) / (2 * trials))
        done.append(_trial(factor, *volumes))
    return Calibration("image", tuple(done))


def noise_sd(array: np.ndarray) -> float:
    """Standard deviation of the noise, from the second differences in the slices [k, j, i] (Immerkaer 1996), robustly,
    in tissue: what is brighter than a tenth of the bright end of the image (air has less noise)."""
    kernel = np.outer([1, -2, 1], [1, -2, 1])[None]
    values = ndimage.convolve(array.astype(np.float32), kernel.astype(np.float32))
    bright = float(np.percentile(array, 99))
    inside = ndimage.minimum_filter((array > 0.1 * bright).astype(np.uint8), (1, 3, 3)) > 0
    if not inside.any():
        return 0.0
    return float(1.4826 * np.median(np.abs(values[inside])) / 6)


def _trial(factor: float, before: float, after: float) -> CalibrationTrial:
    measured = math.log(after / before) if before > 0 and after > 0 else math.nan
    return CalibrationTrial(math.log(factor), measured)


def _body(mask: CutMask) -> tuple[sitk.Image, np.ndarray]:
    """The mask as a signed distance (mm, negative inside) whose zero lies midway between voxels, and its centroid."""
    if not mask.array.any():
        raise BadInput("The mask is empty: there is nothing to calibrate with.", "Give a mask with a lesion.")
    padded = np.pad(mask.array, 2)
    spacing = mask.grid.spacing
    inside = ndimage.distance_transform_edt(padded, spacing[::-1])
    outside = ndimage.distance_transform_edt(~padded, spacing[::-1])
    body = sitk.GetImageFromArray((outside - inside).astype(np.float32))
    body.SetOrigin(mask.grid.points(np.array([[-2, -2, -2]]))[0].tolist())
    body.SetSpacing(spacing.tolist())
    body.SetDirection((mask.grid.steps / spacing).ravel().tolist())
    return body, mask.grid.points(np.argwhere(mask.array)[:, ::-1]).mean(axis=0)


def _volume_on(body: sitk.Image, center, grid: Grid, factor: float, random) -> float:
    """Volume of the scaled body on a grid that lies about it in a random pose, mm3."""
    scale = factor ** (1 / 3)
    size = np.array(body.GetSize()) * np.array(body.GetSpacing())
    reach = scale * np.linalg.norm(size) / 2
    # the box of the body, turned a little, in voxels of this grid
    cosines = np.abs(np.linalg.inv(grid.steps) @ np.array(body.GetDirection()).reshape(3, 3))
    tilt = 4 * math.radians(POSE_DEGREES) * reach / grid.spacing
    count = np.ceil(scale * cosines @ size / 2 + tilt).astype(int) * 2 + 5
    place = sitk.Image([int(n) for n in count], sitk.sitkUInt8)
    place.SetSpacing(grid.spacing.tolist())
    place.SetDirection((grid.steps / grid.spacing).ravel().tolist())
    shift = grid.steps @ random.uniform(-0.5, 0.5, 3)
    place.SetOrigin((center + shift - grid.steps @ ((count - 1) / 2)).tolist())
    pose = sitk.AffineTransform(3)
    pose.SetCenter([float(x) for x in center])
    pose.SetMatrix((_turn(random) / scale).ravel().tolist())
    values = sitk.Resample(body, place, pose, sitk.sitkLinear, 1e6)
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(values) <= 0)) * grid.voxel_mm3


def _turn(random) -> np.ndarray:
    return Rotation.from_rotvec(np.radians(random.normal(0, POSE_DEGREES, 3))).as_matrix()


def _outer(factor: float) -> float:
    """How far the image gives way, in radii of the lesion."""
    return _OUTER_RADII * max(1.0, factor ** (1 / 3))


def _simulated(image: sitk.Image, center, radius: float, factor: float, noise: float, random):
    """A scan in which the lesion has grown and the head lies a little differently, and where the lesion's center is.

    Every voxel is interpolated once (cubic B-spline); noise that this smooths away is put back.
    """
    turn, shift = _turn(random), Grid.of(image).steps @ random.uniform(-0.5, 0.5, 3)
    posed = center + shift
    rigid = sitk.AffineTransform(3)
    rigid.SetMatrix(turn.ravel().tolist())
    rigid.SetTranslation((center - turn @ posed).tolist())
    values = sitk.Cast(image, sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(sitk.Resample(values, image, rigid, sitk.sitkBSpline, 0.0))
    box = _box_around(image, posed, _outer(factor) * radius)
    if box is not None:
        field = _growth_field(box, posed, center, turn, radius, factor)
        warped = sitk.Resample(values, box, sitk.DisplacementFieldTransform(field), sitk.sitkBSpline, 0.0)
        i, j, k = image.TransformPhysicalPointToIndex(box.GetOrigin())
        size = box.GetSize()
        array[k : k + size[2], j : j + size[1], i : i + size[0]] = sitk.GetArrayViewFromImage(warped)
    missing = math.sqrt(max(0.0, noise**2 - noise_sd(array) ** 2))
    array = np.where(array != 0, array + missing * random.standard_normal(array.shape, dtype=np.float32), 0)
    result = sitk.GetImageFromArray(array.astype(np.float32))
    result.CopyInformation(image)
    return result, posed


def _box_around(image: sitk.Image, center, radius: float) -> sitk.Image | None:
    """The part of the image's grid that holds a ball; None where they do not meet."""
    grid = Grid.of(image)
    middle = grid.indices(np.asarray(center)[None])[0]
    reach = radius * np.linalg.norm(np.linalg.inv(grid.steps), axis=1)  # of a ball, along each index axis
    first = np.maximum(np.floor(middle - reach), 0).astype(int)
    last = np.minimum(np.ceil(middle + reach), np.array(image.GetSize()) - 1).astype(int)
    if (last < first).any():
        return None
    return sitk.RegionOfInterest(image, (last - first + 1).tolist(), first.tolist())


def _growth_field(box: sitk.Image, posed, center, turn, radius: float, factor: float) -> sitk.Image:
    """Displacements that take a point of the simulated scan to where its value comes from: scaled about the center
    within the lesion's radius, giving way linearly up to the outer radius, turned as a whole."""
    grid, size = Grid.of(box), box.GetSize()
    i, j, k = np.meshgrid(*[np.arange(n) for n in size], indexing="ij")
    points = grid.points(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    away = (points - posed) @ turn.T
    length = np.linalg.norm(away, axis=1, keepdims=True)
    scale, outer = factor ** (1 / 3), _outer(factor) * radius
    slope = (outer - radius) / (outer - scale * radius)
    source = np.where(length <= scale * radius, length / scale, radius + (length - scale * radius) * slope)
    source = np.where(length >= outer, length, source)
    moved = center + away * (source / np.maximum(length, 1e-9)) - points
    field = sitk.GetImageFromArray(moved.reshape(*size, 3).transpose(2, 1, 0, 3).copy(), isVector=True)
    field.CopyInformation(box)
    return field


def _volume_near(mask: sitk.Image, center, radius: float) -> float:
    """Volume of the mask within a ball: what else was segmented does not count."""
    cut = cut_mask(mask)
    points = cut.grid.points(np.argwhere(cut.array)[:, ::-1])
    near = np.linalg.norm(points - center, axis=1) <= radius
    return float(np.count_nonzero(near)) * cut.grid.voxel_mm3


def _largest(mask: CutMask) -> CutMask:
    found, count = ndimage.label(mask.array, np.ones((3, 3, 3)))
    if not count:
        raise BadInput("The mask is empty: there is nothing to calibrate with.", "Give a mask with a lesion.")
    return CutMask(found == 1 + np.argmax(np.bincount(found.ravel())[1:]), mask.grid, mask.first)
