"""Known growth put into this patient's own scan, and what the measuring makes of it.

The lesion is scaled about its centroid by the cube root of the factor, so its true volume ratio is the factor exactly.
Each trial makes two scans: the lesion as it is and the lesion grown, each with the head lying a little differently on
the voxel grid. ln(measured ratio) - ln(factor) is the error; its mean is the bias and its standard deviation the
spread of a change measured on scans like this one.

``calibrate_masks`` scales and re-grids the mask: partial volume and voxels, nothing else. ``calibrate_images`` warps
the scan as well (:mod:`.injection`) and has a segmentation run on it: the measuring as a whole, but for the scanner
and the patient, which a single scan cannot tell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MRISegSuiteLib.errors import BadInput

from .injection import POSE_DEGREES, Pose, Reach, noise_sd, outer, simulated, turn
from .masks import CutMask, Grid, cut_mask
from .uncertainty import Z95

#: Factors of growth that are put in, in turn.
FACTORS = (0.8, 1.25, 0.5, 2.0, 1.0)


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
    """What came out: ``level`` is ``mask`` or ``image``; ``seconds``: what it took."""

    level: str
    trials: tuple[CalibrationTrial, ...]
    seconds: float = field(default=0.0, compare=False)

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
    scans: Sequence[sitk.Image],
    mask: sitk.Image,
    segment: Callable[[list[sitk.Image], int], sitk.Image],
    trials: int = 5,
    factors: Sequence[float] = FACTORS,
    seed: int = 1,
) -> Calibration:
    """Calibration of a segmentation: two simulated scans a trial are segmented and measured.

    Args:
        scans: the contrasts of one session, each on a grid of its own. mask: a lesion in them (of several, the
            largest is used).
        segment: simulated scans and the number of the simulation (from 0) -> mask; is called ``2 * trials`` times.
        factors: growth of each trial, in turn; less where so much would not fit into the head.

    Raises:
        BadInput: the mask is empty.
    """
    begin = time.monotonic()
    reach = Reach.of(_largest(cut_mask(mask)))
    noises = [noise_sd(sitk.GetArrayViewFromImage(scan)) for scan in scans]
    random = np.random.default_rng(seed)
    done = []
    for number in range(trials):
        factor = reach.possible(float(factors[number % len(factors)]))
        volumes = []
        for which, f in enumerate((1.0, factor)):
            pose = Pose.drawn(reach.center, Grid.of(scans[0]), random)
            made = [simulated(scan, reach, f, pose, noise, random) for scan, noise in zip(scans, noises)]
            volumes.append(_volume_near(segment(made, 2 * number + which), reach, f, pose))
        done.append(_trial(factor, *volumes))
    return Calibration("image", tuple(done), time.monotonic() - begin)


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
    pose.SetMatrix((turn(random) / scale).ravel().tolist())
    values = sitk.Resample(body, place, pose, sitk.sitkLinear, 1e6)
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(values) <= 0)) * grid.voxel_mm3


def _volume_near(mask: sitk.Image, reach: Reach, factor: float, pose: Pose) -> float:
    """Volume of the mask near the lesion, mm3: what else was segmented does not count."""
    cut = cut_mask(mask)
    away = (cut.grid.points(np.argwhere(cut.array)[:, ::-1]) - pose.center) @ pose.turn.T
    radius = reach.along(away)
    near = np.linalg.norm(away, axis=1) <= (factor ** (1 / 3) * radius + outer(radius, factor)) / 2
    return float(np.count_nonzero(near)) * cut.grid.voxel_mm3


def _largest(mask: CutMask) -> CutMask:
    found, count = ndimage.label(mask.array, np.ones((3, 3, 3)))
    if not count:
        raise BadInput("The mask is empty: there is nothing to calibrate with.", "Give a mask with a lesion.")
    return CutMask(found == 1 + np.argmax(np.bincount(found.ravel())[1:]), mask.grid, mask.first)
