"""Where voxels lie: MRML's IJK-to-RAS matrices and SimpleITK's origin, spacing, direction (LPS)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import BadInput

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Columns of a direction matrix count as perpendicular up to this cosine: far above rounding, far below any shear.
_PERPENDICULAR = 1e-4


def array_of_matrix(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A 4x4 array of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_of_array(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """A vtkMatrix4x4 of a 4x4 array."""
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix


def local_to_world(node) -> np.ndarray:
    """The 4x4 matrix (RAS to RAS) of all parent transforms of a transformable node; identity where there is none.

    Raises:
        BadInput: a parent transform is not linear.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise BadInput(
            f'"{node.GetName()}" is under the nonlinear transform "{transform.GetName()}".',
            "Harden the transform (Transforms module), then run again.",
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return array_of_matrix(matrix)


def image_from_array(voxels: np.ndarray, ijk_to_ras: np.ndarray, what: str) -> sitk.Image:
    """A SimpleITK image (LPS) of ``voxels`` (k, j, i) and their 4x4 IJK-to-RAS matrix (mm).

    Raises:
        BadInput: the axes of the grid are not perpendicular, which no image file can say; ``what`` names the node.
    """
    image = sitk.GetImageFromArray(voxels)
    set_geometry(image, ijk_to_ras, what)
    return image


def set_geometry(image: sitk.Image, ijk_to_ras: np.ndarray, what: str) -> None:
    """Give ``image`` the origin, spacing and direction of a 4x4 IJK-to-RAS matrix. Raises: see image_from_array."""
    ijk_to_lps = RAS_TO_LPS @ ijk_to_ras
    spacing = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    direction = ijk_to_lps[:3, :3] / np.where(spacing > 0, spacing, 1.0)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=_PERPENDICULAR):
        raise BadInput(
            f'The axes of "{what}" are not perpendicular in the world (a parent transform with shear?).',
            "Harden its transform and resample it to a rectangular grid, then run again.",
        )
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())


def ijk_to_ras_of(image: sitk.Image) -> np.ndarray:
    """The 4x4 IJK-to-RAS matrix (mm) of a SimpleITK image."""
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    ijk_to_lps[:3, 3] = image.GetOrigin()
    return RAS_TO_LPS @ ijk_to_lps


def same_grid(image: sitk.Image, size, ijk_to_ras: np.ndarray, tolerance_mm: float = 1e-3) -> bool:
    """True if a SimpleITK image has that size (i, j, k) and no corner lies farther than ``tolerance_mm`` off."""
    if tuple(image.GetSize()) != tuple(size):
        return False
    corners = np.array([[i, j, k, 1.0] for i in (0, size[0]) for j in (0, size[1]) for k in (0, size[2])]).T
    return float(np.abs((ijk_to_ras_of(image) - ijk_to_ras) @ corners).max()) <= tolerance_mm


def transformed(mesh: vtk.vtkPolyData, matrix: np.ndarray) -> vtk.vtkPolyData:
    """A copy of ``mesh`` with its points (and normals) moved by a 4x4 matrix; point data is kept."""
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrix_of_array(matrix))
    mover = vtk.vtkTransformPolyDataFilter()
    mover.SetInputData(mesh)
    mover.SetTransform(transform)
    mover.Update()
    moved = vtk.vtkPolyData()
    moved.ShallowCopy(mover.GetOutput())
    return moved


def volume_ijk_to_ras(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """The 4x4 IJK-to-RAS matrix (mm) of a volume node, without its parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return array_of_matrix(matrix)
