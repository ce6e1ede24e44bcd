"""Brains with tumors that nobody has: FLAIR- and T1c-like images made from label maps, lesions of random shape.

No MR image is used. Contrast, field, noise and slice thickness are random (Billot et al. 2023, domain randomization);
what is fixed is what makes an image a FLAIR: fluid is dark, a lesion is brighter than the white matter around it,
except for its core, which may be anything; and what makes it a T1 after contrast: gray matter and lesions are darker
than white matter, except for what enhances.
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
    # Brain extraction leaves a rim of the fluid around the brain.
    tissues[~ndimage.binary_closing(ndimage.binary_dilation(solid), iterations=4)] = OUTSIDE
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


def virtual_case(tissues: np.ndarray, ventricles: np.ndarray, rng: np.random.Generator):
    """FLAIR- and T1c-like images of one head, from the tissues of a label map.

    Returns:
        Images (2, D, H, W), float32, 0 outside of the brain; and bool (3, D, H, W): whole tumor, core, what enhances.
    """
    tissues, ventricles = _another_head(tissues, ventricles, rng)
    image = _healthy(tissues, ventricles, rng)
    tumor, core = np.zeros(tissues.shape, bool), np.zeros(tissues.shape, bool)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.06, 0.8, 0.14]))):
        one, field = _lesion(tissues, rng)
        if one.any():
            image, inner = _with_lesion(image, one, field, rng)
            tumor |= one
            core |= inner
    flair = _acquired(image, tissues != OUTSIDE, rng)
    t1c, enhancing = _after_contrast(tissues, tumor, core, rng)
    return np.stack([flair, _acquired(t1c, tissues != OUTSIDE, rng)]), np.stack([tumor, core, enhancing])


def _acquired(image, inside, rng):
    """With a field, blurred (more across slices), noisy, and the brain cut out."""
    image = image * np.exp(rng.uniform(0, 0.15) * smooth_noise(image.shape, 30, rng))
    blur = rng.uniform(0.2, 0.6)
    image = ndimage.gaussian_filter(image, (max(blur, rng.uniform(0, 1.5)), blur, blur), truncate=3)
    image = image + rng.uniform(0.01, 0.05) * rng.standard_normal(image.shape)
    return np.where(inside, np.maximum(image, 0.02), 0).astype(np.float32)


def _after_contrast(tissues, tumor, core, rng):
    """A T1-like image and what enhances in it: the rim of the core, or most of it, or nothing."""
    gray = rng.uniform(0.65, 0.9)
    levels = {OUTSIDE: 0.0, WHITE: 1.0, CORTEX: gray, DEEP: rng.uniform(gray, 0.97), FLUID: rng.uniform(0.15, 0.45),
              BELOW: rng.uniform(0.85, 1.0)}
    image = np.array([levels[tissue] for tissue in range(6)], np.float32)[tissues]
    image *= 1 + rng.uniform(0.02, 0.06) * smooth_noise(image.shape, 6, rng)
    # Vessels and meninges enhance, too.
    vessels = (smooth_noise(image.shape, 3, rng) > rng.uniform(2.0, 2.6)) & np.isin(tissues, (CORTEX, FLUID))
    image = np.where(vessels, rng.uniform(1.2, 2.0), image)
    edema = ndimage.gaussian_filter(tumor.astype(np.float32), 0.8)
    image *= 1 - rng.uniform(0.05, 0.35) * edema
    depth = ndimage.distance_transform_edt(core)
    rim = rng.uniform(1.0, 5.0) * (1 + 0.4 * smooth_noise(image.shape, 5, rng))
    enhancing = core & (depth <= rim) & (smooth_noise(image.shape, 8, rng) > rng.uniform(-2.5, -0.6))
    if rng.random() < 0.12:  # low grade
        enhancing[:] = False
    dead = ndimage.gaussian_filter((core & ~enhancing).astype(np.float32), 0.6)
    image = image * (1 - dead) + rng.uniform(0.35, 0.85) * dead
    bright = ndimage.gaussian_filter(enhancing.astype(np.float32), 0.5)
    level = rng.uniform(1.25, 2.4) * (1 + 0.1 * smooth_noise(image.shape, 4, rng))
    return image * (1 - bright) + level * bright, enhancing


def _another_head(tissues, ventricles, rng):
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


def _healthy(tissues, ventricles, rng):
    white = 1.0
    cortex = white * rng.uniform(1.02, 1.4)
    levels = {OUTSIDE: 0.0, WHITE: white, CORTEX: cortex, DEEP: white * rng.uniform(0.9, 1.25),
              FLUID: rng.uniform(0.1, 0.6), BELOW: white * rng.uniform(0.85, 1.3)}
    image = np.array([levels[tissue] for tissue in range(6)], np.float32)[tissues]
    image *= 1 + rng.uniform(0.02, 0.10) * smooth_noise(image.shape, 6, rng)
    # Bright, but no tumor: caps around the ventricles, stretches of cortex.
    if rng.random() < 0.7:
        cap = ndimage.gaussian_filter(ventricles.astype(np.float32), rng.uniform(0.8, 1.8)) * (tissues == WHITE)
        image *= 1 + rng.uniform(0.3, 1.2) * cap * (smooth_noise(image.shape, 10, rng) > rng.normal(0, 0.7))
    if rng.random() < 0.5:
        patches = np.clip(smooth_noise(image.shape, 12, rng) - 1.0, 0, 1)
        image *= 1 + rng.uniform(0.1, 0.5) * patches * np.isin(tissues, (CORTEX, DEEP, BELOW))
    return image


def _lesion(tissues, rng):
    """A lesion (bool, one piece) around a random place in a hemisphere; and how deep inside each voxel lies."""
    places = np.flatnonzero((tissues == WHITE) | ((tissues == DEEP) & (rng.random() < 0.3)))
    center = np.array(np.unravel_index(int(rng.choice(places)), tissues.shape))
    wanted = np.exp(rng.uniform(np.log(4e3), np.log(2.2e5))) / SPACING_MM**3
    stretch = np.exp(rng.normal(0, 0.25, 3))
    steps = [(np.arange(n) - c) / s for n, c, s in zip(tissues.shape, center, stretch)]
    distance = np.sqrt(steps[0][:, None, None] ** 2 + steps[1][None, :, None] ** 2 + steps[2][None, None, :] ** 2)
    radius = (wanted * 3 / (4 * np.pi)) ** (1 / 3)
    field = -distance / radius
    field += rng.uniform(0.15, 0.45) * smooth_noise(tissues.shape, max(2.5, radius * rng.uniform(0.4, 0.9)), rng)
    field += rng.uniform(0.03, 0.12) * smooth_noise(tissues.shape, 3, rng)
    # Edema spreads in white matter and leaves cortex alone; a mass does not.
    field -= rng.uniform(0.0, 0.6) * (tissues == CORTEX) + rng.uniform(0.0, 0.4) * (tissues == DEEP)
    field[(tissues == OUTSIDE) | (tissues == BELOW)] = -9
    field[tissues == FLUID] = -9
    level = np.sort(field, axis=None)[-int(min(wanted, np.count_nonzero(field > -9) * 0.3))]
    inside = ndimage.binary_opening(field > level)
    pieces, count = ndimage.label(inside)
    if count:
        inside = pieces == 1 + int(np.argmax(ndimage.sum_labels(inside, pieces, range(1, count + 1))))
    return ndimage.binary_fill_holes(inside), field - level


def _with_lesion(image, inside, field, rng):
    soft = ndimage.gaussian_filter(inside.astype(np.float32), rng.uniform(0.4, 1.0))
    texture = 1 + rng.uniform(0.03, 0.15) * smooth_noise(image.shape, 4, rng)
    keep = rng.uniform(0, 0.5)  # what is below shines through
    edema = rng.uniform(1.35, 2.5) * ((1 - keep) + keep * image) * texture
    image = image * (1 - soft) + edema * soft
    inner = np.zeros_like(inside)
    if rng.random() < 0.75:
        deep = field[inside]
        inner = inside & (field > np.quantile(deep, rng.uniform(0.4, 0.95)))
        core = ndimage.gaussian_filter(inner.astype(np.float32), rng.uniform(0.5, 1.0))
        # Necrosis is dark, solid tumor about as bright as the brain, and either may be brighter than the edema.
        kind = int(np.searchsorted((0.35, 0.7), rng.random(), "right"))
        level = rng.uniform(*((0.25, 0.9), (0.9, 1.6), (1.6, 2.6))[kind])
        image = image * (1 - core) + level * texture * core
    return image, inner
