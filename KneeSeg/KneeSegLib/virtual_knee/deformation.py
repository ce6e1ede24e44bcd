"""New anatomy from old: a smooth random deformation, another flexion, a wider field of view."""

from __future__ import annotations

import numpy as np

from .anatomy_labels import PATELLA, TIBIAL_CARTILAGE
from .noise import smooth_field


def deform(
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    margin_mm: tuple[float, float, float] = (12.0, 14.0, 14.0),
    strength: float = 1.0,
) -> np.ndarray:
    """Deform a label map and extend its field of view.

    Bones that leave the field of view are continued past it (the edge value is repeated), as a shaft would be.

    Args:
        labels: uint8 (D, H, W) in canonical order.
        spacing: voxel size in mm, same order.
        rng: source of randomness.
        margin_mm: added at both ends of each axis.
        strength: 0 leaves the shape as it is, 1 is the training default.

    Returns:
        uint8 array of the wider field, same spacing.
    """
    import torch
    import torch.nn.functional as functional

    spacing_array = np.asarray(spacing, np.float32)
    pad = [int(round(m / s)) for m, s in zip(margin_mm, spacing)]
    shape = tuple(n + 2 * p for n, p in zip(labels.shape, pad))
    joint = np.argwhere(labels[::2, ::4, ::4] == TIBIAL_CARTILAGE).mean(0) * (2, 4, 4) * spacing_array

    # Positions are worked out on a grid of every 8th voxel and interpolated: the field is smooth anyway.
    coarse = [n // 8 + 2 for n in shape]
    steps = [np.linspace(0, n - 1, c, dtype=np.float32) for n, c in zip(shape, coarse)]
    z, y, x = np.meshgrid(*steps, indexing="ij")
    z, y, x = ((v - p) * s - j for v, p, s, j in zip((z, y, x), pad, spacing, joint))

    scale = 1 + strength * rng.uniform(-0.12, 0.12) + strength * rng.uniform(-0.06, 0.06, 3)
    z, y, x = z * scale[0], y * scale[1], x * scale[2]
    # Flexion and tibial rotation: the angle changes smoothly from femur to tibia across the joint line.
    tilt = np.deg2rad(strength * rng.normal(0, 6))
    bend = np.deg2rad(strength * rng.normal(0, 7)) * np.tanh(y / 25.0)
    turn = np.deg2rad(strength * rng.normal(0, 4)) * np.tanh(y / 25.0) + np.deg2rad(strength * rng.normal(0, 5))
    sway = np.deg2rad(strength * rng.normal(0, 3))
    y, x = y * np.cos(tilt + bend) - x * np.sin(tilt + bend), y * np.sin(tilt + bend) + x * np.cos(tilt + bend)
    z, x = z * np.cos(turn) - x * np.sin(turn), z * np.sin(turn) + x * np.cos(turn)
    z, y = z * np.cos(sway) - y * np.sin(sway), z * np.sin(sway) + y * np.cos(sway)
    y, z = _move_patella(labels, spacing_array, (z, y, x), joint, strength, rng)
    moved = []
    for value, axis in zip((z, y, x), range(3)):
        wave = smooth_field(tuple(coarse), tuple(30.0 / (8 * s) for s in spacing), rng) * 1.2
        ripple = smooth_field(tuple(coarse), tuple(14.0 / (8 * s) for s in spacing), rng) * 0.35
        voxel = (value + strength * (wave + ripple) + joint[axis]) / spacing[axis]
        moved.append(2 * voxel / (labels.shape[axis] - 1) - 1)
    grid = torch.from_numpy(np.stack(moved[::-1]).astype(np.float32))[None]
    source = torch.from_numpy(labels)[None, None].float()
    out = np.empty(shape, np.uint8)
    block = 16
    full_y, full_x = shape[1:]
    for start in range(0, shape[0], block):
        stop = min(start + block, shape[0])
        # Trilinear interpolation of the coarse positions, for these slices only, to bound memory.
        at = torch.linspace(0, coarse[0] - 1, shape[0])[start:stop]
        low = at.floor().long().clamp(max=coarse[0] - 2)
        part = (at - low)[None, None, :, None, None]
        lines = grid[:, :, low] * (1 - part) + grid[:, :, low + 1] * part
        fine = functional.interpolate(
            lines[0].transpose(0, 1), size=(full_y, full_x), mode="bilinear", align_corners=True
        )
        where = fine.permute(0, 2, 3, 1)[None]
        sample = functional.grid_sample(source, where, mode="nearest", padding_mode="border", align_corners=True)
        out[start:stop] = sample[0, 0].numpy().astype(np.uint8)
    return out


def _move_patella(labels, spacing, points, joint, strength, rng):
    """Rows and slices with the patella pushed up, down or aside: alta, baja and subluxed ones are common."""
    z, y, x = points
    places = np.argwhere(labels[::2, ::4, ::4] == PATELLA)
    if not len(places):
        return y, z
    middle = places.mean(0) * (2, 4, 4) * spacing - joint
    near = np.exp(-(((z - middle[0]) / 30) ** 2 + ((y - middle[1]) / 32) ** 2 + ((x - middle[2]) / 22) ** 2))
    return y + near * strength * rng.normal(0, 5), z + near * strength * rng.normal(0, 4)
