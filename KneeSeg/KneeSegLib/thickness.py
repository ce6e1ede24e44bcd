"""Cartilage thickness on the subchondral bone surface.

Thickness is the length of cartilage along the outward normal of the smooth bone surface. It is found in three steps
that keep thin cartilage, which methods that mesh the cartilage lose:

1. Many rays a triangle walk through the label map itself. A ray counts the cartilage it passes without a break; each
   count has the noise of the voxels (about 0.2 mm), but its mean is right whatever the angle between surface and grid,
   also where the cartilage is thinner than a voxel, because no smoothed surface has to survive between two boundaries.
2. A ray also says what lies directly on the bone, and how much of its first millimeter is cartilage. These answers,
   averaged over half a millimeter along the surface, give the covered area to a fraction of a voxel: a hole has a
   sharp border and full thickness beside it.
3. The counts are averaged along the surface by heat flow (standard deviation 1 mm) inside the covered area only.
   Nothing flows over its border and the integral is kept, so mean thickness a region owes nothing to the smoothing.

The total subchondral bone area (tAB) is the covered area closed over what it encloses: see ``subchondral_area``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.spatial import cKDTree

from MRISegSuiteLib.meshes.surface_fields import (
    Smoother,
    components,
    fraction_above,
    point_areas,
    point_normals,
    submesh,
    triangle_areas,
)

#: Covered pieces smaller than this are crumbs, mm^2.
CRUMB_MM2 = 20.0


@dataclass(frozen=True)
class ThicknessOptions:
    """How thickness is measured; lengths in mm.

    Attributes:
        maximum: length of the rays; no cartilage is thicker.
        gap: what may lie unlabelled between bone and cartilage, or inside the cartilage, without ending it.
        coverage_sigma: averaging along the surface of covered / not covered.
        wall: length of a ray that tells whether it is inside or outside of the cartilage's border.
        wall_sigma: averaging along the surface of what that length holds of cartilage where there is some.
        thin: shortest such length that tells anything, and the one from which on it tells all: between the two, and
            below, it counts what lies directly on the bone.
        thickness_sigma: averaging along the surface of thickness, inside the covered area.
        voxel_sigma: the least that this is, in voxels (their longest edge).
        terrace_sigma: the most that this grows to, where the surface is square to an axis of the grid.
        normal_sigma: averaging of the bone's normals.
        closing: a bay in the border counts as subchondral where it is less than twice this wide.
        bay: and more than twice this wide, so that a ragged border is not filled up.
        hole_limit: largest enclosed denuded area that counts as subchondral, as a part of the covered area.
        ray_spacing: distance of neighbouring rays.
        ray_step: distance of neighbouring points of a ray.
    """

    maximum: float = 8.0
    gap: float = 0.8
    coverage_sigma: float = 0.5
    wall: float = 1.0
    wall_sigma: float = 2.0
    thin: tuple[float, float] = (0.6, 0.9)
    thickness_sigma: float = 1.0
    voxel_sigma: float = 1.6
    terrace_sigma: float = 3.0
    normal_sigma: float = 1.5
    closing: float = 2.5
    bay: float = 1.2
    hole_limit: float = 1.0
    ray_spacing: float = 0.3
    ray_step: float = 0.1


@dataclass(frozen=True)
class ThicknessMap:
    """Thickness of one cartilage on its bone; one value a point of the bone's surface.

    Attributes:
        thickness: mm, 0 where there is no cartilage.
        covered: whether cartilage lies on the bone there.
        subchondral: whether the point belongs to the joint surface, covered or denuded.
        covered_area, subchondral_area: mm^2 of the surface that belong to the point (parts of triangles count).
        gap_area: mm^2 of covered bone with an unlabelled gap under the cartilage.
    """

    thickness: np.ndarray
    covered: np.ndarray
    subchondral: np.ndarray
    covered_area: np.ndarray
    subchondral_area: np.ndarray
    gap_area: float


def measure_thickness(
    points: np.ndarray,
    triangles: np.ndarray,
    bone: np.ndarray,
    cartilage: np.ndarray,
    spacing: np.ndarray,
    options: ThicknessOptions | None = None,
) -> ThicknessMap:
    """Thickness of a cartilage on a bone surface.

    Args:
        points, triangles: smooth closed surface of the bone, in index times spacing, mm.
        bone, cartilage: 3D bool masks of one shape.
        spacing: (3,) mm.
        options: see ``ThicknessOptions``.

    Returns:
        The map; empty (nothing covered, nothing subchondral) when the cartilage does not touch this bone.
    """
    options = options or ThicknessOptions()
    spacing = np.asarray(spacing, dtype=np.float64)
    count = len(points)
    near = _near(points, cartilage, spacing, options.gap + 2.0)
    keep = near[triangles].any(axis=1)
    empty = ThicknessMap(
        np.zeros(count), np.zeros(count, bool), np.zeros(count, bool), np.zeros(count), np.zeros(count), 0.0
    )
    if not keep.any():
        return empty
    part, used = submesh(triangles, keep)
    part_points = points[used]
    normals = _smooth_normals(points, triangles, options.normal_sigma, keep, used)

    rays = _Rays(part_points, part, options.ray_spacing)
    length, direct, beyond_gap, wall = _walk(
        rays.at(part_points), rays.at(normals), bone, cartilage, spacing, options
    )
    area = point_areas(part_points, part)
    spread = Smoother(part_points, part, options.coverage_sigma, mass=area)
    # An unlabelled gap under the cartilage is bridged, but only where it is wider than the ragged wall of a hole.
    gap = rays.to_points(beyond_gap & ~direct)
    bridged = beyond_gap & (rays.at(spread(gap)) > 0.5)
    around = Smoother(part_points, part, options.wall_sigma, mass=area)
    coverage = spread(rays.to_points(np.maximum(_inside(rays, around, direct, wall, options.thin), bridged)))
    covered_part = fraction_above(coverage, part, 0.5)
    if not (covered_part > 0).any():
        return empty

    facing = normals[part].mean(axis=1)
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-9)
    least = max(options.thickness_sigma, options.voxel_sigma * spacing.max())
    sigma = _terrace_sigma(facing, spacing, least, options.terrace_sigma)
    thickness = _average_inside(part_points, part, rays, coverage, length, sigma)
    covered = np.zeros(count, dtype=bool)
    covered[used] = coverage > 0.5
    values = np.zeros(count)
    values[used] = np.where(coverage > 0.5, thickness, 0.0)

    subchondral = subchondral_area(points, triangles, covered, options)
    fraction = np.zeros(len(triangles))
    fraction[keep] = covered_part
    total_fraction = np.maximum(fraction, _filled_fraction(triangles, covered, subchondral))
    areas = triangle_areas(points, triangles)
    return ThicknessMap(
        thickness=values,
        covered=covered,
        subchondral=subchondral,
        covered_area=_share(triangles, areas * fraction, covered),
        subchondral_area=_share(triangles, areas * total_fraction, subchondral),
        gap_area=float((rays.to_points(bridged & ~direct) * area).sum()),
    )


def subchondral_area(
    points: np.ndarray, triangles: np.ndarray, covered: np.ndarray, options: ThicknessOptions
) -> np.ndarray:
    """Points of the joint surface: the covered ones, and the denuded bone that belongs to them.

    Denuded bone leaves no label, so what belongs to the joint surface is an inference. Two cases are taken in: bone
    that covered bone encloses (a hole), up to ``hole_limit`` times the covered area; and a bay in the border, found by
    a morphological closing along the surface by ``closing`` mm. Cartilage lost along an open border, or of a whole
    plateau, cannot be seen in a label map and is NOT counted: tAB is then too small, and so is dAB.

    Args:
        points, triangles: bone surface, mm.
        covered: (N,) bool.
        options: ``closing``, ``bay`` and ``hole_limit`` are used.

    Returns:
        (N,) bool.
    """
    areas = point_areas(points, triangles)
    result = covered.copy()
    if options.closing > 0 and covered.any() and not covered.all():
        result |= _bays(points, triangles, covered, options.closing, options.bay)
    holes = components(triangles, len(points), ~result)
    if holes.max(initial=-1) > 0:
        size = np.bincount(holes[holes >= 0], weights=areas[holes >= 0])
        solid = components(triangles, len(points))
        # The outside is the largest uncovered part of each closed piece of bone; pieces without cartilage stay out.
        piece = np.zeros(len(size), dtype=np.int64)
        piece[holes[holes >= 0]] = solid[holes >= 0]
        fill = size <= options.hole_limit * areas[covered].sum()
        for one in np.unique(piece):
            of_piece = np.flatnonzero(piece == one)
            fill[of_piece[np.argmax(size[of_piece])]] = False
        result[(holes >= 0) & fill[holes]] = True
    return result


def _bays(points, triangles, covered, closing, bay) -> np.ndarray:
    """What a closing by ``closing`` mm adds, in pieces that reach more than ``bay`` mm away from covered bone."""
    reach, _ = cKDTree(points[covered]).query(points, distance_upper_bound=closing)
    grown = covered | (reach <= closing)
    added = np.zeros(len(points), dtype=bool)
    if not grown.all():
        back, _ = cKDTree(points[~grown]).query(points[grown], distance_upper_bound=closing)
        added[np.flatnonzero(grown)[back > closing]] = True
    added &= ~covered
    pieces = components(triangles, len(points), added)
    if pieces.max() < 0:
        return added
    depth = np.zeros(pieces.max() + 1)
    np.maximum.at(depth, pieces[added], reach[added])
    return added & (depth > bay)[pieces]


class _Rays:
    """Evenly spread start points in every triangle, and the ways between them and the points of the mesh."""

    def __init__(self, points: np.ndarray, triangles: np.ndarray, distance: float):
        areas = triangle_areas(points, triangles)
        # n x n small triangles each; their centres are the starts. The count is the same in all: simple, and even
        # because the meshes are.
        n = int(np.clip(np.ceil(np.sqrt(areas.mean()) / distance), 1, 8))
        centres = []
        for i in range(n):
            for j in range(n - i):
                centres.append((i + 1 / 3, j + 1 / 3))
                if i + j < n - 1:
                    centres.append((i + 2 / 3, j + 2 / 3))
        uv = np.array(centres) / n
        self.weights = np.column_stack([1 - uv.sum(axis=1), uv])
        self.triangles = triangles
        self.count = len(points)
        self.area = areas / len(uv)
        self.mass = self.integrals(np.ones((len(triangles), len(uv))))

    def at(self, values: np.ndarray) -> np.ndarray:
        """A field at the starts: (M, K) or (M, K, k)."""
        return np.einsum("kc,mc...->mk...", self.weights, values[self.triangles])

    def integrals(self, values: np.ndarray) -> np.ndarray:
        """Each point's share of the integral over the surface of values at the starts (M, K)."""
        corner = self.area[:, None] * (np.asarray(values, dtype=np.float64) @ self.weights)
        return np.bincount(self.triangles.ravel(), weights=corner.ravel(), minlength=self.count)

    def to_points(self, values: np.ndarray) -> np.ndarray:
        """Values at the starts (M, K) averaged to the points, area-weighted."""
        return self.integrals(values) / np.maximum(self.mass, 1e-12)


