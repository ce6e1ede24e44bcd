"""Simulated scans: the patient's own, in which a lesion has grown by a known factor and the head lies differently.

About its centroid the lesion is scaled, out to its reach in each direction; what lies beyond gives way within some
millimeters, and the rest of the head stays. So the true ratio of volumes is the factor exactly, and an uneven lesion
moves no more of the brain than it has to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from MRISegSuiteLib.models.preprocessing import is_cut_out, padding_value

from .masks import CutMask, Grid

#: How differently the head lies in each simulated scan: standard deviation of the angle about each axis, degrees. The
#: shift is any part of a voxel.
POSE_DEGREES = 3.0

#: What lies around a lesion gives way within this, or within this many times what its border moves.
_AROUND_MM, _AROUND_TIMES = 10.0, 3.0
#: No border of a lesion moves further: a brain has no room for more, and one that was cut out shows its outline.
_MOST_MM = 6.0
#: Directions in which a lesion's reach is kept (polar, azimuth), and how wide it is smoothed, degrees.
_TABLE, _WINDOW_DEG, _SMOOTH_DEG = (61, 120), 15.0, 6.0


@dataclass(frozen=True)
class Reach:
    """A lesion's centroid (LPS, mm), and how far it reaches from there: a table over polar angle (rows, 0 to pi) and
    azimuth (columns, from -pi), mm. No voxel of the lesion lies beyond."""

    center: np.ndarray
    table: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, lesion: CutMask) -> Reach:
        """The reach of a mask."""
        points = lesion.grid.points(np.argwhere(lesion.array)[:, ::-1])
        center = points.mean(axis=0)
        away = points - center
        length = np.linalg.norm(away, axis=1) + np.linalg.norm(lesion.grid.spacing) / 2
        row, column = _places(away)
        table = np.zeros(_TABLE)
        np.maximum.at(table, (np.rint(row).astype(int), np.rint(column).astype(int) % _TABLE[1]), length)
        # Widest in a window, then smoothed over less than the window: never below the lesion, and without steps.
        step = 180.0 / (_TABLE[0] - 1)
        table = _on_sphere(table, _WINDOW_DEG / step, ndimage.maximum_filter1d)
        return cls(center, _on_sphere(table, _SMOOTH_DEG / step, ndimage.uniform_filter1d))

    def along(self, away: np.ndarray) -> np.ndarray:
        """Reach (mm) in the directions of vectors (n, 3)."""
        row, column = _places(away)
        # One more column: what lies between the last and the first.
        return ndimage.map_coordinates(np.hstack([self.table, self.table[:, :1]]), (row, column), order=1)

    @property
    def largest(self) -> float:
        return float(self.table.max())

    def possible(self, factor: float) -> float:
        """The factor, or the nearest to it for which no border moves further than is sensible."""
        most = 3 * math.log1p(_MOST_MM / self.largest)
        return math.exp(float(np.clip(math.log(factor), -most, most)))


def _places(away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (fractions) of directions in a table."""
    length = np.maximum(np.linalg.norm(away, axis=1), 1e-9)
    polar = np.arccos(np.clip(away[:, 2] / length, -1, 1))
    azimuth = np.arctan2(away[:, 1], away[:, 0])
    return polar / np.pi * (_TABLE[0] - 1), (azimuth + np.pi) / (2 * np.pi) * _TABLE[1]


