"""Medial and lateral plateau of a tibial cartilage that is labelled as one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def lateral_part(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Which voxels of the tibial cartilage are on the side of higher index along axis 0.

    The two plateaus are told apart by the gap that the intercondylar eminence leaves: the emptiest place between the
    two widest parts of the projection on axis 0. Where it is not empty (plateaus that touch), a connected piece that
    lies to nine tenths on one side goes there whole, and other pieces are cut at the gap.

    Args:
        mask: 3D bool, axis 0 medial to lateral.
        spacing: (3,) mm.

    Returns:
        3D bool; all true or all false when there is only one plateau.
    """
    # Area seen from above at each place across the knee.
    profile = mask.any(axis=2).sum(axis=1) * spacing[1]
    smooth = ndimage.gaussian_filter1d(profile.astype(float), 2.0 / spacing[0], mode="constant")
    peaks = np.flatnonzero((smooth >= np.roll(smooth, 1)) & (smooth > np.roll(smooth, -1)) & (smooth > 8.0))
    best = None
    for i, first in enumerate(peaks):
        for second in peaks[i + 1:]:
            if (second - first) * spacing[0] < 15.0:
                continue
            depth = min(smooth[first], smooth[second]) - smooth[first:second].min()
            if best is None or depth > best[0]:
                best = (depth, first, second)
    if best is None:
        return np.zeros(mask.shape, dtype=bool)
    between = smooth[best[1]:best[2] + 1]
    lowest = np.flatnonzero(between <= between.min() + 1e-6)
    cut = best[1] + (lowest[0] + lowest[-1]) / 2
    beyond = np.broadcast_to((np.arange(mask.shape[0]) > cut)[:, None, None], mask.shape)
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    size = np.bincount(pieces.ravel(), minlength=count + 1).astype(float)
    over = np.bincount(pieces.ravel(), weights=(beyond & mask).ravel(), minlength=count + 1) / np.maximum(size, 1)
    whole = np.where(over > 0.9, 1, np.where(over < 0.1, 0, 2))[pieces]
    return np.where(whole == 2, beyond, whole == 1)
