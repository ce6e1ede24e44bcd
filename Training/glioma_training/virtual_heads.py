"""Heads that nobody has, without a tumor: FLAIR- and T1c-like images made from label maps.

No MR image is used. Contrast, field, noise and slice thickness are random (Billot et al. 2023, domain randomization);
what is fixed is what makes an image a FLAIR (fluid is dark) or a T1 after contrast (gray matter is darker than white
matter, and vessels, choroid plexus and meninges shine).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MRISegSuiteLib.images.canonical import to_canonical

from .cases import AXES

#: Voxels of the generated images, mm.
SPACING_MM = 2.0
OUTSIDE, WHITE, CORTEX, DEEP, FLUID, BELOW = range(6)
#: FreeSurfer's numbers: cerebral white matter, cortex, deep gray matter, fluid; cerebellum and brainstem together.
_NUMBERS = {
    WHITE: (2, 41, 77, 251, 252, 253, 254, 255),
    CORTEX: (3, 42),
    DEEP: (10, 11, 12, 13, 17, 18, 26, 28, 30, 49, 50, 51, 52, 53, 54, 58, 60, 62, 85, 136, 137, 163, 164),
    FLUID: (4, 5, 14, 15, 24, 43, 44, 72),
    BELOW: (7, 8, 16, 46, 47),
}
_VENTRICLES = (4, 43)


def read_tissues(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Tissue classes (uint8) of a label map on a grid of 2 mm, cropped to the brain; and its lateral ventricles."""
    image = to_canonical(sitk.ReadImage(str(path)), AXES[::-1])
    steps = [max(1, round(SPACING_MM / mm)) for mm in image.GetSpacing()[::-1]]
    numbers = np.rint(sitk.GetArrayViewFromImage(image)[:: steps[0], :: steps[1], :: steps[2]]).astype(int)
    tissues = np.zeros(numbers.shape, np.uint8)
    for tissue, values in _NUMBERS.items():
        tissues[np.isin(numbers, values)] = tissue
    solid = (tissues != OUTSIDE) & (tissues != FLUID)
    # Brain extraction leaves what is between the gyri, and hardly any of the fluid around the brain.
    tissues[~(ndimage.binary_closing(solid, iterations=3) | np.isin(numbers, _VENTRICLES))] = OUTSIDE
    box = ndimage.find_objects((tissues > 0).astype(np.uint8))[0]
    box = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in box)
    return tissues[box], np.isin(numbers, _VENTRICLES)[box]


