"""Overlap of two binary masks on one grid, and their volumes.

Two empty masks agree: Dice and Jaccard are 1. One empty mask beside one that is not: 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|), Dice 1945; 1 where both are empty.

    Args:
        a, b: bool arrays of one shape.

    Raises:
        ValueError: not bool, or of different shapes.
    """
    both, in_a, in_b = _counts(a, b)
    return 2 * both / (in_a + in_b) if in_a + in_b else 1.0


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Jaccard index |A and B| / |A or B|, Jaccard 1912; 1 where both are empty. See :func:`dice`."""
    both, in_a, in_b = _counts(a, b)
    either = in_a + in_b - both
    return both / either if either else 1.0


def volume_mm3(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Volume of a mask in mm3: the number of its voxels times the volume of one.

    Args:
        mask: bool array.
        spacing: mm along each axis of the array.
    """
    return int(np.count_nonzero(mask)) * float(np.prod(np.asarray(spacing, dtype=np.float64)))


def require_masks(*masks: np.ndarray) -> None:
    """Raise ValueError unless the arrays are bool and of one shape: label values would be counted wrongly."""
    for mask in masks:
        if mask.dtype != bool:
            raise ValueError(f"a mask is an array of bool, not of {mask.dtype}")
        if mask.shape != masks[0].shape:
            raise ValueError(f"masks of different shapes: {masks[0].shape} and {mask.shape}")


def _counts(a: np.ndarray, b: np.ndarray) -> tuple[int, int, int]:
    require_masks(a, b)
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a)), int(np.count_nonzero(b))
