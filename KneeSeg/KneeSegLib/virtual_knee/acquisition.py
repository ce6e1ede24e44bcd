"""Imaging a virtual knee: slices of finite thickness, pixels, coil shading, chemical shift and Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import contrast
from .noise import grain, smooth_field
from .tissues import Tissue, TissueMap

_FATTY = np.array([contrast.RELAXATION[t][3] for t in Tissue], np.float32) > 0.5
_MARROW = [Tissue.FEMUR_MARROW, Tissue.TIBIA_MARROW, Tissue.PATELLA_MARROW, Tissue.FIBULA_MARROW]
_MUSCLE = [Tissue.MUSCLE_A, Tissue.MUSCLE_B, Tissue.MUSCLE_C]


@dataclass
class Scanner:
    """What the image looks like beside its contrast.

    Attributes:
        pixel_mm: in-plane pixel size of the acquisition.
        slice_step: map slices from one image slice to the next.
        slice_width: map slices averaged into one image slice (at most the step: the rest is a gap).
        noise: standard deviation of the complex noise, as a share of bright soft tissue.
        shading: strength of the coil's bias field (natural logarithm, standard deviation).
        texture: share by which marrow, muscle and fat vary from place to place.
        shift_px: chemical shift of fat along the rows or columns, in map pixels.
    """

    pixel_mm: float = 0.365
    slice_step: int = 1
    slice_width: int = 1
    noise: float = 0.03
    shading: float = 0.15
    texture: float = 0.08
    shift_px: tuple[int, int] = (0, 0)


def random_scanner(rng: np.random.Generator) -> Scanner:
    step = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.3, 0.38, 0.08, 0.1, 0.06, 0.08]))
    shift = int(rng.integers(-3, 4)) if rng.random() < 0.4 else 0
    return Scanner(
        pixel_mm=float(rng.uniform(0.3, 0.5) if rng.random() < 0.75 else rng.uniform(0.5, 0.7)),
        slice_step=step,
        slice_width=max(1, int(round(step * rng.uniform(0.7, 1.0)))),
        noise=float(rng.uniform(0.005, 0.09)),
        shading=float(rng.uniform(0.0, 0.4)),
        texture=float(rng.uniform(0.0, 0.18)),
        shift_px=(shift, 0) if rng.random() < 0.5 else (0, shift),
    )


def tissue_image(tissue: np.ndarray, table: np.ndarray, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Noise-free image of a stack of map slices, float32 (N, H, W)."""
    image = table[tissue]
    if any(scanner.shift_px):
        fat = _FATTY[tissue]
        shifted = np.where(fat, image, 0)
        water = np.where(fat, 0, image)
        image = water + np.roll(shifted, scanner.shift_px, (1, 2))
    if scanner.texture:
        fine = grain(tissue.shape, rng.uniform(0.4, 1.6), rng)
        broad = smooth_field(tissue.shape, (6, 25, 25), rng)
        weight = np.full(len(Tissue), 0.35, np.float32)
        weight[_MARROW], weight[_MUSCLE] = 1.0, 0.7
        weight[[Tissue.CARTILAGE_DEEP, Tissue.CARTILAGE_MIDDLE, Tissue.CARTILAGE_SUPERFICIAL]] = 0.5
        weight[[Tissue.JOINT_FAT, Tissue.INTERMUSCULAR_FAT, Tissue.SUBCUTANEOUS_FAT]] = 0.9
        image = image * (1 + scanner.texture * weight[tissue] * (fine + broad))
    return np.maximum(image, 0)


def acquire(
    tissue_map: TissueMap,
    protocol: contrast.Protocol,
    scanner: Scanner,
    rng: np.random.Generator,
    first_slice: int = 0,
    slices: int | None = None,
    centre: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    rotation_deg: float = 0.0,
    zoom: float = 1.0,
    spread: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Take an image of (part of) a virtual knee.

    Args:
        tissue_map: the knee.
        protocol, scanner: how it is imaged.
        rng: source of randomness.
        first_slice: map slice where the first image slice starts.
        slices: number of image slices; default as many as fit.
        centre: (row, column) in map pixels of the middle of the field of view; default the middle of the map.
        size: (rows, columns) of the image, in its own pixels; default the whole map.
        rotation_deg, zoom: of the field of view within the slice.
        spread: variation of the relaxation times, see ``contrast.brightness``.

    Returns:
        image float32 (slices, rows, columns), and the truth uint8 of the same shape.
    """
    import torch
    import torch.nn.functional as functional

    step, width = scanner.slice_step, min(scanner.slice_width, scanner.slice_step)
    depth, height, length = tissue_map.tissue.shape
    slices = slices or (depth - first_slice) // step
    height_mm, length_mm = tissue_map.spacing[1] * height, tissue_map.spacing[2] * length
    size = size or (int(height_mm / scanner.pixel_mm), int(length_mm / scanner.pixel_mm))
    centre = centre or ((height - 1) / 2, (length - 1) / 2)

    table = contrast.brightness(protocol, rng, spread)
    # A slice reaches equally far to both sides of the map slice whose labels are its truth: of an even number of map
    # slices the outermost two count by half.
    middle = first_slice + step // 2 + step * np.arange(slices)
    around = np.arange(-(width // 2), width // 2 + 1)
    share = np.where(2 * np.abs(around) == width, 0.5, 1.0).astype(np.float32) / width
    wanted = (middle[:, None] + around).ravel().clip(0, depth - 1)
    fine = tissue_image(tissue_map.tissue[wanted], table, scanner, rng)
    thick = np.einsum("nwij,w->nij", fine.reshape(slices, len(around), height, length), share)
    truth = tissue_map.target[middle.clip(0, depth - 1)]

    angle = np.deg2rad(rotation_deg)
    rows = (np.arange(size[0], dtype=np.float32) - (size[0] - 1) / 2) * scanner.pixel_mm / zoom
    columns = (np.arange(size[1], dtype=np.float32) - (size[1] - 1) / 2) * scanner.pixel_mm / zoom
    r, c = np.meshgrid(rows, columns, indexing="ij")
    row = (r * np.cos(angle) - c * np.sin(angle)) / tissue_map.spacing[1] + centre[0]
    column = (r * np.sin(angle) + c * np.cos(angle)) / tissue_map.spacing[2] + centre[1]
    grid = np.stack([2 * column / (length - 1) - 1, 2 * row / (height - 1) - 1], -1).astype(np.float32)
    grid = torch.from_numpy(grid)[None]

    # A pixel averages over its own size; the blur stands for that before points are sampled.
    sigma = 0.42 * scanner.pixel_mm / zoom / tissue_map.spacing[1]
    if sigma > 0.25:
        from scipy.ndimage import gaussian_filter1d

        thick = gaussian_filter1d(gaussian_filter1d(thick, sigma, axis=1, truncate=2.5), sigma, axis=2, truncate=2.5)
    image = functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(thick))[None],
        grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )[0].numpy()
    truth = (
        functional.grid_sample(
            torch.from_numpy(truth.astype(np.float32))[None],
            grid,
            mode="nearest",
            padding_mode="zeros",
            align_corners=True,
        )[0]
        .numpy()
        .astype(np.uint8)
    )
    if scanner.shading:
        cell = (max(2, 60 / (step * tissue_map.spacing[0])), 55 / scanner.pixel_mm, 55 / scanner.pixel_mm)
        image = image * np.exp(scanner.shading * smooth_field(image.shape, cell, rng)).astype(np.float32)
    noise = scanner.noise * rng.standard_normal((2, *image.shape), dtype=np.float32)
    image = np.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)
    return image.astype(np.float32), truth
