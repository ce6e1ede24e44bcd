"""Clicks and boxes answered by SAM 3: the slice that was pointed at, and those beside it as frames of a film.

What SAM 3 finds at the place is added, or taken away by a negative prompt; nothing else changes.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..experts.interface import Abstains
from ..experts.sam3_models import Key, Sam3Models
from ..experts.slices_as_frames import Stacks
from ..experts.transformers_models import require_checkpoint
from .prompts import Task, obeyed

#: How far a click is followed from its slice, and the most slices either way that a click and a box are.
_FOLLOWED_MM, _MOST_SLICES, _MOST_BOX_SLICES = 10.0, 5, 15
_SURE_MM = 1.5  # radius of what an earlier click of the other kind surely means


class Sam3Clicks:
    """The tracker of a local checkpoint, loaded once.

    Args:
        folder: the checkpoint, as ``facebook/sam3`` is laid out. device: "auto", "cpu" or "cuda".

    Raises:
        Abstains, SuiteError: it cannot be used.
    """

    def __init__(self, folder, device: str = "auto"):
        self._models = Sam3Models(require_checkpoint(folder, "SAM 3"), device)

    def solve(self, task: Task, gray: np.ndarray, before: np.ndarray) -> np.ndarray:
        """See :func:`prompts.solve`; the part should be a wide one.

        Raises:
            Abstains: it finds nothing at the place.
        """
        image = sitk.GetImageFromArray(np.ascontiguousarray(gray, dtype=np.float32))
        image.SetSpacing(task.spacing[::-1])
        image.SetDirection(task.direction)
        stacks = Stacks(image)
        axis = _stack_axis(stacks)
        key, reach = _shown(task, image, stacks, axis)
        found = self._models.follow(stacks.pictures(axis), key, reach, lambda _part: None)
        target = stacks.back(stacks.volume(found, axis)) > 0.5
        if task.is_box:
            target &= _within(task, before.shape)
        target &= ~_other_kind(task, before.shape)
        if not (target.any() if task.is_box else target[_voxel(task.low, before.shape)]):
            raise Abstains("SAM 3 finds nothing at this place.")
        return obeyed(task, target, before)


def _stack_axis(stacks: Stacks) -> int:
    """The stack of the slices that were acquired; the axial one where all sides of a voxel are alike."""
    return int(np.argmax(np.round(stacks.spacing / stacks.spacing.min(), 1)))


def _shown(task: Task, image: sitk.Image, stacks: Stacks, axis: int) -> tuple[Key, int]:
    """The prompt on the slice in its middle, and how many slices it is followed either way."""
    def in_stack(index):
        return stacks.in_stack(_in_order(index, image, stacks), axis)

    middle = np.add(task.low, task.high) / 2
    number, column, row = in_stack(middle)
    if not task.is_box:
        points, kinds = [[column, row]], [1]
        for index, positive in task.earlier:
            other, x, y = in_stack(index)
            if other == number and positive != task.positive:
                points.append([x, y])
                kinds.append(0)
        reach = int(np.clip(round(_FOLLOWED_MM / stacks.spacing[axis]), 1, _MOST_SLICES))
        return Key(number, {number: (points, kinds)}), reach
    ends = np.array([_in_order(end, image, stacks) for end in (task.low, task.high)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    depth = int(np.ceil((high[axis] - low[axis]) / 2))
    low, high = np.delete(low, axis), np.delete(high, axis)
    corners = [[low[1], low[0]], [high[1] + 1.0, high[0] + 1.0]]  # SAM's labels of two corners are 2 and 3
    return Key(number, {number: (corners, [2, 3])}), int(np.clip(depth, 1, _MOST_BOX_SLICES))


def _in_order(index, image: sitk.Image, stacks: Stacks) -> np.ndarray:
    """An index (k, j, i) of the part as one of the stacks, moved onto the nearest voxel where it lies beside them."""
    index = np.clip(index, 0, np.array(image.GetSize()[::-1]) - 1)
    return stacks.index_of(image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index[::-1]]))


def _voxel(index, shape) -> tuple[int, ...]:
    return tuple(np.clip(np.rint(index).astype(int), 0, np.array(shape) - 1))


def _within(task: Task, shape) -> np.ndarray:
    """The box of a prompt."""
    within = np.zeros(shape, bool)
    first, last = _voxel(task.low, shape), _voxel(task.high, shape)
    within[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
    return within


def _other_kind(task: Task, shape) -> np.ndarray:
    """Around earlier clicks of the other kind, which a later one does not undo."""
    there = np.zeros(shape, bool)
    spacing = np.reshape(task.spacing, (3, 1, 1, 1))
    for index, positive in task.earlier:
        if positive != task.positive:
            offset = (np.indices(shape) - np.reshape(index, (3, 1, 1, 1))) * spacing
            there |= (offset**2).sum(axis=0) <= _SURE_MM**2
            there[_voxel(index, shape)] = True
    return there
