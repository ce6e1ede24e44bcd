"""Ellipsoid lesions drawn on any voxel grid, and rigid motions between scans."""

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation


def grid(size, spacing, direction=None, center=(0.0, 0.0, 0.0)):
    """An empty image of uint8 whose middle lies at ``center`` (LPS, mm)."""
    image = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    direction = np.eye(3) if direction is None else np.asarray(direction)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection(direction.ravel().tolist())
    half = direction @ ((np.array(size) - 1) * np.array(spacing) / 2)
    image.SetOrigin((np.array(center) - half).tolist())
    return image


def points_of(image):
    """Voxel centers [k, j, i, xyz] in LPS, mm."""
    i, j, k = np.meshgrid(*[np.arange(n) for n in image.GetSize()], indexing="ij")
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    points = np.stack([i, j, k], axis=-1) @ steps.T + np.array(image.GetOrigin())
    return points.transpose(2, 1, 0, 3)


def draw(image, *ellipsoids):
    """Mask of ellipsoids, each (center in LPS mm, 3 x 3 matrix that takes the unit ball to it)."""
    points = points_of(image)
    inside = np.zeros(points.shape[:3], bool)
    for center, matrix in ellipsoids:
        inside |= (((points - np.asarray(center)) @ np.linalg.inv(matrix).T) ** 2).sum(axis=-1) <= 1
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def ball(center, radius):
    return np.asarray(center, float), radius * np.eye(3)


def turned(degrees):
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def halves(rotation_vector_degrees, translation):
    """A rigid motion baseline -> follow-up as two transforms from the space halfway: to baseline, to follow-up."""
    half = sitk.AffineTransform(3)
    half.SetMatrix(Rotation.from_rotvec(np.radians(rotation_vector_degrees) / 2).as_matrix().ravel().tolist())
    half.SetTranslation([float(x) / 2 for x in translation])
    return half.GetInverse(), half


def moved(point, to_baseline, to_followup):
    """Where a point of the baseline lies at follow-up."""
    common = to_baseline.GetInverse().TransformPoint([float(x) for x in point])
    return np.array(to_followup.TransformPoint(common))


def motion_matrix(to_baseline, to_followup):
    """3 x 3 rotation baseline -> follow-up."""
    origin = moved((0, 0, 0), to_baseline, to_followup)
    return np.column_stack([moved(axis, to_baseline, to_followup) - origin for axis in np.eye(3)])