def smooth_noise(shape, width: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with structures of about ``width`` voxels, mean 0 and SD 1."""
    coarse = rng.standard_normal([int(np.ceil(n / width)) + 3 for n in shape]).astype(np.float32)
    fine = ndimage.zoom(coarse, [width] * 3, order=1, grid_mode=True, mode="nearest")
    start = [int(rng.integers(0, f - n + 1)) for f, n in zip(fine.shape, shape)]
    noise = fine[tuple(slice(s, s + n) for s, n in zip(start, shape))]
    return (noise - noise.mean()) / (noise.std() + 1e-6)


def another_head(tissues, ventricles, rng):
    """Mirrored, turned and stretched."""
    if rng.random() < 0.5:
        tissues, ventricles = tissues[:, :, ::-1], ventricles[:, :, ::-1]
    turn = np.eye(3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle = np.deg2rad(rng.normal(0, 6))
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    matrix = turn @ np.diag(np.exp(rng.normal(0, 0.06, 3)))
    center = (np.array(tissues.shape) - 1) / 2
    offset = center - matrix @ center
    return (ndimage.affine_transform(tissues, matrix, offset, order=0),
            ndimage.affine_transform(ventricles.astype(np.uint8), matrix, offset, order=0) > 0)


def healthy_flair(tissues, ventricles, rng):
    """Brightness in a FLAIR; white matter is about 1."""
    levels = {OUTSIDE: 0.0, WHITE: 1.0, CORTEX: rng.uniform(1.02, 1.4), DEEP: rng.uniform(0.9, 1.25),
              FLUID: rng.uniform(0.1, 0.6), BELOW: rng.uniform(0.85, 1.3)}
    image = _painted(tissues, levels, 0.10, rng)
    # Bright, but no tumor: caps around the ventricles, stretches of cortex.
    if rng.random() < 0.7:
        cap = ndimage.gaussian_filter(ventricles.astype(np.float32), rng.uniform(0.8, 1.8)) * (tissues == WHITE)
        image *= 1 + rng.uniform(0.3, 1.2) * cap * (smooth_noise(image.shape, 10, rng) > rng.normal(0, 0.7))
    if rng.random() < 0.5:
        patches = np.clip(smooth_noise(image.shape, 12, rng) - 1.0, 0, 1)
        image *= 1 + rng.uniform(0.1, 0.5) * patches * np.isin(tissues, (CORTEX, DEEP, BELOW))
    return image


def healthy_t1c(tissues, ventricles, rng):
    """Brightness in a T1 after contrast: white matter is about 1, fluid about 0, and what is in between a part of it.

    ``virtual_tumors.virtual_case`` makes fluid brighter than black.
    """
    cortex = rng.uniform(0.4, 0.8)
    levels = {OUTSIDE: 0.0, WHITE: 1.0, CORTEX: cortex, DEEP: rng.uniform(cortex, 0.95), FLUID: 0.0,
              BELOW: rng.uniform(0.75, 1.0)}
    image = _painted(tissues, levels, 0.05, rng)
    for place in (_vessels(tissues, rng), _meninges(tissues, rng), _plexus(ventricles, rng)):
        image = np.where(place, rng.uniform(1.2, 3.0) * (1 + 0.2 * smooth_noise(image.shape, 3, rng)), image)
    return image


def acquired(image, inside, rng):
    """With a field, blurred (more across slices), noisy, and the brain cut out."""
    image = image * np.exp(rng.uniform(0, 0.15) * smooth_noise(image.shape, 30, rng))
    blur = rng.uniform(0.3, 0.8)
    image = ndimage.gaussian_filter(image, (max(blur, rng.uniform(0, 1.5)), blur, blur), truncate=3)
    image = image + rng.uniform(0.005, 0.05) * rng.standard_normal(image.shape)
    return np.where(inside, np.maximum(image, 0.02), 0).astype(np.float32)


def _painted(tissues, levels, most, rng):
    image = np.array([levels[tissue] for tissue in range(6)], np.float32)[tissues]
    return image * (1 + rng.uniform(0.02, most) * smooth_noise(image.shape, 6, rng))


def _vessels(tissues, rng):
    """Winding lines, where two smooth fields are 0 at once, most of them between the gyri."""
    width = rng.uniform(0.04, 0.12)
    lines = np.ones(tissues.shape, bool)
    for _ in range(2):
        lines &= np.abs(smooth_noise(tissues.shape, 9, rng)) < width
    return lines & (np.isin(tissues, (CORTEX, FLUID)) | (smooth_noise(tissues.shape, 12, rng) > 1.3))


def _meninges(tissues, rng):
    """Stretches of the surface; and the sinus along its midline."""
    inside = tissues != OUTSIDE
    surface = inside & ~ndimage.binary_erosion(inside)
    place = surface & (smooth_noise(tissues.shape, 8, rng) > rng.uniform(0.8, 2.2))
    if rng.random() < 0.7:
        columns = np.arange(tissues.shape[2]) - np.average(np.arange(tissues.shape[2]), weights=inside.sum((0, 1)))
        deep = inside & ~ndimage.binary_erosion(inside, iterations=int(rng.integers(2, 4)))
        place |= deep & (np.abs(columns) < rng.uniform(1, 2.2)) & (smooth_noise(tissues.shape, 15, rng) > -0.5)
    return place


def _plexus(ventricles, rng):
    return ventricles & (smooth_noise(ventricles.shape, 3, rng) > rng.uniform(0.8, 2.5))
