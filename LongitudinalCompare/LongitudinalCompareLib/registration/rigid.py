"""4 x 4 matrices of rigid and affine maps (LPS, mm), their means and halves, and SimpleITK transforms of them.

A matrix ``M`` from A to B takes a point p of space A to ``M @ p`` of space B, as ``sitk.Resample`` wants it to bring
image B onto the grid of image A.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_MEAN_ROUNDS = 50


def to_ras(matrix: np.ndarray) -> np.ndarray:
    """The same map in RAS (and from RAS in LPS)."""
    return _FLIP @ matrix @ _FLIP


def nearest_rigid(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to the linear part (polar decomposition), with the same translation."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    result = np.eye(4)
    result[:3, :3] = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    result[:3, 3] = matrix[:3, 3]
    return result


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """The map done ``exponent`` times: 0.5 is half of the way. Rigid stays rigid.

    Raises:
        ValueError: a map with a reflection or a half turn has no half.
    """
    return np.real(expm(exponent * _log(matrix)))


def mean(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The geodesic mean: of two the middle of the way, exactly; of more, the fixed point of the averaged steps.

    The mean of inverses is the inverse of the mean, so that whoever is called A or B does not matter.
    """
    if len(matrices) == 2:
        first, second = matrices
        return first @ power(np.linalg.inv(first) @ second, 0.5)
    center = np.array(matrices[0], float)
    for _ in range(_MEAN_ROUNDS):
        step = sum(_log(np.linalg.inv(center) @ matrix) for matrix in matrices) / len(matrices)
        center = center @ expm(step)
        if np.abs(step).max() < 1e-13:
            break
    return np.real(center)


def _log(matrix: np.ndarray) -> np.ndarray:
    if np.linalg.det(matrix[:3, :3]) <= 0:
        raise ValueError("a map with a reflection has no logarithm")
    result = logm(matrix)
    if np.abs(np.imag(result)).max() > 1e-8:
        raise ValueError("a half turn has no middle")
    return np.real(result)


def rounded(matrix: np.ndarray, center: np.ndarray, step_mm: float = 0.2, step_deg: float = 0.1) -> np.ndarray:
    """A rigid map near ``matrix``, on a grid of turns and of where ``center`` goes: a start for an optimizer that does
    not hang on the last digits of how it was found."""
    turn = np.degrees(Rotation.from_matrix(nearest_rigid(matrix)[:3, :3]).as_rotvec())
    goal = matrix[:3, :3] @ center + matrix[:3, 3]
    result = np.eye(4)
    result[:3, :3] = Rotation.from_rotvec(np.radians(np.round(turn / step_deg) * step_deg)).as_matrix()
    result[:3, 3] = np.round(goal / step_mm) * step_mm - result[:3, :3] @ center
    return result


def rotation_deg(matrix: np.ndarray) -> float:
    """Angle of the rotation, degrees."""
    return float(np.degrees(Rotation.from_matrix(nearest_rigid(matrix)[:3, :3]).magnitude()))


def displacement_mm(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) distances between where two maps take the points (N, 3)."""
    difference = first - second
    return np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1)


def transform_of(matrix: np.ndarray, center: Sequence[float] = (0.0, 0.0, 0.0)) -> sitk.Transform:
    """A SimpleITK transform that takes a point p to ``matrix @ p``: rigid where the matrix is.

    ``center`` (mm) is what its parameters are told about; it changes no point.
    """
    rotation = matrix[:3, :3]
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    transform = sitk.VersorRigid3DTransform() if rigid else sitk.AffineTransform(3)
    center = np.asarray(center, float)
    transform.SetCenter(center.tolist())
    transform.SetMatrix((nearest_rigid(matrix)[:3, :3] if rigid else rotation).ravel().tolist())
    transform.SetTranslation((rotation @ center + matrix[:3, 3] - center).tolist())
    return transform


def matrix_of(transform: sitk.Transform) -> np.ndarray:
    """The 4 x 4 matrix of a linear SimpleITK transform.

    Raises:
        ValueError: it is not linear.
    """
    if not transform.IsLinear():
        raise ValueError("the transform is not linear")
    result = np.eye(4)
    result[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        point = [0.0, 0.0, 0.0]
        point[axis] = 1.0
        result[:3, axis] = np.array(transform.TransformPoint(point)) - result[:3, 3]
    return result


def moved(image: sitk.Image, matrix: np.ndarray) -> sitk.Image:
    """The same voxels, laid where the rigid ``matrix`` takes them: only origin and direction change."""
    result = sitk.Image(image)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    result.SetDirection((matrix[:3, :3] @ direction).ravel().tolist())
    result.SetOrigin((matrix[:3, :3] @ np.array(image.GetOrigin()) + matrix[:3, 3]).tolist())
    return result


def write_transform(transform: sitk.Transform, path: Path) -> Path:
    """Write ``.tfm`` or ``.h5``, as ITK, SimpleITK and Slicer read them."""
    sitk.WriteTransform(transform, str(path))
    return path
