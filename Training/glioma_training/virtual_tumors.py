"""Generated gliomas: lesions of random shape in virtual heads, with what they look like in FLAIR and T1c.

What is fixed: edema is brighter than the white matter around it in FLAIR and darker in T1c. A core is one compact
piece that may reach out of the edema; in FLAIR it may be anything, in T1c it is dark except for what enhances: a rim,
most of it, patches, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .virtual_heads import (
    BELOW,
    CORTEX,
    DEEP,
    FLUID,
    OUTSIDE,
    SPACING_MM,
    WHITE,
    acquired,
    another_head,
    healthy_flair,
    healthy_t1c,
    smooth_noise,
)


@dataclass
class Lesion:
    """Masks (bool), each within the one before; and what the core is made of where it does not enhance."""

    whole: np.ndarray
    core: np.ndarray
    enhancing: np.ndarray
    inside: str


def virtual_case(tissues: np.ndarray, ventricles: np.ndarray, rng: np.random.Generator):
    """FLAIR- and T1c-like images of one head, from the tissues of a label map.

    Returns:
        Images (2, D, H, W), float32, 0 outside of the brain; and bool (3, D, H, W): whole tumor, core, what enhances.
    """
    tissues, ventricles = another_head(tissues, ventricles, rng)
    flair, t1c = healthy_flair(tissues, ventricles, rng), healthy_t1c(tissues, ventricles, rng)
    found = np.zeros((3, *tissues.shape), bool)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.05, 0.82, 0.13]))):
        lesion = _lesion(tissues, ventricles, rng)
        if lesion is not None:
            flair = _in_flair(flair, lesion, rng)
            t1c = _in_t1c(t1c, lesion, rng)
            found |= [lesion.whole, lesion.core, lesion.enhancing]
    inside = tissues != OUTSIDE
    black = rng.uniform(0.3, 0.65)  # fluid in T1c
    return np.stack([acquired(flair, inside, rng), acquired(black + (1 - black) * t1c, inside, rng)]), found


def _lesion(tissues, ventricles, rng) -> Lesion | None:
    whole = _edema(tissues, rng)
    if not whole.any():
        return None
    core = enhancing = np.zeros_like(whole)
    if rng.random() < 0.85:
        core = _core(whole, (tissues != OUTSIDE) & ~ventricles, rng)
        enhancing = _enhancing(core, rng)
    inside = str(rng.choice(["cyst", "necrosis", "solid"], p=[0.2, 0.55, 0.25]))
    return Lesion(whole | core, core, enhancing, inside)


def _edema(tissues, rng):
    """One piece around a random place in a hemisphere."""
    places = np.flatnonzero((tissues == WHITE) | ((tissues == DEEP) & (rng.random() < 0.3)))
    center = np.unravel_index(int(rng.choice(places)), tissues.shape)
    wanted = np.exp(rng.uniform(np.log(4e3), np.log(2.2e5))) / SPACING_MM**3
    field, radius = _blob(tissues.shape, center, wanted, 0.25, rng)
    field += rng.uniform(0.15, 0.45) * smooth_noise(tissues.shape, max(2.5, radius * rng.uniform(0.4, 0.9)), rng)
    field += rng.uniform(0.03, 0.12) * smooth_noise(tissues.shape, 3, rng)
    # Edema spreads in white matter and leaves cortex alone; a mass does not.
    field -= rng.uniform(0.0, 0.6) * (tissues == CORTEX) + rng.uniform(0.0, 0.4) * (tissues == DEEP)
    return _largest(ndimage.binary_opening(_highest(field, ~np.isin(tissues, (OUTSIDE, BELOW, FLUID)), wanted)))


def _core(whole, allowed, rng):
    """One compact piece that begins somewhere in the lesion."""
    depth = ndimage.distance_transform_edt(whole)
    places = np.flatnonzero(depth >= rng.uniform(0, 0.8) * depth.max())
    places = places[whole.flat[places]]
    center = np.unravel_index(int(rng.choice(places)), whole.shape)
    wanted = max(60, min(np.exp(rng.uniform(np.log(2e3), np.log(9e4))) / SPACING_MM**3, 1.2 * whole.sum()))
    field, radius = _blob(whole.shape, center, wanted, 0.2, rng)
    field += rng.uniform(0.08, 0.25) * smooth_noise(whole.shape, max(2.5, radius * rng.uniform(0.4, 1.0)), rng)
    return _largest(_highest(field, allowed, wanted))


def _enhancing(core, rng):
    depth = ndimage.distance_transform_edt(core)
    noise = smooth_noise(core.shape, rng.uniform(3, 7), rng)
    kind = rng.choice(["rim", "solid", "patches", "none"], p=[0.6, 0.18, 0.1, 0.12])
    begin = rng.uniform(0, 2) if rng.random() < 0.3 else 0.0  # core that does not enhance, outside of the rim
    if kind == "rim":
        gaps = smooth_noise(core.shape, 8, rng) < rng.uniform(-3.5, -0.8)
        return core & (depth > begin) & (depth <= begin + rng.uniform(1.0, 4.0) * (1 + 0.35 * noise)) & ~gaps
    if kind == "solid":
        return core & (depth > begin) & (noise < rng.uniform(0.8, 2.5))
    if kind == "patches":
        return core & (noise > rng.uniform(0.3, 1.5))
    return np.zeros_like(core)


def _in_flair(image, lesion: Lesion, rng):
    texture = 1 + rng.uniform(0.03, 0.15) * smooth_noise(image.shape, 4, rng)
    keep = rng.uniform(0, 0.5)  # what is below shines through
    bright = rng.uniform(1.35, 2.5)
    edema = bright * ((1 - keep) + keep * image) * texture
    soft = ndimage.gaussian_filter(lesion.whole.astype(np.float32), rng.uniform(0.4, 1.0))
    if rng.random() < 0.5:  # dim outskirts
        depth = ndimage.distance_transform_edt(lesion.whole)
        soft = soft * (1 - rng.uniform(0, 0.6) * np.exp(-depth / rng.uniform(2, 6)))
    image = image * (1 - soft) + edema * soft
    # Cysts are dark; solid tumor and most necrosis are as bright as the edema, other necrosis may be anything.
    level = {
        "cyst": rng.uniform(0.15, 0.7),
        "necrosis": (rng.uniform(0.25, 1.4) if rng.random() < 0.4 else bright * rng.uniform(0.8, 1.5)),
        "solid": bright * rng.uniform(0.7, 1.3),
    }[lesion.inside]
    image = _over(image, lesion.core, level * texture, rng.uniform(0.5, 1.0))
    if rng.random() < 0.7:
        image = _over(image, lesion.enhancing, bright * rng.uniform(0.6, 1.1) * texture, 0.6)
    return image


def _in_t1c(image, lesion: Lesion, rng):
    """See ``healthy_t1c``: fluid is 0, white matter 1."""
    edema = ndimage.gaussian_filter(lesion.whole.astype(np.float32), 0.8)
    image = image * (1 - rng.uniform(0.05, 0.4) * edema)
    level = rng.uniform(*{"cyst": (0.0, 0.15), "necrosis": (0.0, 0.5), "solid": (0.5, 1.0)}[lesion.inside])
    image = _over(image, lesion.core, level * (1 + 0.15 * smooth_noise(image.shape, 5, rng)), 0.6)
    shine = np.exp(rng.uniform(np.log(1.25), np.log(3.0)))
    return _over(image, lesion.enhancing, shine * (1 + rng.uniform(0, 0.15) * smooth_noise(image.shape, 4, rng)), 0.5)


def _over(image, mask, level, blur):
    soft = ndimage.gaussian_filter(mask.astype(np.float32), blur)
    return image * (1 - soft) + level * soft


def _blob(shape, center, voxels, spread, rng):
    """Minus the distance from a center, 1 at the surface of an ellipsoid of so many voxels; and its mean radius."""
    stretch = np.exp(rng.normal(0, spread, 3))
    steps = [(np.arange(n) - c) / s for n, c, s in zip(shape, center, stretch)]
    distance = np.sqrt(steps[0][:, None, None] ** 2 + steps[1][None, :, None] ** 2 + steps[2][None, None, :] ** 2)
    radius = (voxels * 3 / (4 * np.pi)) ** (1 / 3)
    return -distance / radius, radius


def _highest(field, allowed, voxels):
    """So many of the allowed voxels (at most 30 %), those with the highest values."""
    field = np.where(allowed, field, -9)
    return field > np.sort(field, axis=None)[-int(min(voxels, np.count_nonzero(field > -9) * 0.3)) - 1]


def _largest(mask):
    """The largest piece, without holes."""
    pieces, count = ndimage.label(mask)
    if count:
        mask = pieces == 1 + int(np.argmax(ndimage.sum_labels(mask, pieces, range(1, count + 1))))
    return ndimage.binary_fill_holes(mask)
