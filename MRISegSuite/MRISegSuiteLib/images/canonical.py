"""Anatomical axis order without resampling: a permutation and flips of the voxel array, and its exact inverse.

SimpleITK's ``DICOMOrient`` is not used: it assigns the axes one after the other, so that strongly oblique volumes get
another assignment than the nearest one (25 of 500 random directions), and it has no inverse. Here the assignment is
the best of all six permutations, and the inverse is read from the two images' geometry.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import SimpleITK as sitk

#: Letter -> (axis of LPS, direction of growing coordinate).
_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


def nearest_axes(image: sitk.Image) -> str:
    """Three letters: the anatomical direction in which each index axis (i, j, k) grows, e.g. ``LPS``.

    Oblique volumes get the letters of the permutation that agrees best with their direction cosines (the largest sum
    of absolute cosines), which always uses each of L/R, P/A and S/I once.
    """
    direction = _direction_of(image)
    cosines = np.abs(direction)
    best = max(permutations(range(3)), key=lambda rows: sum(cosines[row, axis] for axis, row in enumerate(rows)))
    letters = ""
    for axis, row in enumerate(best):
        letters += "LPS"[row] if direction[row, axis] >= 0 else "RAI"[row]
    return letters


def to_canonical(image: sitk.Image, axes: str = "LIP") -> sitk.Image:
    """The same voxels in the index order ``axes``: nothing is resampled and no voxel moves in space.

    Args:
        image: any 3D image (scalar or vector), any geometry, also left-handed.
        axes: three letters, the anatomical direction in which index i, j and k shall grow (``RAS`` means that i grows
            towards the right). An oblique image gets the axes nearest to them.

    Returns:
        The image with permuted and flipped index axes; origin (LPS, mm) and direction cosines follow. Its handedness
        may differ from that of ``image``: ``axes`` decides.

    Raises:
        ValueError: ``axes`` does not name each anatomical axis once, or the image is not 3D.
    """
    wanted = _checked(axes)
    have = [_LETTERS[letter] for letter in nearest_axes(image)]
    order, flips = [], []
    for lps_axis, sign in (_LETTERS[letter] for letter in wanted):
        source = next(axis for axis, (row, _) in enumerate(have) if row == lps_axis)
        order.append(source)
        flips.append(have[source][1] != sign)
    return _rearranged(image, order, flips)


def from_canonical(image: sitk.Image, like: sitk.Image) -> sitk.Image:
    """Bring ``image``, made by :func:`to_canonical` from an image with the geometry of ``like``, back to that one.

    Works for whatever was computed on the canonical grid (label maps, probabilities). The result has exactly the size,
    spacing, origin and direction of ``like``.

    Raises:
        ValueError: the two grids are not the same voxels in another order.
    """
    direction, target = _direction_of(image), _direction_of(like)
    agreement = direction.T @ target  # [axis of image, axis of like]
    order = [int(np.argmax(np.abs(agreement[:, axis]))) for axis in range(3)]
    if sorted(order) != [0, 1, 2]:
        raise ValueError("the image's axes are not a permutation of the other image's axes")
    flips = [bool(agreement[order[axis], axis] < 0) for axis in range(3)]
    result = _rearranged(image, order, flips)
    if not same_grid(result, like):
        raise ValueError("the two images do not hold the same voxels: sizes, spacing, origin or direction differ")
    result.CopyInformation(like)  # the last bits, too: rounding in the corner's position must not add up
    return result


def index_to_lps(image: sitk.Image) -> np.ndarray:
    """(4, 4) matrix from the index (i, j, k, 1) of a voxel to its place in LPS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def same_grid(first: sitk.Image, second: sitk.Image, tolerance: float = 1e-3) -> bool:
    """True when both images have the same size and no corner voxel lies further apart than ``tolerance`` voxels."""
    if first.GetDimension() != second.GetDimension() or first.GetSize() != second.GetSize():
        return False
    size = np.array(first.GetSize())
    spacing = min(first.GetSpacing())
    for corner in np.ndindex(*(2,) * first.GetDimension()):
        index = [int(i) for i in np.array(corner) * (size - 1)]
        apart = np.subtract(first.TransformIndexToPhysicalPoint(index), second.TransformIndexToPhysicalPoint(index))
        if np.linalg.norm(apart) > tolerance * spacing:
            return False
    return True


def _rearranged(image: sitk.Image, order: list[int], flips: list[bool]) -> sitk.Image:
    """New index axis n is old axis ``order[n]``, reversed where ``flips[n]``."""
    size, spacing, direction = image.GetSize(), image.GetSpacing(), _direction_of(image)
    corner = [0, 0, 0]
    for axis, flip in zip(order, flips, strict=True):
        if flip:
            corner[axis] = size[axis] - 1
    array = sitk.GetArrayViewFromImage(image)  # [k, j, i(, component)]
    numpy_order = [2 - order[2 - axis] for axis in range(3)]
    steps = tuple(slice(None, None, -1 if flips[2 - axis] else 1) for axis in range(3))
    components = array.ndim - 3
    array = array.transpose(*numpy_order, *range(3, 3 + components))[steps]
    result = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=components > 0)
    result.SetSpacing([spacing[axis] for axis in order])
    result.SetOrigin(image.TransformIndexToPhysicalPoint(corner))
    signs = np.where(flips, -1.0, 1.0)
    result.SetDirection((direction[:, order] * signs).ravel().tolist())
    return result


def _direction_of(image: sitk.Image) -> np.ndarray:
    if image.GetDimension() != 3:
        raise ValueError(f"a 3D image is needed, not a {image.GetDimension()}D one")
    return np.array(image.GetDirection()).reshape(3, 3)


def _checked(axes: str) -> str:
    axes = axes.upper()
    if len(axes) != 3 or sorted(_LETTERS[a][0] for a in axes if a in _LETTERS) != [0, 1, 2]:
        raise ValueError(f"axes are three letters, one each of L/R, P/A and S/I, not {axes!r}")
    return axes
