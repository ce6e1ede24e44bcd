"""Training samples: windows of real and generated cases, turned, stretched, and with other contrast and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch.nn import functional

from .cases import AXES, CHANNELS, REGIONS, GliomaCase, cached, prepared
from .experts import Expert
from .networks import DARKEST
from .virtual_heads import SPACING_MM, read_tissues
from .virtual_tumors import virtual_case


def real_arrays(case: GliomaCase, expert: Expert, cache: Path):
    """Images and truth of a real case on an expert's grid."""
    name = f"{case.id}_{expert.id}.npz"

    def make():
        return prepared(case.images(expert.channels), case.truths(expert.structures), expert.spacing)

    return cached(cache / name, make)


def generated_arrays(number: int, maps: list[Path], expert: Expert, cache: Path, seed: int):
    """Images and truth of the generated case of a number on an expert's grid; the same number is the same case."""
    name = f"generated_{seed}_{number:03d}_{expert.id}.npz"

    def make():
        images, truths = generated_whole(number, maps, cache, seed)
        images = [images[CHANNELS.index(channel)].astype(np.float32) for channel in expert.channels]
        truths = [(truths[REGIONS.index(name)] > 127).astype(np.uint8) for name in expert.structures]
        return prepared([as_image(a) for a in images], [as_image(a) for a in truths], expert.spacing)

    return cached(cache / name, make)


def generated_whole(number: int, maps: list[Path], cache: Path, seed: int):
    """Images and truth of a generated case as ``virtual_tumors`` makes them, all channels and regions."""
    return cached(cache / f"generated_{seed}_{number:03d}.npz", lambda: _generate(number, maps, seed))


def _generate(number, maps, seed):
    return virtual_case(*read_tissues(maps[number % len(maps)]), np.random.default_rng([seed, number]))


def as_image(array):
    """An image of the generator's grid and axes."""
    image = sitk.GetImageFromArray(np.pad(array, 1))
    image.SetSpacing([SPACING_MM] * 3)
    assert AXES == "SPL"  # the identity of LPS
    return image


class Samples:
    """Random windows.

    Args:
        real, generated: ``(images, truth)`` arrays, (C, D, H, W) and (K, D, H, W); either may be empty.
        expert: whose windows.
    """

    def __init__(self, real, generated, expert: Expert, rng: np.random.Generator):
        self.real, self.generated, self.expert, self.rng = real, generated, expert, rng

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and truth, (1, C, D, H, W) and (1, K, D, H, W), float32."""
        take_real = bool(self.real) and (not self.generated or self.rng.random() < self.expert.real_share)
        pool = self.real if take_real else self.generated
        image, truth = pool[int(self.rng.integers(len(pool)))]
        size = self.expert.sizes[int(self.rng.integers(len(self.expert.sizes)))]
        return _window(image, truth, size, self.expert, self.rng)


def _window(image, truth, size, expert: Expert, rng):
    channels = len(image)
    pair = torch.cat([torch.from_numpy(image.astype(np.float32)), torch.from_numpy(truth.astype(np.float32) / 255)])
    step = int(rng.choice(expert.slice_steps))
    if step > 1:  # thicker slices: groups of them are averaged
        count = pair.shape[1] // step * step
        pair = pair[:, :count].reshape(len(pair), count // step, step, *pair.shape[2:]).mean(2)
    shape = np.array(pair.shape[1:])
    slab = size[0] < 32  # slices: a slab that turns in its plane only
    angles = np.deg2rad(rng.normal(0, 10, 3) * ([0, 0, 1] if slab else [0.6, 0.6, 1]))
    matrix = _rotation(angles) @ np.diag(np.exp(rng.normal(0, 0.08, 3) * ([0, 1, 1] if slab else [1, 1, 1])))
    if rng.random() < 0.5:
        matrix[:, 2] *= -1
    center = _center(pair[channels:], size, slab, rng)
    # From window voxels to image voxels to grid_sample's -1..1, x first.
    to_unit = 2 / (shape - 1)
    theta = np.zeros((3, 4))
    theta[:, :3] = (to_unit[:, None] * matrix * ((np.array(size) - 1) / 2)[None])[::-1, ::-1]
    theta[:, 3] = (to_unit * center - 1)[::-1]
    theta = torch.from_numpy(theta.astype(np.float32))[None]
    grid = functional.affine_grid(theta, (1, len(pair), *size), align_corners=True)
    pair = functional.grid_sample(pair[None], grid, align_corners=True)
    images = [_other_contrast(pair[:, index : index + 1], rng) for index in range(channels)]
    return torch.cat(images, 1), pair[:, channels:].clamp(0, 1)


def _center(truth, size, slab: bool, rng) -> np.ndarray:
    """Where a window lies: about the middle, but where it is smaller than the brain more often around the tumor."""
    shape = np.array(truth.shape[1:])
    center = (shape - 1) / 2 + rng.normal(0, 1.5, 3)
    if slab:
        tumor = np.flatnonzero(truth[0].amax((1, 2)).numpy() > 0.5)
        middle = rng.choice(tumor) if len(tumor) and rng.random() < 0.6 else rng.integers(shape[0])
        center[0] = np.clip(middle + rng.integers(-2, 3), 0, shape[0] - 1)
        return center
    room = (shape - size) / 2
    if (room < 4).all():
        return center
    places = torch.nonzero(truth[int(rng.integers(len(truth)))] > 0.5)
    if len(places) and rng.random() < 0.7:
        wanted = places[int(rng.integers(len(places)))].numpy() + rng.normal(0, 0.15, 3) * size
    else:
        wanted = rng.uniform(0, shape)
    room = np.maximum(room, 0) + 2
    return (shape - 1) / 2 + np.clip(wanted - (shape - 1) / 2, -room, room)


def _rotation(angles):
    a, b, c = angles
    about_x = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_y = [[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]]
    about_z = [[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]]
    return np.array(about_x) @ np.array(about_y) @ np.array(about_z)


def _other_contrast(image: torch.Tensor, rng) -> torch.Tensor:
    """Scaled around the lower quartile (3), bent above it, with a field and noise; the surroundings stay."""
    brain = image > DARKEST
    scaled = (image - 3) * float(np.exp(rng.normal(0, 0.2))) + float(rng.normal(0, 0.2))
    if rng.random() < 0.5:
        scaled = torch.where(scaled > 1, 1 + (scaled - 1).clamp(min=0) ** float(np.exp(rng.normal(0, 0.2))), scaled)
    coarse = torch.from_numpy(rng.standard_normal((1, 1, 3, 3, 3)).astype(np.float32)) * float(rng.uniform(0, 0.4))
    field = functional.interpolate(coarse, image.shape[2:], mode="trilinear", align_corners=True)
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)) * float(rng.uniform(0, 0.2))
    return torch.where(brain, 3 + scaled + field + noise, image)
