"""Where the head's brain, or else the body, is: a mask to register in, found without any training.

The brain by a surface that is blown up inside the head like a balloon (Smith, "Fast robust automated brain
extraction", Hum. Brain Mapp. 17:143-155, 2002): a sphere of triangles around the head's center of gravity moves
outward where the image along its normals is bright enough to be brain, and is kept smooth. It works on T1, T2 and
FLAIR alike, as it asks only for a dark gap between brain and scalp. The mask steers a registration; nothing is
measured in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

#: Voxel size at which masks are found, mm: finer says nothing more about where a brain ends.
_WORKING_MM = 2.0
#: Volumes (ml) that a human brain with its ventricles can have; a child's is larger than the first.
BRAIN_ML = (500.0, 2300.0)
#: A part of the image that is exactly one value: the background of a scan without skull, or of a defaced one.
_LEAST_EMPTY = 0.35
_SMOOTH = sitk.RecursiveGaussianImageFilter.ZeroOrder
_STEPS, _FRACTION = 300, 0.5
_LOOK_IN_MM, _LOOK_OUT_MM = 20.0, 10.0
_SHORTEST_RADIUS_MM, _LONGEST_RADIUS_MM = 3.33, 10.0


@dataclass(frozen=True)
class Mask:
    """A mask and what it is of.

    Attributes:
        image: uint8, 0 or 1, on the grid of the scan.
        kind: "brain", "body" or "given".
        volume_ml: its volume.
    """

    image: sitk.Image
    kind: str
    volume_ml: float


def find_mask(image: sitk.Image, anatomy: str = "auto") -> Mask:
    """The brain of a scan of the head; of other scans, the body.

    Args:
        image: 3D scalar image, any geometry (LPS, mm).
        anatomy: "brain" or "body" where that is known; "auto" takes the brain if a plausible one is found.

    Raises:
        ValueError: unknown ``anatomy``, or the image is empty.
    """
    if anatomy not in ("auto", "brain", "body"):
        raise ValueError(f"anatomy is auto, brain or body, not {anatomy!r}")
    small = _isotropic(image, _WORKING_MM)
    values = sitk.GetArrayFromImage(small)
    if float(values.max()) == float(values.min()):
        raise ValueError("the image is constant")
    found, kind = None, "brain"
    if anatomy != "body":
        found = _without_skull(values)
        if found is None:
            found = _balloon(values, _WORKING_MM)
        if anatomy == "auto" and not _is_brain(found, _WORKING_MM):
            found = None
    if found is None:
        found, kind = _body(values), "body"
    mask = sitk.GetImageFromArray(found.astype(np.float32))
    mask.CopyInformation(small)
    mask = sitk.Resample(mask, image, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32) > 0.5
    return Mask(sitk.Cast(mask, sitk.sitkUInt8), kind, mask_volume_ml(mask))


def mask_volume_ml(mask: sitk.Image) -> float:
    """Volume of the voxels above 0, ml."""
    count = np.count_nonzero(sitk.GetArrayViewFromImage(mask))
    return float(count * np.prod(mask.GetSpacing()) / 1000.0)


def _isotropic(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """The image in voxels of one size, on its own axes; smoothed before samples are left out."""
    image = sitk.Cast(image, sitk.sitkFloat32)
    spacing = np.array(image.GetSpacing())
    for axis, ratio in enumerate(spacing_mm / spacing):
        if ratio > 1.0:
            sigma = 0.5 * spacing[axis] * np.sqrt(ratio**2 - 1.0)
            image = sitk.RecursiveGaussian(image, float(sigma), False, _SMOOTH, axis)
    size = [max(1, int(np.ceil(n * s / spacing_mm))) for n, s in zip(image.GetSize(), spacing, strict=True)]
    start = image.TransformContinuousIndexToPhysicalPoint([(spacing_mm / s - 1.0) / 2.0 for s in spacing])
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, start, [spacing_mm] * 3, image.GetDirection(), 0.0
    )


def _without_skull(values: np.ndarray) -> np.ndarray | None:
    """The foreground of an image whose background is one value and whose foreground is one compact piece; or None."""
    corner = values[0, 0, 0]
    empty = np.abs(values - corner) <= 1e-3 * (values.max() - values.min())
    if empty.mean() < _LEAST_EMPTY:
        return None
    inside = ndimage.binary_fill_holes(ndimage.binary_opening(~empty, iterations=1))
    largest = _largest_piece(inside)
    return largest if _is_brain(largest, _WORKING_MM) else None


def _is_brain(mask: np.ndarray, spacing_mm: float) -> bool:
    """Of a brain's volume, compact, and not cut flat by most of the image's borders as a body is."""
    volume_ml = mask.sum() * spacing_mm**3 / 1000.0
    if not BRAIN_ML[0] <= volume_ml <= BRAIN_ML[1]:
        return False
    points = np.argwhere(mask)
    lengths = np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))
    # An ellipsoid fills 4/3 pi sqrt(5)^3 of the product of its standard deviations.
    fills = len(points) / (4.0 / 3.0 * np.pi * 5.0**1.5 * np.prod(lengths))
    return bool(lengths[2] / lengths[0] < 2.2 and fills > 0.75)


def _body(values: np.ndarray) -> np.ndarray:
    """What is brighter than air, filled: the largest piece."""
    image = sitk.GetImageFromArray(values)
    bright = sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.Log(image - float(values.min()) + 1.0), 0, 1)) > 0
    closed = ndimage.binary_closing(np.pad(bright, 3), iterations=3)[3:-3, 3:-3, 3:-3]
    filled = _largest_piece(closed)
    for axis in range(3):  # a body that the border cuts has no closed hull: fill it slice by slice
        for plane in np.moveaxis(filled, axis, 0):
            plane[...] = ndimage.binary_fill_holes(plane)
    return filled


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count == 0:
        return np.ones_like(mask, bool)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def _balloon(values: np.ndarray, spacing_mm: float) -> np.ndarray:
    """The brain in a head (see the module's text); bool on the grid of ``values``."""
    darkest, brightest = np.percentile(values, (2, 98))
    between = darkest + 0.1 * (brightest - darkest)
    weights = np.clip(values, 0, brightest) * (values > between)
    inside = weights > 0
    center = np.array(ndimage.center_of_mass(weights))
    radius = (3.0 * inside.sum() / (4.0 * np.pi)) ** (1.0 / 3.0)  # voxels
    center = _without_neck(weights, center, radius)
    grid = np.indices(values.shape).reshape(3, -1).T - center
    near = (np.linalg.norm(grid, axis=1) < radius) & inside.ravel()
    middle = float(np.median(values.ravel()[near])) if near.any() else between
    points, triangles = _sphere(3)
    points = center + 0.5 * radius * points
    neighbors = _neighbors(triangles, len(points))
    for step in range(_STEPS):
        points = points + _moves(
            points, triangles, neighbors, values, spacing_mm, (darkest, between, middle), step / _STEPS
        )
    return _filled(points, triangles, values.shape)


def _without_neck(weights: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    """The center of gravity of what lies within a head's radius of it: a long neck pulls the first one down."""
    grid = np.indices(weights.shape)
    for _ in range(3):
        apart = np.sqrt(sum((grid[axis] - center[axis]) ** 2 for axis in range(3)))
        center = np.array(ndimage.center_of_mass(weights * (apart < 1.1 * radius)))
    return center


def _moves(points, triangles, neighbors, values, spacing_mm, levels, progress) -> np.ndarray:
    """One step of every point (voxels): to its neighbors' middle along the surface, smooth, and out or in."""
    darkest, between, middle = levels
    normals = _normals(points, triangles)
    means = points[neighbors[0]] * neighbors[1][..., None]
    to_mean = means.sum(axis=1) / neighbors[1].sum(axis=1, keepdims=True) - points
    out = (to_mean * normals).sum(axis=1, keepdims=True)
    normal_part = out * normals
    tangent_part = to_mean - normal_part
    edge = np.linalg.norm(points[triangles[:, 0]] - points[triangles[:, 1]], axis=1).mean()
    curvature = 2.0 * np.abs(out) / edge**2 / spacing_mm  # 1 / mm
    low, high = 1.0 / _LONGEST_RADIUS_MM, 1.0 / _SHORTEST_RADIUS_MM
    smooth = 0.5 * (1.0 + np.tanh(6.0 / (high - low) * (curvature - 0.5 * (high + low))))
    # Looking inward: no darker than brain may be over 20 mm; no brighter than the brain over 10 mm.
    depths = np.arange(0.0, _LOOK_IN_MM / spacing_mm + 1e-6, 1.0)
    at = points[:, None, :] - depths[None, :, None] * normals[:, None, :]
    seen = _sample(values, at)
    lowest = np.maximum(darkest, np.minimum(middle, seen.min(axis=1)))
    highest = seen[:, : int(_LOOK_OUT_MM / spacing_mm) + 1].max(axis=1)
    highest = np.minimum(middle, np.maximum(between, highest))
    wanted = (highest - darkest) * _FRACTION + darkest
    force = 2.0 * (lowest - wanted) / np.maximum(highest - darkest, 1e-6)
    return 0.5 * tangent_part + smooth * normal_part + 0.05 * force[:, None] * edge * normals


def _sample(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Nearest voxels; the border's outside the image."""
    index = np.rint(at).astype(np.intp)
    for axis, size in enumerate(values.shape):
        np.clip(index[..., axis], 0, size - 1, out=index[..., axis])
    return values[index[..., 0], index[..., 1], index[..., 2]]


def _normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for axis in range(3):
        for corner in range(3):
            normals[:, axis] += np.bincount(triangles[:, corner], faces[:, axis], len(points))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _sphere(divisions: int) -> tuple[np.ndarray, np.ndarray]:
    """An icosahedron whose triangles are quartered ``divisions`` times, on the unit sphere; normals point outward."""
    golden = (1.0 + 5.0**0.5) / 2.0
    points = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    points = np.array(points + [(z, x, y) for x, y, z in points] + [(y, z, x) for x, y, z in points], float)
    hull = [
        (i, j, k)
        for i in range(12) for j in range(i + 1, 12) for k in range(j + 1, 12)
        if all(abs(np.linalg.norm(points[a] - points[b]) - 2.0) < 1e-6 for a, b in ((i, j), (j, k), (i, k)))
    ]  # fmt: skip
    triangles = np.array([
        t if np.dot(np.cross(points[t[1]] - points[t[0]], points[t[2]] - points[t[0]]), points[t[0]]) > 0
        else (t[0], t[2], t[1]) for t in hull
    ])  # fmt: skip
    for _ in range(divisions):
        edges = np.sort(np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
        unique, which = np.unique(edges, axis=0, return_inverse=True)
        which = which.reshape(3, -1) + len(points)
        points = np.vstack([points, points[unique].mean(axis=1)])
        a, b, c = triangles.T
        ab, bc, ca = which
        triangles = np.vstack([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return points / np.linalg.norm(points, axis=1, keepdims=True), triangles


def _neighbors(triangles: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 6) neighbors of each point and (N, 6) 1 where there is one (twelve points have five)."""
    edges = np.unique(np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=0)
    first = np.sort(edges[:, 0])
    order = np.argsort(edges[:, 0], kind="stable")
    place = np.arange(len(first)) - np.searchsorted(first, first)
    table, there = np.zeros((count, 6), np.intp), np.zeros((count, 6))
    table[first, place] = edges[order, 1]
    there[first, place] = 1.0
    return table, there


def _filled(points: np.ndarray, triangles: np.ndarray, shape) -> np.ndarray:
    """The voxels inside a closed surface: its triangles are drawn densely, and what they enclose is filled."""
    shell = np.zeros(shape, bool)
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    longest = max(np.linalg.norm(a - b, axis=1).max(), np.linalg.norm(b - c, axis=1).max())
    count = int(np.ceil(2.0 * longest)) + 1
    for i in range(count + 1):
        for j in range(count + 1 - i):
            at = np.rint((a * i + b * j + c * (count - i - j)) / count).astype(int)
            good = ((at >= 0) & (at < np.array(shape))).all(axis=1)
            shell[tuple(at[good].T)] = True
    # Where the image's border cuts the surface the hull is open: an extra frame cannot close it, filling a slice can.
    filled = ndimage.binary_fill_holes(shell)
    for plane in filled:
        plane[...] = ndimage.binary_fill_holes(plane)
    return filled
