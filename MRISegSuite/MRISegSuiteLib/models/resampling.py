"""Resampling along the axes of an array: linear where it gets finer, area average where it gets coarser.

Both are one formula. Each new voxel is a box, as wide as the larger of the old and the new voxel, and takes the old
voxels in proportion to how much of the box they cover. For a box of one old voxel that is linear interpolation; for a
wider one it is the mean over the new voxel, so nothing aliases. Weights are never negative and sum to 1: probabilities
that sum to 1 still do afterwards. Old and new grid share their center, so the result does not depend on the side from
which the axis is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AxisGrid:
    """The two grids along one axis.

    Attributes:
        count: voxels of the image.
        spacing: of the image, mm.
        model_count: voxels of the model's grid.
        model_spacing: of the model's grid, mm.
    """

    count: int
    spacing: float
    model_count: int
    model_spacing: float

    @property
    def step(self) -> float:
        """Model voxels in image voxels."""
        return self.model_spacing / self.spacing

    def to_model(self) -> Weights:
        """Weights that bring values from the image's grid to the model's."""
        index = np.arange(self.model_count)
        at = (self.count - 1) / 2 + (index - (self.model_count - 1) / 2) * self.step
        return box_weights(at, max(1.0, self.step), self.count)

    def to_image(self, first: int, last: int, box_first: int, box_last: int) -> Weights:
        """Weights that bring values from the model's voxels ``box_first:box_last`` to the image's ``first:last``."""
        index = np.arange(first, last)
        at = (self.model_count - 1) / 2 + (index - (self.count - 1) / 2) / self.step - box_first
        return box_weights(at, max(1.0, 1 / self.step), box_last - box_first)

    def model_range(self, first: int, last: int) -> tuple[int, int]:
        """The model's voxels that the image's ``first:last`` touch."""
        edges = (np.array([first, last]) - self.count / 2) / self.step + self.model_count / 2
        return max(0, int(np.floor(edges[0] + 1e-6))), min(self.model_count, int(np.ceil(edges[1] - 1e-6)))

    def image_range(self, first: int, last: int) -> tuple[int, int]:
        """The image's voxels whose centers lie within the model's ``first:last``."""
        if (first, last) == (0, self.model_count):
            return 0, self.count
        edges = (np.array([first, last]) - self.model_count / 2) * self.step + self.count / 2
        return max(0, int(np.ceil(edges[0] - 0.5 - 1e-6))), min(self.count, int(np.floor(edges[1] - 0.5 + 1e-6)) + 1)


@dataclass(frozen=True)
class Weights:
    """``new[i] = sum over t of weight[i, t] old[index[i, t]]``; both arrays are (new count, taps)."""

    index: np.ndarray
    weight: np.ndarray

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        """The array (float32) with this axis resampled."""
        if self.is_identity(array.shape[axis]):
            return np.asarray(array, np.float32)
        shape = [1] * array.ndim
        shape[axis] = -1
        result = None
        for tap in range(self.index.shape[1]):
            part = np.take(array, self.index[:, tap], axis).astype(np.float32, copy=False)
            part *= self.weight[:, tap].reshape(shape)
            if result is None:
                result = part
            else:
                result += part
        return result

    def is_identity(self, count: int) -> bool:
        return (
            len(self.index) == count
            and bool((self.index[:, 0] == np.arange(count)).all())
            and bool((self.weight[:, 0] == 1).all())
        )

    def rows(self, first: int, last: int) -> Weights:
        return Weights(self.index[first:last], self.weight[first:last])


def box_weights(at: np.ndarray, width: float, count: int) -> Weights:
    """Weights of boxes of ``width`` around the places ``at`` (both in old voxels, centers at integers)."""
    at = np.clip(at, 0, count - 1)
    low = at - width / 2 + 0.5
    first = np.floor(low + 1e-9).astype(int)
    index = first[:, None] + np.arange(int(np.ceil(width - 1e-9)) + 1)
    covered = np.minimum(index + 1, (low + width)[:, None]) - np.maximum(index, low[:, None])
    covered = np.where((index >= 0) & (index < count) & (covered > 1e-9), covered, 0)
    weight = covered / covered.sum(1, keepdims=True)
    return Weights(np.clip(index, 0, count - 1), weight.astype(np.float32))
