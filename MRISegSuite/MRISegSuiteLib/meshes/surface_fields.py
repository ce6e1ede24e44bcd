"""Fields on a triangle mesh: areas, normals, smoothing that keeps the mean, components, distances.

Meshes are ``points`` (N, 3) in mm and ``triangles`` (M, 3); fields are (N,) or (N, k) arrays, one value a point,
linear in each triangle.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu


def adjacency(triangles: np.ndarray, count: int) -> sparse.csr_matrix:
    """Symmetric (N, N) matrix, 1 where an edge joins two points."""
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    matrix = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(count, count))
    matrix.data[:] = 1.0
    return matrix


def triangle_areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(M,) areas in mm^2."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def point_areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) area that belongs to each point, a third of each of its triangles, mm^2."""
    share = np.repeat(triangle_areas(points, triangles) / 3.0, 3)
    return np.bincount(triangles.ravel(), weights=share, minlength=len(points))


def enclosed_volume(points: np.ndarray, triangles: np.ndarray) -> float:
    """Volume inside a closed surface, mm^3; positive when the cells are counter-clockwise from outside."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def point_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N, 3) unit outward normals, area-weighted."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for axis in range(3):
        normals[:, axis] = np.bincount(
            triangles.ravel(), weights=np.repeat(face[:, axis], 3), minlength=len(points)
        )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def components(triangles: np.ndarray, count: int, inside: np.ndarray | None = None) -> np.ndarray:
    """(N,) number of the connected part each point is in, from 0; -1 outside ``inside``. Parts are joined by edges."""
    inside = np.ones(count, dtype=bool) if inside is None else inside
    chosen = np.flatnonzero(inside)
    _, parts = csgraph.connected_components(adjacency(triangles, count)[chosen][:, chosen], directed=False)
    result = np.full(count, -1, dtype=np.int64)
    result[chosen] = parts
    return result


def stiffness(points: np.ndarray, triangles: np.ndarray, factor: np.ndarray | float = 1.0) -> sparse.csr_matrix:
    """(N, N) cotangent stiffness matrix: x' S x is the integral of ``factor`` |gradient|^2 over the surface.

    ``factor`` is one number, or one a triangle. Negative cotangents (obtuse corners) are set to zero, so that
    smoothing never overshoots.
    """
    rows, columns, values = [], [], []
    for corner in range(3):
        i, j, k = (triangles[:, (corner + s) % 3] for s in range(3))
        u, v = points[j] - points[i], points[k] - points[i]
        cotangent = np.einsum("ij,ij->i", u, v) / np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-9)
        rows.append(j)
        columns.append(k)
        values.append(0.5 * factor * np.clip(cotangent, 0.0, 10.0))
    rows, columns, values = (np.concatenate(x) for x in (rows, columns, values))
    weights = sparse.csr_matrix((values, (rows, columns)), shape=(len(points), len(points)))
    weights = weights + weights.T
    return (sparse.diags(np.asarray(weights.sum(axis=1)).ravel()) - weights).tocsr()


class Smoother:
    """Heat flow on a surface: like a Gaussian of standard deviation ``sigma_mm`` along it.

    Implicit steps (M + t/n S) x' = M x. Nothing flows over the border of the mesh and the integral of the field stays
    what it was, so a mean over the mesh is not changed by smoothing.

    Args:
        points, triangles: the mesh, or the part of it over which to smooth.
        sigma_mm: standard deviation along the surface, one number or one a triangle.
        steps: implicit steps; two are close to a Gaussian.
        mass: (N,) area for which each point stands, that around it by default; zero where there is no data.
    """

    def __init__(self, points, triangles, sigma_mm, steps: int = 2, mass: np.ndarray | None = None):
        mass = point_areas(points, triangles) if mass is None else mass
        # A little mass everywhere keeps the matrix regular where a part of the mesh has no data.
        self.mass = mass + 1e-6 * max(float(mass.mean()), 1e-9)
        self.steps = steps
        flow = stiffness(points, triangles, 0.5 * np.asarray(sigma_mm) ** 2 / steps)
        self._solve = splu(
            (sparse.diags(self.mass) + flow).tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            options={"SymmetricMode": True},
            diag_pivot_thresh=0.0,
        ).solve

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The smoothed field of a field (N,) or (N, k)."""
        values = np.asarray(values, dtype=np.float64)
        return self.of_integrals(self.mass.reshape((-1,) + (1,) * (values.ndim - 1)) * values)

    def of_integrals(self, integrals: np.ndarray) -> np.ndarray:
        """The smoothed field of which each point's share of the integral is given; (N,) or (N, k)."""
        mass = self.mass.reshape((-1,) + (1,) * (np.ndim(integrals) - 1))
        result = self._solve(np.asarray(integrals, dtype=np.float64))
        for _ in range(self.steps - 1):
            result = self._solve(mass * result)
        return result


def submesh(triangles: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The triangles chosen by ``keep`` (M,) bool, renumbered; and the (K,) indices of their points in the whole."""
    used, renumbered = np.unique(triangles[keep], return_inverse=True)
    return renumbered.reshape(-1, 3), used


def fraction_above(values: np.ndarray, triangles: np.ndarray, level: float) -> np.ndarray:
    """(M,) part of each triangle's area where the (linear) field is above ``level``."""
    v = np.sort(values[triangles] - level, axis=1)
    low, middle, high = v.T
    with np.errstate(divide="ignore", invalid="ignore"):
        tip = high**2 / ((high - low) * (high - middle))
        notch = 1.0 - low**2 / ((low - high) * (low - middle))
    return np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, np.where(middle <= 0, tip, notch)))
