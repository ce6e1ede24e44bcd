"""Bringing masks to the grid of a case without resampling: other axis order, flips, and other extent are exact."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import spacing_sentence

#: How far (voxels) a corner may lie off and the grids still be called the same: headers are rounded.
_TOLERANCE_VOXELS = 0.05


def on_grid(array: np.ndarray, of: sitk.Image, grid: sitk.Image, path, reference: str) -> tuple[np.ndarray, int]:
    """An array (k, j, i) on the grid of ``of`` as one on ``grid``, voxel for voxel.

    The two must share a lattice: axes in another order or direction, and an image that begins or ends elsewhere (a
    segmentation that Slicer cropped when saving) are fine.

    Args:
        array: bool, or numbers; what lies outside of it is 0.
        of: an image with its geometry. grid: an image with the geometry that is wanted.
        path, reference: what to call the two in messages.

    Returns:
        the array, and how many of its voxels that are not 0 lie outside of ``grid``.

    Raises:
        BadInput: the voxels of the two do not coincide.
    """
    matrix, offset = _index_map(of, grid)
    steps = np.rint(matrix)
    size = np.array(of.GetSize())
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(3, -1)
    start = np.rint(offset)
    error = np.abs((matrix - steps) @ corners + (offset - start)[:, None]).max()
    is_permutation = (np.abs(steps).sum(axis=0) == 1).all() and (np.abs(steps).sum(axis=1) == 1).all()
    if not is_permutation or error > _TOLERANCE_VOXELS:
        raise BadInput(
            f"{path} lies on another grid than {reference}: {_described(of)} against {_described(grid)}.",
            "Resample the mask to the image first (nearest neighbor), or make it on that image.",
        )
    # steps[a, b] is not 0: axis b of the mask runs along axis a of the grid. Arrays count axes backwards.
    order = [int(np.argmax(np.abs(steps[axis]))) for axis in range(3)]
    signs = [int(steps[axis, order[axis]]) for axis in range(3)]
    turned = array.transpose([2 - order[axis] for axis in (2, 1, 0)])
    turned = turned[tuple(slice(None, None, signs[axis]) for axis in (2, 1, 0))]
    lengths = np.array(turned.shape[::-1])
    first = np.array([start[a] if signs[a] > 0 else start[a] - (lengths[a] - 1) for a in range(3)]).astype(int)
    result = np.zeros(grid.GetSize()[::-1], array.dtype)
    low, high = np.maximum(first, 0), np.minimum(first + lengths, grid.GetSize())
    if (high <= low).any():
        return result, int(np.count_nonzero(array))
    there = tuple(slice(low[a], high[a]) for a in (2, 1, 0))
    here = tuple(slice(low[a] - first[a], high[a] - first[a]) for a in (2, 1, 0))
    result[there] = turned[here]
    return result, int(np.count_nonzero(array)) - int(np.count_nonzero(result))


def _index_map(of: sitk.Image, grid: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset from the index (i, j, k) in ``of`` to that in ``grid``."""

    def parts(image):
        axes = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        return axes, np.array(image.GetOrigin())

    (source, begin), (target, origin) = parts(of), parts(grid)
    inverse = np.linalg.inv(target)
    return inverse @ source, inverse @ (begin - origin)


def _described(image: sitk.Image) -> str:
    place = ", ".join(f"{value:.1f}" for value in image.GetOrigin())
    return f"{spacing_sentence(image)} from ({place})"
