"""T2 of each region and layer of the cartilages, and T2 as a field on the bones' surfaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.canonical import index_to_lps
from MRISegSuiteLib.meshes.surface_fields import Smoother, submesh

from ..anatomy import CanonicalKnee
from ..joint import MeasuredBone, MeasuredCartilage
from ..layers import layer_names
from ..outcomes import table_row
from .maps import REASONS, T2Map

#: T2 on the surface is averaged along it with this standard deviation, mm.
SURFACE_SIGMA_MM = 1.0


class VoxelValues:
    """Looks up the map at voxels of a knee in its own frame; the map may have another grid (nearest voxel)."""

    def __init__(self, t2: T2Map, image: sitk.Image, knee: CanonicalKnee) -> None:
        self._map, self._shape = t2, np.array(image.GetSize())
        scale = np.diag([*knee.spacing, 1.0])
        self._matrix = np.linalg.inv(index_to_lps(image)) @ knee.to_lps @ scale

    def at(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(V, 3) canonical indices -> T2 (0 where not valid), reason, r squared (1 where there is none)."""
        place = np.rint(index @ self._matrix[:3, :3].T + self._matrix[:3, 3]).astype(int)
        inside = ((place >= 0) & (place < self._shape)).all(1)
        x, y, z = place[inside].T
        t2, reason, quality = np.zeros(len(index)), np.ones(len(index), np.uint8), np.ones(len(index))
        t2[inside], reason[inside] = self._map.t2[z, y, x], self._map.reason[z, y, x]
        if self._map.r_squared is not None:
            quality[inside] = self._map.r_squared[z, y, x]
        return t2, reason, quality


def cartilage_rows(
    structure: str, cartilage: MeasuredCartilage, values: VoxelValues, layers: int, method: str, has_fit: bool
) -> list[dict]:
    """Rows of the table: for every region the mean T2 (with SD), its median and what was left out; a mean a layer."""
    t2, reason, quality = values.at(cartilage.voxels.index)
    layer = cartilage.voxels.layer(layers)
    rows = []
    for name, inside in cartilage.regions.items():
        here = inside[cartilage.voxels.vertex]
        rows.extend(t2_rows(structure, name, t2[here], reason[here], method))
        if has_fit:
            rows.append(table_row(structure, name, "T2_r2", _median(quality[here]), "1", method))
        if layers > 1:
            for n, text in enumerate(layer_names(layers)):
                one = here & (layer == n)
                rows.append(_mean_row(structure, name, f"T2_mean_{text}", t2[one & (t2 > 0)], method))
    return rows


def t2_rows(structure: str, region: str, t2: np.ndarray, reason: np.ndarray, method: str) -> list[dict]:
    """Mean, median and excluded share of the voxels of a region."""
    valid = t2[reason == 0]
    excluded = 100 * (1 - len(valid) / len(t2)) if len(t2) else np.nan
    return [
        _mean_row(structure, region, "T2_mean", valid, method),
        table_row(structure, region, "T2_median", _median(valid), "ms", method),
        table_row(structure, region, "T2_excluded", excluded, "%", method),
    ]


def excluded_sentence(structure: str, reason: np.ndarray) -> str:
    """What was left out of a structure, and why; empty when that is less than a tenth."""
    shares = {REASONS[n]: 100 * np.mean(reason == n) for n in range(1, len(REASONS)) if (reason == n).any()}
    if sum(shares.values()) < 10:
        return ""
    parts = ", ".join(f"{share:.0f} % {why}" for why, share in shares.items() if share >= 1)
    return f"T2 of the {structure} leaves out {sum(shares.values()):.0f} % of its voxels ({parts})."


def surface_fields(bone: MeasuredBone, values: VoxelValues, layers: int) -> Mapping[str, np.ndarray]:
    """Point data ``t2_ms`` and, a layer, ``t2_<layer>_ms`` (float32, 0 where there is none)."""
    count = len(bone.points)
    texts = ("", *(f"{text}_" for text in layer_names(layers))) if layers > 1 else ("",)
    fields = {f"t2_{text}ms": np.zeros(count, np.float32) for text in texts}
    for cartilage in bone.cartilages.values():
        t2, _, _ = values.at(cartilage.voxels.index)
        layer = cartilage.voxels.layer(layers)
        covered = cartilage.thickness.covered
        for n, text in enumerate(texts):
            chosen = (t2 > 0) & ((layer == n - 1) if n else True)
            field = _spread(bone, covered, cartilage.voxels.vertex[chosen], t2[chosen])
            mine = covered & (field > 0)
            fields[f"t2_{text}ms"][mine] = field[mine]
    return fields


def _spread(bone: MeasuredBone, covered: np.ndarray, vertex: np.ndarray, t2: np.ndarray) -> np.ndarray:
    """Mean of the voxels over each point, averaged along the covered surface; 0 where no voxel is near."""
    count = len(covered)
    result = np.zeros(count)
    part, used = submesh(bone.triangles, covered[bone.triangles].all(axis=1))
    if not len(used) or not len(t2):
        return result
    number = np.bincount(vertex, minlength=count)[used].astype(float)
    total = np.bincount(vertex, weights=t2, minlength=count)[used]
    smooth = Smoother(bone.points[used], part, SURFACE_SIGMA_MM)
    density, amount = smooth(np.column_stack([number, total])).T
    near = density > 0.05 * max(float(number.mean()), 1e-9)
    result[used] = np.where(near, amount / np.maximum(density, 1e-9), 0)
    return result


def _mean_row(structure, region, name, values, method) -> dict:
    mean, sd = (float(values.mean()), float(values.std())) if len(values) else (np.nan, np.nan)
    return table_row(structure, region, name, mean, "ms", method, sd)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
