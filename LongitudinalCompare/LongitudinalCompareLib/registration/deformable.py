"""A deformable registration of two scans that are aligned already: where one gives way to the other.

A view of its own: no mask is warped with it and no volume comes from it. Regularization spreads what grew over what
lies around it, so that a lesion's true growth is larger than what shows here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from .common_space import common_grid, into_common_space
from .engines import EngineMissing
from .engines.greedy import Greedy, deform
from .preparation import Prepared

#: Voxels between the end of a field of view and what is compared: local correlation looks two voxels far.
_AWAY_VOXELS = 3


def require_deformable() -> None:
    """See that a deformable registration is possible here.

    Raises:
        EngineMissing: greedy is not installed.
    """
    try:
        Greedy()
    except EngineMissing as error:
        raise EngineMissing(
            "The Jacobian map needs the package picsl-greedy, which is not installed.",
            "Install it (in Slicer: module MRI Seg Suite), or leave the Jacobian map out: no other engine makes one.",
        ) from error


def deformation(
    pair: Sequence[Prepared], from_common: Sequence[np.ndarray]
) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Where the points of each scan lie in the other, beyond the rigid registration: registered both ways.

    Args:
        pair: the two scans. from_common: for each the (4, 4) matrix from points of the common space to its points.

    Returns:
        Displacements u (mm, LPS, three components) on an isotropic grid of the common space: what lies at x in the
        first scan lies at x + u in the second; the same from the second to the first; and the part of the grid that is
        inside of both masks (uint8).

    Raises:
        EngineMissing: greedy is not installed.
    """
    require_deformable()
    grid = common_grid([one.image for one in pair], from_common)
    images = [into_common_space(one.image, grid, matrix) for one, matrix in zip(pair, from_common, strict=True)]
    # the whole brain: the lesions, left out of what steers the rigid registration, are what this is about
    masks = [
        into_common_space(one.found.image, grid, matrix, labels=True)
        for one, matrix in zip(pair, from_common, strict=True)
    ]
    # the end of a field of view is no border of tissue: nothing near it is compared, or shown
    fields = [
        into_common_space(_everywhere(one.found.image), grid, matrix, labels=True)
        for one, matrix in zip(pair, from_common, strict=True)
    ]
    both = sitk.BinaryErode(fields[0] & fields[1], [_AWAY_VOXELS] * 3, sitk.sitkBox, 0, 1, False)
    steering = (masks[0] | masks[1]) & both
    return deform(*images, steering), deform(*images[::-1], steering), masks[0] & masks[1] & both


def _everywhere(image: sitk.Image) -> sitk.Image:
    result = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    result.CopyInformation(image)
    return result
