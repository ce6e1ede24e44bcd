"""Local expansion from a deformation: the Jacobian determinant. A view of its own, never the source of a volume."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def log_jacobian(field: sitk.Image) -> sitk.Image:
    """ln of the determinant of the deformation x -> x + u(x), voxel by voxel.

    Args:
        field: displacements u in mm (LPS), a vector image of three components; any direction cosines.

    Returns:
        Float32 image: positive where the second image is locally larger (u leads from the first to the second), NaN
        where the deformation folds (determinant not positive).

    Raises:
        ValueError: not a field of displacements, or thinner than two voxels.
    """
    if field.GetDimension() != 3 or field.GetNumberOfComponentsPerPixel() != 3:
        raise ValueError("a displacement field is a 3D image with three components")
    if min(field.GetSize()) < 2:
        raise ValueError("a displacement field needs two voxels along each axis")
    displacement = sitk.GetArrayFromImage(field).astype(np.float64)
    # derivatives along the index axes i, j, k, then along x, y, z through the inverse of the steps
    by_index = np.stack([np.gradient(displacement, axis=axis) for axis in (2, 1, 0)], axis=-1)
    steps = np.array(field.GetDirection()).reshape(3, 3) * np.array(field.GetSpacing())
    gradient = by_index @ np.linalg.inv(steps)
    determinant = np.linalg.det(gradient + np.eye(3))
    values = np.full(determinant.shape, np.nan, np.float32)
    np.log(determinant, out=values, where=determinant > 0, casting="unsafe")
    result = sitk.GetImageFromArray(values)
    result.CopyInformation(field)
    return result
