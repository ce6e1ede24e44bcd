"""Smooth closed surfaces of binary masks, with a set number of points.

Two constructions, because bones and cartilage ask for different things:

``solid_surface``  for thick solids (bones). The mask is filtered with the kernel 2 G(s) - G(sqrt(2) s), whose second
                   moment is zero: it takes the staircase of the voxels away as a Gaussian does, with half its pull on
                   curved parts (0.013 mm inward on a sphere of 20 mm, 0.025 mm on one of 10 mm, s = 0.7 mm). The 0.5
                   level is meshed on an isotropic grid and its points are moved onto the level by Newton steps.
``sheet_surface``  for thin layers (cartilage), which would lose their thin parts to such a filter. The boundary of the
                   voxels itself is meshed (surface nets) and smoothed by a windowed sinc (Taubin et al. 1996), which
                   does not shrink.

Both work in a frame with axis-aligned voxels: index times spacing, in mm. Both are deterministic.
"""

from __future__ import annotations

import numpy as np
import vtk
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk

from .polydata import to_arrays, to_polydata

#: Standard deviation of the kernel that takes the staircase away, mm.
SMOOTHING_MM = 0.7
#: Coarsest grid on which thin layers are meshed, mm.
SHEET_GRID_MM = 0.55


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """Smallest box that holds every true voxel, None for an empty mask."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if len(filled) == 0:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def solid_surface(
    mask: np.ndarray, spacing: np.ndarray, points: int, smoothing_mm: float = SMOOTHING_MM
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth closed surface of a thick solid.

    Args:
        mask: 3D bool; where it touches the border of the array the surface is closed there.
        spacing: (3,) mm.
        points: number of points wanted.
        smoothing_mm: standard deviation of the kernel.

    Returns:
        points (N, 3) in mm, index times spacing; triangles (M, 3), counter-clockwise from outside.

    Raises:
        ValueError: the mask is empty, or too thin for this construction.
    """
    box = bounding_box(mask)
    if box is None:
        raise ValueError("The mask is empty.")
    spacing = np.asarray(spacing, dtype=np.float64)
    crop = mask[box].astype(np.float32)
    origin = np.array([s.start for s in box]) * spacing
    # Marching cubes makes about 1.5 points per grid face; 1.3 times the wanted number leaves the decimation something
    # to take away, and it takes the slivers first.
    step = float(np.sqrt(1.5 * _smooth_area(crop > 0, spacing) / (1.3 * points)))
    for _ in range(4):
        field, field_origin = _filtered(crop, spacing, step, smoothing_mm)
        vertices, triangles = _level_set(field, step, field_origin)
        if len(vertices) >= points:
            break
        step *= 0.85 * np.sqrt(max(len(vertices), 1) / points) if len(vertices) else 0.7
    if len(vertices) == 0:
        raise ValueError("The structure is too thin for a smooth closed surface.")
    vertices, triangles = _decimate(vertices, triangles, points)
    vertices = _relax_onto_level(vertices, triangles, field, step, field_origin)
    return vertices + origin, triangles


