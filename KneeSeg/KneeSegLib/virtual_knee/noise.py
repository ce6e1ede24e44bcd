"""Smooth random fields, the raw material of everything that varies in a virtual knee."""

from __future__ import annotations

import numpy as np


def smooth_field(shape: tuple[int, ...], cell: tuple[float, ...] | float, rng: np.random.Generator) -> np.ndarray:
    """A random field of unit variance that varies over about ``cell`` voxels.

    Args:
        shape: (D, H, W) of the result.
        cell: distance between independent values, in voxels (one number, or one per axis).
        rng: source of randomness.

    Returns:
        float32 array (D, H, W): white noise on a coarse grid, trilinearly interpolated.
    """
    import torch
    import torch.nn.functional as functional

    cells = (cell,) * 3 if np.isscalar(cell) else tuple(cell)
    coarse = [max(2, int(np.ceil(n / c)) + 1) for n, c in zip(shape, cells)]
    values = torch.from_numpy(rng.standard_normal(coarse).astype(np.float32))[None, None]
    field = functional.interpolate(values, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0].numpy()
    # Interpolation between independent values lowers the variance; bring it back to one.
    return field / max(float(field.std()), 1e-6)


def grain(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> np.ndarray:
    """White noise blurred to grains of ``width`` pixels in each slice, unit variance, float32 (D, H, W)."""
    from scipy.ndimage import gaussian_filter1d

    field = rng.standard_normal(shape, dtype=np.float32)
    if width > 0.3:
        field = gaussian_filter1d(field, width, axis=-1, mode="wrap", truncate=2.5)
        field = gaussian_filter1d(field, width, axis=-2, mode="wrap", truncate=2.5)
        field /= max(float(field.std()), 1e-6)
    return field
