"""The surroundings of a click: a box of the image, and blocks of voxels where it has too many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

#: More voxels than this take longer than a person likes to wait.
_MOST_VOXELS = 75_000


def box_around(low: Sequence[float], high: Sequence[float], shape: Sequence[int]) -> tuple[slice, ...]:
    """The slices from index ``low`` to ``high`` (both inside), as far as they lie within ``shape``."""
    return tuple(slice(max(0, int(np.floor(a))), min(n, int(np.ceil(b)) + 1))
                 for a, b, n in zip(low, high, shape, strict=True))


@dataclass(frozen=True)
class BlockGrid:
    """Blocks of voxels that are computed as one.

    Attributes:
        shape: of the array of voxels.
        factors: voxels in a block along each axis.
        spacing: of the blocks, mm.
    """

    shape: tuple[int, ...]
    factors: tuple[int, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, shape: Sequence[int], spacing: Sequence[float]) -> BlockGrid:
        """Blocks as small as they can be for an array with voxels of ``spacing`` (mm)."""
        factors = np.ones(len(shape), int)
        while np.prod(np.ceil(np.array(shape) / factors)) > _MOST_VOXELS:
            blocks = np.where(np.ceil(np.array(shape) / factors) > 1, factors * np.asarray(spacing), np.inf)
            factors[int(np.argmin(blocks))] += 1  # the shortest side of a block grows
        return cls(tuple(shape), tuple(int(f) for f in factors),
                   tuple(float(f * s) for f, s in zip(factors, spacing, strict=True)))

    def coarse(self, array: np.ndarray) -> np.ndarray:
        """The mean of each block. An incomplete block repeats its last voxel."""
        values = array.astype(np.float64)
        for axis, factor in enumerate(self.factors):
            if factor > 1:
                missing = -values.shape[axis] % factor
                pads = [(0, missing if a == axis else 0) for a in range(values.ndim)]
                values = np.pad(values, pads, mode="edge")
                shape = (*values.shape[:axis], values.shape[axis] // factor, factor, *values.shape[axis + 1:])
                values = values.reshape(shape).mean(axis=axis + 1)
        return values

    def coarse_index(self, index: Sequence[float]) -> tuple[int, ...]:
        """The block in which an index of the array lies; the nearest one for an index outside."""
        return tuple(int(np.clip(round(i) // factor, 0, -(-size // factor) - 1))
                     for i, size, factor in zip(index, self.shape, self.factors, strict=True))

    def fine(self, coarse: np.ndarray) -> np.ndarray:
        """Values of blocks, interpolated to the voxels."""
        if all(factor == 1 for factor in self.factors):
            return coarse
        axes = [(np.arange(size) + 0.5) / factor - 0.5 for size, factor in zip(self.shape, self.factors, strict=True)]
        return map_coordinates(coarse, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
