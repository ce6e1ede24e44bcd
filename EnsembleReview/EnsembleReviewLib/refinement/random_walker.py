"""The random walker with priors on a regular grid of voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import dia_array
from scipy.sparse.linalg import LinearOperator, cg

#: A weight that makes a voxel as good as fixed.
FIXED = 1e3
_LEAST_WEIGHT = 1e-3  # of an edge, so that no voxel is cut off
_TOLERANCE, _MOST_STEPS = 1e-3, 300


def random_walker(image: np.ndarray, prior: np.ndarray, weight: np.ndarray, spacing: Sequence[float],
                  contrast: float) -> np.ndarray:
    """Probability of the foreground for each voxel.

    Minimizes sum over neighbors w_ij (x_i - x_j)^2 + sum over voxels weight_i (x_i - prior_i)^2, the random walker
    (Grady 2006, IEEE TPAMI 28:1768) with priors (Grady 2005, CVPR 1:763). An edge weighs
    w_ij = exp(-(g_i - g_j)^2 / (2 contrast^2)) / d_ij^2 with d_ij the distance of the voxels in mm: the sum is that of
    an integral over the tissue, so the answer does not hang on how finely it was scanned.

    Args:
        image: gray values g, 3D.
        prior: what a voxel is without its neighbors, 0 … 1.
        weight: how much that counts, >= 0, in 1/mm2; :data:`FIXED` for a seed. A prior of weight w reaches about
            1/sqrt(w) mm far into even tissue.
        spacing: mm along each axis of the arrays.
        contrast: difference of gray values that tells two tissues apart; > 0.

    Returns:
        Probabilities, float64, 0 … 1.
    """
    spacing = np.asarray(spacing, dtype=np.float64)
    gray = np.ascontiguousarray(image, dtype=np.float64)
    strides = np.array(gray.strides) // gray.itemsize
    diagonal = np.array(weight, dtype=np.float64)
    bands, offsets = [], []
    for axis in range(gray.ndim):
        before, after = _neighbors(gray.ndim, axis)
        edge = np.exp(-((gray[after] - gray[before]) ** 2) / (2 * contrast**2))
        edge = np.maximum(edge, _LEAST_WEIGHT) / spacing[axis] ** 2
        diagonal[before] += edge
        diagonal[after] += edge
        band = np.zeros(gray.shape)
        band[before] = -edge
        bands.append(band.ravel())
        offsets.append(int(strides[axis]))
    size = gray.size
    upper = [np.concatenate([np.zeros(offset), band[: size - offset]])
             for band, offset in zip(bands, offsets, strict=True)]
    matrix = dia_array((np.stack([diagonal.ravel(), *upper, *bands]), [0, *offsets, *(-o for o in offsets)]),
                       shape=(size, size))
    right = (np.asarray(weight, dtype=np.float64) * prior).ravel()
    inverse = 1.0 / diagonal.ravel()
    precondition = LinearOperator((size, size), matvec=lambda x: inverse * x)
    start = np.asarray(prior, dtype=np.float64).ravel()
    x, _ = cg(matrix, right, x0=start, rtol=_TOLERANCE, maxiter=_MOST_STEPS, M=precondition)
    return np.clip(x.reshape(gray.shape), 0.0, 1.0)


def _neighbors(dimension: int, axis: int):
    whole = [slice(None)] * dimension
    before, after = list(whole), list(whole)
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)
