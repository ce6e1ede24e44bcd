"""How much a volume changes when the same lesion lies elsewhere on the voxel grid.

A voxel is inside when its center is; shifted by a part of a voxel, the same body holds another number of centers. By
Poisson summation the variance over all shifts is exactly the sum, over the reciprocal lattice without its origin, of
the squared Fourier transform of the body (Kendall 1948). It is known in closed form for an ellipsoid, and that with
the lesion's volume and second moments stands for the lesion. As a function of size it swings between nothing and
twice its mean. The size is known only as well as the volume, so the larger of the mean and of what it is around that
size is taken.

An uneven body has more surface, and the variance grows with it: it is multiplied by the number of voxel faces on the
lesion's border over that of the ellipsoid.
"""

from __future__ import annotations

import numpy as np

#: Terms along each axis of the reciprocal lattice, each side; what is left out is a few percent of the deviation.
_TERMS = 12


def unevenness(mask: np.ndarray, covariance: np.ndarray, steps: np.ndarray) -> float:
    """Area of the voxel faces on a lesion's border over that of the ellipsoid of its volume and moments; 1 or more.

    A convex body shows its projection along an index axis twice in faces across that axis.

    Args:
        mask: bool [k, j, i] with a frame of background.
        covariance, steps: as for :func:`partial_volume_variance`.
    """
    cell = abs(np.linalg.det(steps))
    values, axes = np.linalg.eigh(covariance)
    semi_axes = np.sqrt(np.maximum(values, 1e-12))
    volume = np.count_nonzero(mask) * cell
    semi_axes *= (volume / (4 / 3 * np.pi * np.prod(semi_axes))) ** (1 / 3)
    normals = np.linalg.inv(steps)  # rows: normals of the faces across i, j, k, as long as 1 / distance of the planes
    faces = expected = 0.0
    for axis in range(3):
        distance = 1 / np.linalg.norm(normals[axis])
        across = 2 - axis
        count = np.count_nonzero(np.diff(mask.astype(np.int8), axis=across))
        faces += count * cell / distance
        shadow = np.pi * np.prod(semi_axes) * np.linalg.norm((normals[axis] * distance) @ axes / semi_axes)
        expected += 2 * shadow
    return max(1.0, faces / expected)


def partial_volume_variance(
    volume_mm3: float, covariance: np.ndarray, steps: np.ndarray, volume_is_sure: bool = True
) -> float:
    """Variance (mm6) of the volume of an ellipsoid over all positions on a voxel grid.

    Args:
        volume_mm3: its volume.
        covariance: its second central moments (3 x 3, mm2); only their ratios count, the volume gives the size.
        volume_is_sure: False takes the size from the moments as well, and gives the variance of the share of it that
            ``volume_mm3`` shows.
        steps: 3 x 3, columns are the steps between neighboring voxels, mm, in the frame of ``covariance``.
    """
    values, axes = np.linalg.eigh(covariance)
    semi_axes = np.sqrt(np.maximum(values, 1e-12))
    if volume_is_sure:
        semi_axes *= (volume_mm3 / (4 / 3 * np.pi * np.prod(semi_axes))) ** (1 / 3)
    else:
        semi_axes *= np.sqrt(5)  # an ellipsoid's variance along an axis is a fifth of the squared semi-axis
    n = np.arange(-_TERMS, _TERMS + 1)
    lattice = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = lattice[len(lattice) // 2 + 1 :]  # half of it: k and -k give the same
    waves = lattice @ np.linalg.inv(steps)  # cycles per mm
    x = 2 * np.pi * np.linalg.norm((waves @ axes) * semi_axes, axis=1)
    over_phases = np.sum(np.minimum(1.0, 4.5 * (1 + x**2) / x**6))
    # the size itself is known to within this deviation; where the swings are slower than that, they count
    sizes = np.exp(np.array([-1.0, 0.0, 1.0]) * np.sqrt(2 * over_phases) / 3)
    at_sizes = np.mean([np.sum((3 * (np.sin(y) - y * np.cos(y)) / y**3) ** 2) for y in (x * size for size in sizes)])
    return float(2 * volume_mm3**2 * max(over_phases, at_sizes))