def _on_sphere(table: np.ndarray, half_width: float, along_axis) -> np.ndarray:
    """A filter of that half width (rows) on a table over the sphere; columns get wider towards the poles."""
    size = 2 * math.ceil(half_width) + 1
    columns = _TABLE[1]
    result = np.empty_like(table)
    for row in range(_TABLE[0]):
        wide = math.ceil(size / max(math.sin(math.pi * row / (_TABLE[0] - 1)), size / columns))
        result[row] = along_axis(table[row], min(wide | 1, columns | 1), mode="wrap")
    # Over a pole the table goes on half a turn further.
    pad = size // 2
    over = np.roll(result, columns // 2, axis=1)
    padded = np.vstack([over[pad:0:-1], result, over[-2 : -pad - 2 : -1]])
    return along_axis(padded, size, axis=0, mode="nearest")[pad:-pad]


@dataclass(frozen=True)
class Pose:
    """How the head lies in a simulated scan: turned, and with the lesion's centroid at ``center`` (LPS, mm)."""

    turn: np.ndarray
    center: np.ndarray

    @classmethod
    def drawn(cls, center: np.ndarray, grid: Grid, random) -> Pose:
        """At random: a little turned, any part of a voxel aside."""
        return cls(turn(random), center + grid.steps @ random.uniform(-0.5, 0.5, 3))


def turn(random) -> np.ndarray:
    """A small random rotation (3 x 3)."""
    return Rotation.from_rotvec(np.radians(random.normal(0, POSE_DEGREES, 3))).as_matrix()


def outer(reach: np.ndarray, factor: float) -> np.ndarray:
    """How far from the centroid the scan gives way (mm), where the lesion reaches ``reach``."""
    scale = factor ** (1 / 3)
    return max(scale, 1.0) * reach + np.maximum(_AROUND_MM, _AROUND_TIMES * abs(scale - 1) * reach)


def simulated(image: sitk.Image, reach: Reach, factor: float, pose: Pose, noise: float, random) -> sitk.Image:
    """The scan in that pose with the lesion grown, float32 on the scan's own grid.

    Every voxel is interpolated once (cubic B-spline); what this smooths away of the scan's ``noise`` (see
    :func:`noise_sd`) is put back. Where a brain was cut out, what is around it keeps its one value.
    """
    values = sitk.Cast(image, sitk.sitkFloat32)
    original = sitk.GetArrayViewFromImage(values)
    rigid = sitk.AffineTransform(3)
    rigid.SetMatrix(pose.turn.ravel().tolist())
    rigid.SetTranslation((reach.center - pose.turn @ pose.center).tolist())
    around = padding_value(original) if is_cut_out(original) else None
    seen = _on(original if around is None else np.abs(original - around) > 1e-6 * np.ptp(original), values)
    if around is None:
        seen = seen * 0 + 1  # what no voxel of the scan shows is left out all the same

    def resampled(grid, transform):
        shown = sitk.Resample(seen, grid, transform, sitk.sitkLinear, 0.0)
        there = sitk.Resample(values, grid, transform, sitk.sitkBSpline, float(around or 0.0))
        return sitk.GetArrayFromImage(there), sitk.GetArrayFromImage(shown) > 0.5

    array, inside = resampled(image, rigid)
    box = _box_around(image, pose.center, float(outer(reach.table, factor).max()))
    if box is not None:
        warp = sitk.DisplacementFieldTransform(_growth_field(box, reach, factor, pose))
        i, j, k = image.TransformPhysicalPointToIndex(box.GetOrigin())
        part = tuple(slice(a, a + n) for a, n in zip((k, j, i), box.GetSize()[::-1]))
        array[part], inside[part] = resampled(box, warp)
    missing = math.sqrt(max(0.0, noise**2 - noise_sd(np.where(inside, array, 0)) ** 2))
    array += missing * random.standard_normal(array.shape, dtype=np.float32)
    return _on(np.where(inside, array, float(around or 0.0)), image)


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


def _on(array: np.ndarray, like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(array, np.float32))
    image.CopyInformation(like)
    return image


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


def _growth_field(box: sitk.Image, reach: Reach, factor: float, pose: Pose) -> sitk.Image:
    """Displacements that take a point of the simulated scan to where its value comes from."""
    grid, size = Grid.of(box), box.GetSize()
    i, j, k = np.meshgrid(*[np.arange(n) for n in size], indexing="ij")
    points = grid.points(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    away = (points - pose.center) @ pose.turn.T
    length = np.linalg.norm(away, axis=1)
    scale, radius = factor ** (1 / 3), reach.along(away)
    end = outer(radius, factor)
    giving = radius + (length - scale * radius) * (end - radius) / (end - scale * radius)
    source = np.where(length <= scale * radius, length / scale, np.where(length >= end, length, giving))
    moved = reach.center + away * (source / np.maximum(length, 1e-9))[:, None] - points
    field = sitk.GetImageFromArray(moved.reshape(*size, 3).transpose(2, 1, 0, 3).copy(), isVector=True)
    field.CopyInformation(box)
    return field