def sheet_surface(
    mask: np.ndarray, spacing: np.ndarray, points: int, pass_band: float = 0.03, iterations: int = 25
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth closed surface of a thin layer; arguments and result as ``solid_surface``.

    The kernel here is narrow (half of ``SMOOTHING_MM``): it only joins or parts voxels that touch at an edge or a
    corner, where the boundary of the voxels itself is no manifold. The staircase is left to the windowed sinc.
    """
    box = bounding_box(mask)
    if box is None:
        raise ValueError("The mask is empty.")
    spacing = np.asarray(spacing, dtype=np.float64)
    crop = mask[box].astype(np.float32)
    origin = np.array([s.start for s in box]) * spacing
    step = min(float(np.sqrt(1.5 * _smooth_area(crop > 0, spacing) / (1.3 * points))), SHEET_GRID_MM)
    field, field_origin = _filtered(crop, spacing, step, 0.5 * SMOOTHING_MM)
    vertices, triangles = _level_set(field, step, field_origin)
    if len(vertices) == 0:
        raise ValueError("The structure is too thin for a smooth closed surface.")
    smoother = vtk.vtkWindowedSincPolyDataFilter()
    smoother.SetInputData(to_polydata(vertices, triangles))
    smoother.SetNumberOfIterations(iterations)
    smoother.SetPassBand(pass_band)
    smoother.NormalizeCoordinatesOn()
    smoother.BoundarySmoothingOff()
    smoother.FeatureEdgeSmoothingOff()
    smoother.NonManifoldSmoothingOn()
    smoother.Update()
    vertices, triangles = to_arrays(smoother.GetOutput())
    vertices, triangles = _decimate(vertices, triangles, points)
    return vertices + origin, triangles


def level_surface(field: np.ndarray, step: float, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface where a signed distance field is 0; what is inside is negative.

    Args:
        field: 3D, on an isotropic grid.
        step: of the grid, mm.
        origin: (3,) mm, place of its first point.

    Returns:
        points (N, 3) in mm; triangles (M, 3), counter-clockwise from outside. Both are empty where nothing is inside.
    """
    return _level_set(-np.asarray(field, np.float32), step, origin, 0.0)


def _smooth_area(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Area of the boundary in mm^2: that of the voxel faces over 1.5, the mean of |nx| + |ny| + |nz|."""
    faces = 0.0
    for axis in range(3):
        padded = np.pad(mask, [(1, 1) if a == axis else (0, 0) for a in range(3)])
        count = np.count_nonzero(np.diff(padded.view(np.int8), axis=axis))
        faces += count * np.prod(np.delete(spacing, axis))
    return faces / 1.5


def _filtered(mask: np.ndarray, spacing: np.ndarray, step: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The filtered mask on an isotropic grid, and that grid's origin relative to the mask's first voxel.

    Filter and resampling are one small matrix an axis, so the fine grid is passed over once.
    """
    pad = 3.0 * sigma + step
    extent = (np.array(mask.shape) - 1) * spacing
    counts = np.ceil((extent + 2 * pad) / step).astype(int) + 1
    origin = (extent - (counts - 1) * step) / 2
    result = 0.0
    for weight, width in ((2.0, sigma), (-1.0, np.sqrt(2.0) * sigma)):
        grid = mask
        for axis in range(3):
            to = origin[axis] + np.arange(counts[axis]) * step
            at = np.arange(mask.shape[axis]) * spacing[axis]
            kernel = np.exp(-0.5 * ((to[:, None] - at[None, :]) / width) ** 2) * (
                spacing[axis] / (width * np.sqrt(2 * np.pi))
            )
            # tensordot puts the new axis first: three rounds bring the axes back into order.
            grid = np.tensordot(grid, kernel.astype(np.float32), axes=([0], [1]))
        result = result + weight * grid
    return result.astype(np.float32), origin


def _level_set(
    field: np.ndarray, step: float, origin: np.ndarray, level: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """A level of a field on an isotropic grid, by marching cubes."""
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(_vtk_image(field, (step,) * 3))
    contour.SetValue(0, level)
    contour.ComputeNormalsOff()
    contour.ComputeGradientsOff()
    contour.ComputeScalarsOff()
    clean = vtk.vtkCleanPolyData()
    clean.SetInputConnection(contour.GetOutputPort())
    clean.PointMergingOn()
    clean.SetToleranceIsAbsolute(True)
    clean.SetAbsoluteTolerance(1e-3 * step)
    clean.ConvertLinesToPointsOff()
    clean.ConvertPolysToLinesOff()
    clean.Update()
    if clean.GetOutput().GetNumberOfPoints() == 0:
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)
    vertices, triangles = to_arrays(clean.GetOutput())
    return vertices + origin, _outward(vertices, triangles)


def _vtk_image(array: np.ndarray, spacing) -> vtk.vtkImageData:
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape)
    image.SetSpacing(*(float(s) for s in spacing))
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(order="F"), deep=True))
    return image


def _outward(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Reverse all cells when the enclosed volume comes out negative."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return triangles if np.einsum("ij,ij->", a, np.cross(b, c)) > 0 else triangles[:, ::-1].copy()


def _decimate(vertices: np.ndarray, triangles: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges (quadric error) until ``points`` are left; a collapse takes one point and two triangles."""
    surplus = len(vertices) - points
    if surplus <= 0:
        return vertices, triangles
    decimate = vtk.vtkQuadricDecimation()
    decimate.SetInputData(to_polydata(vertices, triangles))
    decimate.SetTargetReduction(min(2.0 * surplus / len(triangles), 0.99))
    decimate.VolumePreservationOn()
    decimate.Update()
    return to_arrays(decimate.GetOutput())


def _relax_onto_level(
    vertices: np.ndarray, triangles: np.ndarray, field: np.ndarray, step: float, origin: np.ndarray
) -> np.ndarray:
    """Even out the triangles along the surface, then put every point exactly on the 0.5 level of the field."""
    from .surface_fields import adjacency

    neighbours = adjacency(triangles, len(vertices))
    count = np.maximum(np.asarray(neighbours.sum(axis=1)).ravel(), 1)[:, None]
    spline = ndimage.spline_filter(field, order=3, output=np.float32)
    for _ in range(4):
        vertices = vertices + 0.5 * (neighbours @ vertices / count - vertices)
        vertices = _newton(vertices, spline, step, origin)
    return _newton(vertices, spline, step, origin)


def _newton(vertices: np.ndarray, spline: np.ndarray, step: float, origin: np.ndarray) -> np.ndarray:
    index = ((vertices - origin) / step).T

    def sample(shift):
        return ndimage.map_coordinates(spline, index + shift, order=3, prefilter=False, mode="nearest")

    delta = 0.25
    gradient = np.empty_like(vertices)
    for axis in range(3):
        shift = np.zeros((3, 1))
        shift[axis] = delta
        gradient[:, axis] = (sample(shift) - sample(-shift)) / (2 * delta * step)
    steepness = np.maximum(np.einsum("ij,ij->i", gradient, gradient), 1e-4)
    move = ((0.5 - sample(0.0)) / steepness)[:, None] * gradient
    length = np.linalg.norm(move, axis=1, keepdims=True)
    # A point is never moved by more than half a grid step: the level is near, and far moves could fold the surface.
    return vertices + move * np.minimum(1.0, 0.5 * step / np.maximum(length, 1e-12))
