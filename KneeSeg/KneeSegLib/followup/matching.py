"""Two timepoints of a bone on each other: one joint surface and one set of regions for both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from MRISegSuiteLib.meshes.surface_fields import point_areas, point_normals

from ..joint import MeasuredBone, MeasuredCartilage
from ..layers import CartilageVoxels
from ..registration import Similarity, register_bone
from ..thickness import ThicknessMap

#: Height above or below the joint, in mm, up to which a bone's surface steers: shafts are cut anywhere.
_REACH_MM = 45.0
#: Points of the two surfaces belong together when they are this near, mm.
_NEAR_MM = 3.0


@dataclass(frozen=True)
class MatchedBone:
    """A bone at two times, each in its own space, with the baseline's regions on both.

    The joint surface of a cartilage is what was joint surface at either time. Cartilage that is lost at the border
    then counts as denuded at follow-up, and the noise of the border adds as much as it takes.

    Attributes:
        baseline, followup: with regions and joint surface in common.
        fit: follow-up onto baseline.
        change: (N,) thickness at follow-up minus at baseline, mm, on the follow-up's points; NaN off the joint.
    """

    baseline: MeasuredBone
    followup: MeasuredBone
    fit: Similarity
    change: np.ndarray


def match_bone(baseline: MeasuredBone, followup: MeasuredBone) -> MatchedBone:
    """Lay the follow-up's bone on the baseline's and give both the same regions and joint surface.

    Raises:
        ValueError: a surface has too few points.
    """
    fit = register_bone(
        followup.points, baseline.points, point_normals(baseline.points, baseline.triangles), _near_joint(followup)
    )
    moved = fit(followup.points)
    there = _Nearest(baseline.points, moved)
    back = _Nearest(moved, baseline.points)
    areas = (point_areas(baseline.points, baseline.triangles), point_areas(followup.points, followup.triangles))
    first, second = {}, {}
    change = np.full(len(moved), np.nan)
    for name in dict.fromkeys([*baseline.cartilages, *followup.cartilages]):
        former = baseline.cartilages.get(name) or _without_cartilage(len(baseline.points))
        latter = followup.cartilages.get(name) or _without_cartilage(len(moved))
        regions = former.regions if name in baseline.cartilages else _brought(latter.regions, back)
        first[name] = _with_joint(former, back.of(latter.thickness.subchondral), areas[0], regions)
        second[name] = _with_joint(
            latter, there.of(former.thickness.subchondral), areas[1], _brought(regions, there)
        )
        joint = second[name].thickness.subchondral & there.known
        change[joint] = second[name].thickness.thickness[joint] - there.of(former.thickness.thickness)[joint]
    return MatchedBone(replace(baseline, cartilages=first), replace(followup, cartilages=second), fit, change)


class _Nearest:
    """For points of one surface the nearest of the other."""

    def __init__(self, surface: np.ndarray, points: np.ndarray) -> None:
        distance, self.index = cKDTree(surface).query(points)
        self.known = distance < _NEAR_MM

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values of the surface at the points; 0 or False where none is near."""
        return np.where(self.known, values[self.index], np.zeros(1, values.dtype))


def _near_joint(bone: MeasuredBone) -> np.ndarray:
    joint, height = bone.point_data["subchondral"], bone.points[:, 2]
    if not joint.any():
        return np.ones(len(height), bool)
    return (height > height[joint].min() - _REACH_MM) & (height < height[joint].max() + _REACH_MM)


def _brought(regions: dict[str, np.ndarray], nearest: _Nearest) -> dict[str, np.ndarray]:
    brought = {name: nearest.of(inside) for name, inside in regions.items()}
    return brought | {"whole": np.ones(len(nearest.index), bool)}


def _with_joint(cartilage: MeasuredCartilage, joint, areas, regions) -> MeasuredCartilage:
    """The cartilage with more joint surface (denuded there) and other regions."""
    more = joint & ~cartilage.thickness.subchondral
    thickness = replace(
        cartilage.thickness,
        subchondral=cartilage.thickness.subchondral | more,
        subchondral_area=np.where(more, areas, cartilage.thickness.subchondral_area),
    )
    return MeasuredCartilage(thickness, regions, cartilage.voxels)


def _without_cartilage(count: int) -> MeasuredCartilage:
    nothing, nowhere = np.zeros(count), np.zeros(count, bool)
    none = CartilageVoxels(np.zeros((0, 3), int), np.zeros(0, int), np.zeros(0))
    return MeasuredCartilage(ThicknessMap(nothing, nowhere, nowhere, nothing, nothing, 0.0), {}, none)
