"""Clicks and boxes that change a mask: what a person points at, where it lies, what becomes of the mask.

A positive prompt only adds and a negative one only removes, and only what hangs together with the place that was
pointed at: nothing changes where nobody looked. Places are points of the world (LPS, mm), so the grid may be oblique
or anisotropic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter1d, label

from MRISegSuiteLib.errors import BadArguments

from .local_region import BlockGrid, box_around
from .random_walker import FIXED, random_walker

#: A click changes nothing that lies farther away (mm).
REACH_MM = 30.0
#: What a model that wants to see the surroundings is shown around a click (mm).
_WIDE_MM = 60.0
_SEED_MM = 1.5  # radius of what a click surely means
_NEAR_MM = 3.0  # radius in which a click samples the gray values
_BINS = 48
_GRAY_WEIGHT = 0.15  # of the gray values as a prior, 1/mm2
_MASK_WEIGHT = 0.10  # of the present mask at the limit of the reach, 1/mm2; it grows with the square of the distance


@dataclass(frozen=True)
class Click:
    """A place that belongs to the structure (``positive``) or does not. ``point``: LPS, mm."""

    point: tuple[float, float, float]
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """Two opposite corners (LPS, mm) of a box along the axes of the image that just holds the structure
    (``positive``) or what does not belong to it."""

    corners: tuple[tuple[float, float, float], tuple[float, float, float]]
    positive: bool = True


@dataclass(frozen=True)
class Change:
    """What a prompt changed: the new mask within a box of the array (k, j, i), and the number of changed voxels."""

    box: tuple[slice, slice, slice]
    mask: np.ndarray
    changed: int


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array lie.

    Attributes:
        shape: voxels along k, j, i. spacing: mm along k, j, i.
        ijk_to_lps: 4x4.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    ijk_to_lps: np.ndarray

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid of an image."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        matrix[:3, 3] = image.GetOrigin()
        return cls(image.GetSize()[::-1], image.GetSpacing()[::-1], matrix)

    def index(self, point: Sequence[float]) -> np.ndarray:
        """The continuous index (k, j, i) of a point (LPS, mm)."""
        return np.linalg.solve(self.ijk_to_lps, [*map(float, point), 1.0])[2::-1]

    def point(self, index: Sequence[float]) -> np.ndarray:
        """The point (LPS, mm) of a continuous index (k, j, i)."""
        return (self.ijk_to_lps @ [*map(float, index[::-1]), 1.0])[:3]

    def holds(self, index: np.ndarray) -> bool:
        """Whether a continuous index lies in a voxel."""
        return bool((index >= -0.5).all() and (index <= np.array(self.shape) - 0.5).all())


@dataclass(frozen=True)
class Task:
    """A prompt on a part of an array: what :func:`solve` needs beside the part's voxels.

    Attributes:
        box: the part (k, j, i).
        low, high: ends of what was pointed at, indices (k, j, i) within the part; the same for a click.
        positive, is_box: of the prompt.
        spacing: of the part, mm along k, j, i.
        earlier: index within the part, and whether positive, of clicks made before.
        direction: of the axes i, j, k (LPS, row-major 3x3, orthonormal).
    """

    box: tuple[slice, slice, slice]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    positive: bool
    is_box: bool
    spacing: tuple[float, float, float]
    earlier: tuple = ()
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def narrow(self) -> Task:
        """The same prompt on what :func:`plan` would cut out without ``wide``; its ``box`` counts from this part."""
        shape = [side.stop - side.start for side in self.box]
        margin = _margin(self.low, self.high, self.spacing, self.is_box)
        box = box_around(np.subtract(self.low, margin), np.add(self.high, margin), shape)
        start = np.array([side.start for side in box])

        def moved(index):
            return tuple(float(i) for i in np.subtract(index, start))

        earlier = tuple((moved(index), positive) for index, positive in self.earlier
                        if _inside(moved(index), box))
        return replace(self, box=box, low=moved(self.low), high=moved(self.high), earlier=earlier)

    def to_record(self) -> dict:
        """As JSON values."""
        return vars(self) | {"box": [[side.start, side.stop] for side in self.box]}

    @classmethod
    def from_record(cls, record: dict) -> Task:
        """The inverse of :meth:`to_record`."""
        return cls(**record | {"box": tuple(slice(*ends) for ends in record["box"])})


def box_between(grid: Grid, first: Sequence[float], second: Sequence[float], positive: bool = True) -> Box:
    """The box with two corners (LPS, mm) that a person pointed at. Along an axis of the image on which they hardly
    differ (both were made in one slice) it is as long as on the mean of the others, half to each side."""
    spacing = np.array(grid.spacing)
    ends = np.sort([grid.index(first), grid.index(second)], axis=0)
    lengths = (ends[1] - ends[0]) * spacing
    flat = lengths < np.maximum(1.5 * spacing, 0.1 * lengths.max())
    if flat.any() and not flat.all():
        middle, half = ends.mean(axis=0), lengths[~flat].mean() / spacing / 2
        ends[0], ends[1] = np.where(flat, middle - half, ends[0]), np.where(flat, middle + half, ends[1])
    return Box((tuple(grid.point(ends[0])), tuple(grid.point(ends[1]))), positive)


def refine(image: sitk.Image, mask: sitk.Image, prompt: Click | Box, earlier: Sequence[Click] = ()) -> Change:
    """The mask after one more prompt.

    Args:
        image: gray values.
        mask: the structure so far, non-zero is inside, on the grid of the image; not changed.
        prompt: the new click or box.
        earlier: clicks made before, which the answer respects.

    Raises:
        BadArguments: the prompt lies outside of the image, or the mask is on another grid.
    """
    if mask.GetSize() != image.GetSize():
        raise BadArguments("The mask is not on the grid of the image.", "Resample it to the image first.")
    task = plan(Grid.of(image), prompt, earlier)
    before = sitk.GetArrayViewFromImage(mask)[task.box] != 0
    after = solve(task, sitk.GetArrayViewFromImage(image)[task.box], before)
    return Change(task.box, after, int((after != before).sum()))


def plan(grid: Grid, prompt: Click | Box, earlier: Sequence[Click] = (), wide: bool = False) -> Task:
    """Which part of the array a prompt is about, ``wide`` for who wants to see more. Raises BadArguments: outside."""
    if isinstance(prompt, Box):
        ends = np.array([grid.index(corner) for corner in prompt.corners])
        low, high = ends.min(axis=0), ends.max(axis=0)
        if (high < -0.5).any() or (low > np.array(grid.shape) - 0.5).any():
            raise BadArguments("The box lies outside of the image.", "Draw it in the image.")
        low, high = (np.clip(end, 0, np.array(grid.shape) - 1) for end in (low, high))
    else:
        low = high = grid.index(prompt.point)
        if not grid.holds(low):
            raise BadArguments("The click lies outside of the image.", "Click into the image.")
    margin = _margin(low, high, grid.spacing, isinstance(prompt, Box), wide)
    box = box_around(low - margin, high + margin, grid.shape)
    start = np.array([side.start for side in box])
    before = []
    for click in earlier:
        index = grid.index(click.point) - start
        if _inside(index, box):
            before.append((tuple(index), click.positive))
    return Task(box, tuple(low - start), tuple(high - start), prompt.positive, isinstance(prompt, Box),
                tuple(grid.spacing), tuple(before), _direction(grid))


def _margin(low, high, spacing, is_box: bool, wide: bool = False) -> np.ndarray:
    """Voxels around a prompt that belong to its part."""
    if is_box:
        return (1.0 if wide else 0.25) * np.maximum(np.subtract(high, low), 4) + 1
    return (_WIDE_MM if wide else REACH_MM) / np.array(spacing)


def _inside(index, box: tuple[slice, ...]) -> bool:
    """Whether an index within a part lies in one of its voxels."""
    return all(-0.5 <= i <= side.stop - side.start - 0.5 for i, side in zip(index, box, strict=True))


def _direction(grid: Grid) -> tuple[float, ...]:
    """The directions of the axes; the nearest orthonormal ones where a transform has sheared the image."""
    left, _, right = np.linalg.svd(grid.ijk_to_lps[:3, :3] / np.array(grid.spacing[::-1]))
    return tuple(float(x) for x in (left @ right).ravel())


def solve(task: Task, gray: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The mask of the part after the prompt.

    Args:
        task: from :func:`plan`.
        gray, before: gray values and mask (bool) of the part, (k, j, i).
    """
    local = _Local(BlockGrid.of(gray.shape, task.spacing), gray, before)
    for index, positive in task.earlier:
        local.seed(index, positive)
    probability = (local.box(task.low, task.high, task.positive) if task.is_box
                   else local.click(task.low, task.positive))
    return obeyed(task, (probability > 0.5) == task.positive, before)


