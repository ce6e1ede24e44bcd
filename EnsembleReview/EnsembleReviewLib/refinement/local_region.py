"""The surroundings of a click: a box of the image of so many millimeters, made coarser where it has too many voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

#: More voxels than this take longer than a person likes to wait.
_MOST_VOXELS = 75_000


@dataclass(frozen=True)
class LocalRegion:
    """A box of an array, and the blocks of voxels in it that are computed as one.

    Attributes:
        box: slices of the array.
        factors: voxels in a block along each axis.
        spacing: of the blocks, mm.
    """

    box: tuple[slice, ...]
    factors: tuple[int, ...]
    spacing: tuple[float, ...]

    @classmethod
    def around(cls, low: Sequence[float], high: Sequence[float], shape: Sequence[int],
               spacing: Sequence[float]) -> LocalRegion:
        """The box from index ``low`` to ``high`` (both inside), as far as it lies within ``shape``."""
        box = tuple(slice(max(0, int(np.floor(a))), min(n, int(np.ceil(b)) + 1))
                    for a, b, n in zip(low, high, shape, strict=True))
        size = np.array([side.stop - side.start for side in box])
        factors = np.ones(len(size), int)
        while np.prod(np.ceil(size / factors)) > _MOST_VOXELS:
            blocks = np.where(np.ceil(size / factors) > 1, factors * np.asarray(spacing), np.inf)
            factors[int(np.argmin(blocks))] += 1  # the shortest side of a block grows
        return cls(box, tuple(int(f) for f in factors),
                   tuple(float(f * s) for f, s in zip(factors, spacing, strict=True)))

    def coarse(self, array: np.ndarray) -> np.ndarray:
        """The mean of each block; ``array`` is the part within the box. An incomplete block repeats its last voxel."""
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
        """The block in which an index of the whole array lies (the nearest one for an index outside the box)."""
        found = []
        for i, side, factor in zip(index, self.box, self.factors, strict=True):
            blocks = -(-(side.stop - side.start) // factor)
            found.append(int(np.clip((round(i) - side.start) // factor, 0, blocks - 1)))
        return tuple(found)

    def fine(self, coarse: np.ndarray) -> np.ndarray:
        """Values of blocks, interpolated to the voxels in the box."""
        if all(factor == 1 for factor in self.factors):
            return coarse
        axes = [(np.arange(side.stop - side.start) + 0.5) / factor - 0.5
                for side, factor in zip(self.box, self.factors, strict=True)]
        return map_coordinates(coarse, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest")
