"""The votes on one structure, counted by pattern.

With n experts a voxel can be voted on in 2^n ways. Whatever is the same for all voxels of one pattern (majority,
STAPLE's posterior, entropy, pairwise overlaps) is computed once for each pattern that occurs and looked up, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Up to this many experts a voxel's pattern is its own index into a table of all of them.
_TABLE_OF_ALL = 12
MOST_EXPERTS = 62


class VotePatterns:
    """The votes of all experts who know a structure, inside a box; outside of it nobody votes for it.

    Args:
        masks: expert -> bool array; all of one shape.
        image_voxels: voxels of the whole image, of which the arrays are a part.

    Attributes:
        experts: in the order of bits.
        votes: (patterns, experts) bool.
        counts: (patterns,) voxels of the box with each pattern.
        index: array of the masks' shape: each voxel's row in ``votes``.
    """

    def __init__(self, masks: Mapping[str, np.ndarray], image_voxels: int):
        if not 1 <= len(masks) <= MOST_EXPERTS:
            raise ValueError(f"votes of 1 to {MOST_EXPERTS} experts can be counted, not of {len(masks)}")
        self.experts = list(masks)
        arrays = list(masks.values())
        count = len(arrays)
        bits = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if np.iinfo(kind).bits >= count)
        codes = np.zeros(arrays[0].shape, bits)
        for bit, array in enumerate(arrays):
            if array.dtype != bool or array.shape != codes.shape:
                raise ValueError("votes are bool arrays of one shape")
            codes |= array.view(np.uint8).astype(bits, copy=False) << bits(bit)
        if count <= _TABLE_OF_ALL:
            # Nearly all voxels are 0: counting the others is quicker than counting all.
            some = codes[codes != 0]
            self.counts = np.bincount(some, minlength=2**count)
            self.counts[0] = codes.size - some.size
            self.index = codes
            patterns = np.arange(2**count, dtype=bits)
        else:
            patterns, index, self.counts = np.unique(codes, return_inverse=True, return_counts=True)
            self.index = index.reshape(codes.shape)
        self.votes = (patterns[:, None] >> np.arange(count, dtype=bits)[None] & bits(1)).astype(bool)
        self.image_voxels = int(image_voxels)

    def counts_in(self, region_voxels: int) -> np.ndarray:
        """The counts in a larger region, whose further voxels nobody votes for.

        Raises:
            ValueError: the region is smaller than the box.
        """
        counts = self.counts.astype(np.float64)
        more = region_voxels - self.index.size
        if more < 0:
            raise ValueError("the region is smaller than the box of the votes")
        nobody = ~self.votes.any(axis=1)
        if not nobody.any():
            if more:
                raise ValueError("no voxel of the box is without a vote, so the box is not all that was voted on")
            return counts
        counts[nobody] += more
        return counts

    def share(self, weights: np.ndarray) -> np.ndarray:
        """(patterns,) weighted share of the experts that say yes; weights need not add up to 1."""
        return self.votes @ (weights / weights.sum())

    def map(self, values: np.ndarray) -> np.ndarray:
        """An array with the value of each voxel's pattern."""
        return values[self.index]

    def without(self, experts: set[str]) -> tuple[np.ndarray, np.ndarray]:
        """``(votes, counts)`` with the columns of some experts left out; rows may repeat, which changes no sum."""
        keep = [column for column, expert in enumerate(self.experts) if expert not in experts]
        return self.votes[:, keep], self.counts