def _near(points: np.ndarray, mask: np.ndarray, spacing: np.ndarray, distance: float) -> np.ndarray:
    """Which points have a voxel of the mask within a box of about ``distance``."""
    grown = mask.view(np.uint8)
    for axis in range(3):
        grown = maximum_filter1d(grown, 2 * int(np.ceil(distance / spacing[axis])) + 1, axis=axis, mode="constant")
    index = np.rint(points / spacing).astype(np.int64)
    within = ((index >= 0) & (index < mask.shape)).all(axis=1)
    result = np.zeros(len(points), dtype=bool)
    result[within] = grown[tuple(index[within].T)] > 0
    return result


def _smooth_normals(points, triangles, sigma, keep, used) -> np.ndarray:
    """Normals at ``used``, averaged along the surface; a margin around the part keeps its border honest."""
    part, _ = submesh(triangles, keep)
    normals = point_normals(points, triangles)[used]
    normals = Smoother(points[used], part, sigma)(normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def _walk(starts, directions, bone, cartilage, spacing, options):
    """Walk rays through the label map (nearest voxel).

    Args:
        starts, directions: (M, K, 3) mm and unit vectors.

    Returns:
        length of cartilage (M, K) mm; whether the first voxel outside the bone is cartilage (M, K); whether there is
        cartilage within ``options.gap`` of the bone (M, K); length of cartilage within ``options.wall`` of the bone.
    """
    shape = starts.shape[:2]
    lowest, step = -1.0, options.ray_step
    along = np.arange(lowest + step / 2, options.maximum, step, dtype=np.float32)
    # 0 elsewhere, 1 bone, 2 cartilage; a border of zeros stops rays that leave the array.
    code = np.zeros(tuple(n + 2 for n in bone.shape), dtype=np.uint8)
    inner = (slice(1, -1),) * 3
    code[inner][bone] = 1
    code[inner][cartilage] = 2
    strides = np.array([code.shape[1] * code.shape[2], code.shape[2], 1], dtype=np.int64)
    flat = code.ravel()
    limits = np.array(code.shape) - 1
    origin = (starts.reshape(-1, 3) / spacing + 1.0).astype(np.float32)
    heading = (directions.reshape(-1, 3) / spacing).astype(np.float32)
    length = np.zeros(len(origin), dtype=np.float32)
    direct = np.zeros(len(origin), dtype=bool)
    beyond_gap = np.zeros(len(origin), dtype=bool)
    gap_steps, wall_steps = int(round(options.gap / step)), int(round(options.wall / step))
    wall = np.zeros(len(origin), dtype=np.float32)
    number = np.arange(len(along), dtype=np.int32)
    for start in range(0, len(origin), 16384):
        chunk = slice(start, start + 16384)
        index = np.zeros((len(origin[chunk]), len(along)), dtype=np.int64)
        for axis in range(3):
            position = origin[chunk, axis, None] + heading[chunk, axis, None] * along[None, :]
            nearest = (position + np.float32(0.5)).astype(np.int32)
            np.clip(nearest, 0, limits[axis], out=nearest)
            index += nearest * strides[axis]
        seen = flat[index]
        hit = seen == 2
        rows = np.arange(len(seen))
        outside = np.argmax(seen != 1, axis=1)
        direct[chunk] = hit[rows, outside]
        begin = outside[:, None]
        wall[chunk] = (hit & (number >= begin) & (number < begin + wall_steps)).sum(axis=1) * np.float32(step)
        # Number of the last cartilage step so far, or of the last one inside the bone: a run may begin within the gap.
        last = np.where(hit, number, outside[:, None].astype(np.int32))
        np.maximum.accumulate(last, axis=1, out=last)
        broken = number - last > gap_steps
        end = np.where(broken.any(axis=1), np.argmax(broken, axis=1), len(along))
        hit &= number < end[:, None]
        length[chunk] = hit.sum(axis=1) * np.float32(step)
        beyond_gap[chunk] = length[chunk] > 0
    length, wall = (one.reshape(shape).astype(np.float64) for one in (length, wall))
    return length, direct.reshape(shape), beyond_gap.reshape(shape), wall


def _inside(rays: _Rays, around: Smoother, direct: np.ndarray, wall: np.ndarray, thin) -> np.ndarray:
    """How far each ray lies inside the border of the cartilage (M, K), 0 to 1.

    What lies directly on the bone tells a border that runs along a layer of voxels to half a layer only. The wall of
    cartilage there crosses more layers on its way up, so that the part of it that a ray passes tells more. Thin
    cartilage has no wall to speak of.
    """
    usual = rays.at(around(rays.to_points(wall * direct)) / np.maximum(around(rays.to_points(direct)), 1e-3))
    trust = np.clip((usual - thin[0]) / (thin[1] - thin[0]), 0.0, 1.0)
    return trust * np.clip(wall / np.maximum(usual, 0.1), 0.0, 1.0) + (1.0 - trust) * direct


def _average_inside(points, triangles, rays: _Rays, coverage, length, sigma) -> np.ndarray:
    """Ray lengths averaged along the surface within the covered area.

    The voxels make the wall of a hole ragged: just inside its border rays miss a little cartilage, just outside they
    meet as much. Both go into the average, over the covered area alone, or cartilage would be lost at every border.
    """
    keep = (coverage > 0.5)[triangles].any(axis=1)
    part, used = submesh(triangles, keep)
    inside = rays.at(coverage) > 0.5
    mass = rays.integrals(inside)[used]
    # A crumb of a few points is nearly all border: there the average is over all of its rays, inside and outside.
    pieces = components(part, len(used))
    crumbs = (np.bincount(pieces, weights=mass) < CRUMB_MM2)[pieces]
    every = rays.integrals(np.broadcast_to(keep[:, None], inside.shape))[used]
    smooth = Smoother(points[used], part, sigma[keep], mass=np.where(crumbs, every, mass))
    result = np.zeros(len(points))
    result[used] = smooth.of_integrals(rays.integrals(np.where(keep[:, None], length, 0.0))[used])
    return result


def _terrace_sigma(normals: np.ndarray, spacing: np.ndarray, least: float, most: float) -> np.ndarray:
    """How far to average along the surface: over half a terrace of the voxels, where that is wider than ``least``.

    A surface almost square to an axis of the grid crosses from one layer of voxels to the next every h / tan(angle)
    mm; between the crossings the map says nothing finer than h about where the surface lies.

    Args:
        normals: (M, 3) unit.
        spacing: (3,) h, mm.
    """
    cosine = np.clip(np.abs(normals), 0.0, 1.0)
    tangent = np.sqrt(1.0 - cosine**2) / np.maximum(cosine, 1e-6)
    terrace = (spacing / np.maximum(tangent, 1e-6)).max(axis=1)
    return np.clip(0.5 * terrace, least, max(least, most))


def _filled_fraction(triangles: np.ndarray, covered: np.ndarray, subchondral: np.ndarray) -> np.ndarray:
    """Part of each triangle that is subchondral because of its denuded corners."""
    corners = subchondral[triangles].sum(axis=1) / 3.0
    return np.where((subchondral & ~covered)[triangles].any(axis=1), corners, 0.0)


def _share(triangles: np.ndarray, areas: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Give each triangle's area to those of its corners that are in ``among``, in equal parts."""
    member = among[triangles].astype(np.float64)
    number = member.sum(axis=1, keepdims=True)
    parts = areas[:, None] * member / np.maximum(number, 1.0)
    return np.bincount(triangles.ravel(), weights=parts.ravel(), minlength=len(among))