def obeyed(task: Task, target: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The mask of the part when a prompt's ``target`` (bool) is added, or taken away where the prompt is negative;
    of a click only what hangs together with its place."""
    wanted = target & (before != task.positive)
    if not task.is_box:
        here = np.clip(np.rint(task.low).astype(int), 0, np.array(before.shape) - 1)
        wanted = _connected(wanted, tuple(here), target)
    return before | wanted if task.positive else before & ~wanted


class _Local:
    """The equation around one prompt."""

    def __init__(self, blocks: BlockGrid, gray: np.ndarray, inside: np.ndarray):
        self._blocks = blocks
        self._gray = blocks.coarse(gray)
        self._mask = blocks.coarse(inside)
        self._spacing = np.array(blocks.spacing)
        self._seeds = np.full(self._gray.shape, np.nan)

    def seed(self, index, positive: bool) -> None:
        """Fix what lies around an index."""
        self._seeds[self._ball(index, _SEED_MM)] = float(positive)

    def click(self, index, positive: bool) -> np.ndarray:
        """Probability of the structure for each voxel of the box."""
        near = self._gray[self._ball(index, _NEAR_MM)]
        self.seed(index, positive)
        same, other = (self._mask > 0.5, self._mask <= 0.5) if positive else (self._mask <= 0.5, self._mask > 0.5)
        prior = self._likeness(near, same, other, positive)
        distance = self._distance(index)
        keep = _MASK_WEIGHT * (distance / REACH_MM) ** 2
        return self._solve(prior if positive else 1 - prior, keep, distance >= REACH_MM - self._spacing.max())

    def box(self, low, high, positive: bool) -> np.ndarray:
        """Probability of the structure: what is outside the box stays, its middle is sure, the gray values decide."""
        first, last = self._blocks.coarse_index(low), self._blocks.coarse_index(high)
        within = np.zeros(self._gray.shape, bool)
        within[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
        center, half = (np.array(first) + last) / 2, np.maximum((np.array(last) - first) / 2, 0.5)
        offset = (np.indices(self._gray.shape).reshape(3, -1).T - center) / half
        core = ((offset**2).sum(axis=1) <= 0.35**2).reshape(within.shape)
        core[tuple(np.rint(center).astype(int))] = True
        prior = self._likeness(self._gray[core], core, ~within, positive)
        self._seeds[core & np.isnan(self._seeds)] = float(positive)
        return self._solve(prior if positive else 1 - prior, np.zeros(within.shape), ~within)

    def _solve(self, prior, keep, fixed) -> np.ndarray:
        """``prior`` from gray values, the present mask with weight ``keep``, and fixed where nothing may change."""
        weight = _GRAY_WEIGHT + keep
        target = (_GRAY_WEIGHT * prior + keep * self._mask) / weight
        target[fixed], weight[fixed] = self._mask[fixed], FIXED
        seeded = ~np.isnan(self._seeds)
        target[seeded], weight[seeded] = self._seeds[seeded], FIXED
        return self._blocks.fine(random_walker(self._gray, target, weight, self._spacing, self._contrast()))

    def _contrast(self) -> float:
        """What differs by more than noise does: twice the median step between neighbors, at least 3 % of the range."""
        steps = np.concatenate([np.abs(np.diff(self._gray, axis=axis)).ravel() for axis in range(3)])
        low, high = np.percentile(self._gray, (2, 98))
        return max(2 * float(np.median(steps)), 0.03 * float(high - low), 1e-6)

    def _likeness(self, near, same, other, positive: bool) -> np.ndarray:
        """How much each gray value is like those at the place of the prompt (and those of its kind around), rather
        than like those of the other kind: 0 … 1."""
        low, high = np.percentile(self._gray, (1, 99))
        low, high = min(low, float(near.min())), max(high, float(near.max()))
        if high <= low:
            return np.full(self._gray.shape, 0.5)
        bins = np.clip(((self._gray - low) / (high - low) * (_BINS - 1)).round().astype(int), 0, _BINS - 1)
        close = np.clip(((near - low) / (high - low) * (_BINS - 1)).round().astype(int), 0, _BINS - 1)
        like, unlike = _density(close), _density(bins[other])
        if same.any():
            mixed = 0.6 * like + 0.4 * _density(bins[same])
            # What is to go may look like what is to stay: then the place alone says what is meant.
            like = mixed if positive else np.maximum(like, mixed)
        return (like / (like + unlike))[bins]

    def _distance(self, index) -> np.ndarray:
        """Distance (mm) of each block from an index."""
        squares = 0.0
        for axis, (i, factor) in enumerate(zip(index, self._blocks.factors, strict=True)):
            centers = np.arange(self._gray.shape[axis]) * factor + (factor - 1) / 2
            along = ((centers - i) * self._spacing[axis] / factor) ** 2
            squares = squares + along.reshape([-1 if a == axis else 1 for a in range(3)])
        return np.sqrt(squares)

    def _ball(self, index, radius_mm: float) -> np.ndarray:
        ball = self._distance(index) <= radius_mm
        ball[self._blocks.coarse_index(index)] = True
        return ball


def _density(bins: np.ndarray) -> np.ndarray:
    """A smooth histogram that is nowhere 0."""
    counts = np.bincount(bins.ravel(), minlength=_BINS).astype(np.float64)
    smooth = gaussian_filter1d(counts, 1.5, mode="nearest")
    return smooth / max(smooth.sum(), 1e-9) + 1e-3 / _BINS


def _connected(wanted: np.ndarray, here: tuple[int, ...], target: np.ndarray) -> np.ndarray:
    """The part of ``wanted`` that hangs together with the place ``here``."""
    if wanted[here]:
        parts, _ = label(wanted)
        return parts == parts[here]
    parts, _ = label(target)  # the place is of that kind already: what touches it through its own kind
    return wanted & (parts == parts[here]) if parts[here] else np.zeros_like(wanted)
