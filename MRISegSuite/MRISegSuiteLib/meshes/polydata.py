"""Triangle meshes between numpy arrays and ``vtkPolyData``; ``.vtp`` files.

Inside the library a mesh is a pair of arrays: ``points`` (N, 3) float64 in mm and ``triangles`` (M, 3) int64, the
corners counter-clockwise when seen from outside. ``vtkPolyData`` in LPS mm is what leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy


def to_polydata(
    points: np.ndarray, triangles: np.ndarray, point_data: Mapping[str, np.ndarray] | None = None
) -> vtk.vtkPolyData:
    """Make a ``vtkPolyData`` of triangles with point arrays.

    Args:
        points: (N, 3) positions in mm (LPS when the mesh leaves the library).
        triangles: (M, 3) point indices.
        point_data: name -> (N,) or (N, k) array.
    """
    mesh = vtk.vtkPolyData()
    vtk_points = vtk.vtkPoints()
    vtk_points.SetData(numpy_to_vtk(np.ascontiguousarray(points, dtype=np.float32), deep=True))
    mesh.SetPoints(vtk_points)
    cells = vtk.vtkCellArray()
    offsets = np.arange(0, 3 * len(triangles) + 1, 3, dtype=np.int64)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles, dtype=np.int64).ravel(), deep=True),
    )
    mesh.SetPolys(cells)
    for name, values in (point_data or {}).items():
        set_point_data(mesh, name, values)
    return mesh


def to_arrays(mesh: vtk.vtkPolyData) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) float64 and triangles (M, 3) int64 of a mesh that has triangles only."""
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    connectivity = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray())
    if len(connectivity) != 3 * mesh.GetNumberOfPolys():
        raise ValueError("The mesh has cells that are no triangles.")
    return points, connectivity.reshape(-1, 3).astype(np.int64)


def set_point_data(mesh: vtk.vtkPolyData, name: str, values: np.ndarray) -> None:
    """Add or replace the point array ``name``; booleans become int16 (VTK takes uint8 for colors)."""
    values = np.ascontiguousarray(values)
    if len(values) != mesh.GetNumberOfPoints():
        raise ValueError(f"{name} has {len(values)} values for {mesh.GetNumberOfPoints()} points.")
    if values.dtype == bool:
        values = values.astype(np.int16)
    array = numpy_to_vtk(values, deep=True)
    array.SetName(name)
    mesh.GetPointData().AddArray(array)


def get_point_data(mesh: vtk.vtkPolyData, name: str) -> np.ndarray:
    """A copy of the point array ``name``; KeyError, with the names there are, when it is absent."""
    array = mesh.GetPointData().GetArray(name)
    if array is None:
        data = mesh.GetPointData()
        there = [data.GetArrayName(i) for i in range(data.GetNumberOfArrays())]
        raise KeyError(f"no point data {name!r}; there are {there}")
    return vtk_to_numpy(array).copy()


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(N, 3) points through a 4 x 4 homogeneous matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def transform_mesh(points: np.ndarray, triangles: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mesh through a 4 x 4 matrix; a matrix that mirrors also reverses the cells, so that outside stays outside."""
    moved = transform_points(points, matrix)
    mirrors = np.linalg.det(matrix[:3, :3]) < 0
    return moved, triangles[:, ::-1].copy() if mirrors else triangles.copy()


def write_vtp(mesh: vtk.vtkPolyData, path: str | Path) -> None:
    """Write a compressed binary ``.vtp``, aside first and then renamed.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}-{os.getpid()}.vtp")
    writer = vtk.vtkXMLPolyDataWriter()
    writer.SetFileName(str(aside))
    writer.SetInputData(mesh)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    writer.SetCompressorTypeToZLib()
    try:
        if writer.Write() != 1 or writer.GetErrorCode() != 0:
            raise OSError(f"The surface {path} cannot be written.")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_vtp(path: str | Path) -> vtk.vtkPolyData:
    """Read a ``.vtp`` file.

    Raises:
        OSError: there is no such file, or it holds no surface.
    """
    path = Path(path)
    if not path.is_file():
        raise OSError(f"There is no surface file {path}.")
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    if reader.GetErrorCode() != 0 or reader.GetOutput().GetNumberOfPoints() == 0:
        raise OSError(f"{path} holds no surface that VTK can read.")
    return reader.GetOutput()
