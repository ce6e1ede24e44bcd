"""Clicks and boxes that change a mask: what a person points at, where it lies, what becomes of the mask.

A positive prompt only adds and a negative one only removes, and only what hangs together with the place that was
pointed at: nothing changes where nobody looked. Places are points of the world (LPS, mm), so the grid may be oblique
or anisotropic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_dilation, gaussian_filter1d, label

from MRISegSuiteLib.errors import BadArguments

from .local_region import LocalRegion
from .random_walker import FIXED, random_walker

#: A click changes nothing that lies farther away (mm).
REACH_MM = 20.0
_SEED_MM = 1.5  # radius of what a click surely means
_NEAR_MM = 3.0  # radius in which a click samples the gray values
_BINS = 48
_GRAY_WEIGHT = 0.06  # of the gray values as a prior, 1/mm2
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
    gray = sitk.GetArrayViewFromImage(image)
    inside = sitk.GetArrayViewFromImage(mask) != 0
    spacing = np.array(image.GetSpacing()[::-1])
    if isinstance(prompt, Box):
        low, high = _box_indices(image, prompt)
        click, margin = (low + high) / 2, (high - low) / 2 + 0.25 * np.maximum(high - low, 4) + 1
    else:
        click = low = high = _index(image, prompt.point)
        margin = REACH_MM / spacing
    region = LocalRegion.around(click - margin, click + margin, gray.shape, spacing)
    local = _Local(region, gray[region.box], inside[region.box])
    for other in earlier:
        local.seed(_index(image, other.point), other.positive)
    probability = local.box(low, high, prompt.positive) if isinstance(prompt, Box) \
        else local.click(click, prompt.positive)
    before = inside[region.box]
    target = (probability > 0.5) == prompt.positive
    here = tuple(np.clip(np.rint(click).astype(int) - [s.start for s in region.box], 0,
                         np.array(before.shape) - 1))
    wanted = target & (before != prompt.positive)
    wanted = _connected(wanted, here, anywhere=isinstance(prompt, Box), start=target)
    after = before | wanted if prompt.positive else before & ~wanted
    return Change(region.box, after, int(wanted.sum()))


class _Local:
    """The equation around one prompt."""

    def __init__(self, region: LocalRegion, gray: np.ndarray, inside: np.ndarray):
        self._region = region
        self._gray = region.coarse(gray)
        self._mask = region.coarse(inside)
        self._spacing = np.array(region.spacing)
        self._seeds = np.full(self._gray.shape, np.nan)

    def seed(self, index, positive: bool) -> None:
        """Fix what lies around an index of the whole array, where it is within this region."""
        if all(side.start <= i <= side.stop - 1 for i, side in zip(index, self._region.box, strict=True)):
            self._seeds[self._ball(index, _SEED_MM)] = float(positive)

    def click(self, index, positive: bool) -> np.ndarray:
        """Probability of the structure for each voxel of the box."""
        near = self._gray[self._ball(index, _NEAR_MM)]
        self.seed(index, positive)
        same, other = (self._mask > 0.5, self._mask <= 0.5) if positive else (self._mask <= 0.5, self._mask > 0.5)
        prior = self._likeness(near, same, other)
        distance = self._distance(index)
        keep = _MASK_WEIGHT * (distance / REACH_MM) ** 2
        return self._solve(prior if positive else 1 - prior, keep, distance >= REACH_MM - self._spacing.max())

    def box(self, low, high, positive: bool) -> np.ndarray:
        """Probability of the structure: what is outside the box stays, its middle is sure, the gray values decide."""
        first, last = self._region.coarse_index(low), self._region.coarse_index(high)
        within = np.zeros(self._gray.shape, bool)
        within[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
        center, half = (np.array(first) + last) / 2, np.maximum((np.array(last) - first) / 2, 0.5)
        offset = (np.indices(self._gray.shape).reshape(3, -1).T - center) / half
        core = ((offset**2).sum(axis=1) <= 0.35**2).reshape(within.shape)
        core[tuple(np.rint(center).astype(int))] = True
        prior = self._likeness(self._gray[core], core, ~within)
        self._seeds[core & np.isnan(self._seeds)] = float(positive)
        return self._solve(prior if positive else 1 - prior, np.zeros(within.shape), ~within)

    def _solve(self, prior, keep, fixed) -> np.ndarray:
        """``prior`` from gray values, the present mask with weight ``keep``, and fixed where nothing may change."""
        weight = _GRAY_WEIGHT + keep
        target = (_GRAY_WEIGHT * prior + keep * self._mask) / weight
        target[fixed], weight[fixed] = self._mask[fixed], FIXED
        seeded = ~np.isnan(self._seeds)
        target[seeded], weight[seeded] = self._seeds[seeded], FIXED
        return self._region.fine(random_walker(self._gray, target, weight, self._spacing, self._contrast()))

    def _contrast(self) -> float:
        """What differs by more than noise does: twice the median step between neighbors, at least 3 % of the range."""
        steps = np.concatenate([np.abs(np.diff(self._gray, axis=axis)).ravel() for axis in range(3)])
        low, high = np.percentile(self._gray, (2, 98))
        return max(2 * float(np.median(steps)), 0.03 * float(high - low), 1e-6)

    def _likeness(self, near, same, other) -> np.ndarray:
        """How much each gray value is like those at the place of the prompt (and those of its kind around), rather than
        like those of the other kind: 0 … 1."""
        low, high = np.percentile(self._gray, (1, 99))
        low, high = min(low, float(near.min())), max(high, float(near.max()))
        if high <= low:
            return np.full(self._gray.shape, 0.5)
        bins = np.clip(((self._gray - low) / (high - low) * (_BINS - 1)).round().astype(int), 0, _BINS - 1)
        close = np.clip(((near - low) / (high - low) * (_BINS - 1)).round().astype(int), 0, _BINS - 1)
        like, unlike = _density(close), _density(bins[other])
        if same.any():
            like = 0.6 * like + 0.4 * _density(bins[same])
        return (like / (like + unlike))[bins]

    def _distance(self, index) -> np.ndarray:
        """Distance (mm) of each block from an index of the whole array."""
        squares = 0.0
        for axis, (i, side, factor) in enumerate(zip(index, self._region.box, self._region.factors, strict=True)):
            centers = np.arange(self._gray.shape[axis]) * factor + (factor - 1) / 2 + side.start
            along = ((centers - i) * self._spacing[axis] / factor) ** 2
            squares = squares + along.reshape([-1 if a == axis else 1 for a in range(3)])
        return np.sqrt(squares)

    def _ball(self, index, radius_mm: float) -> np.ndarray:
        ball = self._distance(index) <= radius_mm
        ball[self._region.coarse_index(index)] = True
        return ball


def _density(bins: np.ndarray) -> np.ndarray:
    """A smooth histogram that is nowhere 0."""
    counts = np.bincount(bins.ravel(), minlength=_BINS).astype(np.float64)
    smooth = gaussian_filter1d(counts, 1.5, mode="nearest")
    return smooth / max(smooth.sum(), 1e-9) + 1e-3 / _BINS


def _connected(wanted: np.ndarray, here, anywhere: bool, start: np.ndarray) -> np.ndarray:
    """The part of ``wanted`` that hangs together with the place ``here``; for a box all of it."""
    if anywhere:
        return wanted
    if not wanted[here]:  # the place is of that kind already: what touches it through its own kind
        parts, _ = label(start)
        touching = binary_dilation(parts == parts[here]) if parts[here] else np.zeros_like(wanted)
        return wanted & touching
    parts, _ = label(wanted)
    return parts == parts[here]


def _index(image: sitk.Image, point) -> np.ndarray:
    """The continuous index (k, j, i) of a point of the world."""
    index = np.array(image.TransformPhysicalPointToContinuousIndex([float(x) for x in point]))
    if (index < -0.5).any() or (index > np.array(image.GetSize()) - 0.5).any():
        raise BadArguments("The click lies outside of the image.", "Click into the image.")
    return index[::-1]


def _box_indices(image: sitk.Image, box: Box) -> tuple[np.ndarray, np.ndarray]:
    size = np.array(image.GetSize()[::-1])
    ends = np.array([image.TransformPhysicalPointToContinuousIndex([float(x) for x in corner])[::-1]
                     for corner in box.corners])
    low, high = np.clip(ends.min(axis=0), 0, size - 1), np.clip(ends.max(axis=0), 0, size - 1)
    if (ends.max(axis=0) < -0.5).any() or (ends.min(axis=0) > size - 0.5).any():
        raise BadArguments("The box lies outside of the image.", "Draw it in the image.")
    return low, high
