"""Outcomes of quantitative cartilage MRI, named after Eckstein et al., Osteoarthritis Cartilage 2006;14:974-983.

All of them are weighted by area on the bone surface, never counted a vertex.
"""

from __future__ import annotations

import numpy as np

from .thickness import ThicknessMap

METHOD = "rays along the normals of the smoothed bone surface through the label map; area-weighted"
VOLUME_METHOD = "voxels of the label map, each with the region of the bone under it"


def region_outcomes(structure: str, region: str, thickness: ThicknessMap, inside: np.ndarray, volume: float) -> list:
    """Rows of the table for a region.

    Args:
        structure: cartilage, e.g. ``femoral_cartilage``.
        region: region name, or ``whole``.
        thickness: map of this cartilage.
        inside: (N,) bool, bone surface points in the region.
        volume: cartilage volume in the region, mm^3.

    Returns:
        list of dict (structure, region, name, value, unit, sd where there is one, method):

        VC      mm3  cartilage volume
        tAB     mm2  total area of subchondral bone, covered or denuded
        cAB     mm2  area of subchondral bone covered by cartilage
        dAB     mm2  denuded area, tAB - cAB
        dABp    %    denuded part, 100 dAB / tAB
        ThCtAB  mm   mean thickness over tAB, denuded bone counted as 0
        ThCcAB  mm   mean thickness over cAB

        Means over an empty area are NaN.
    """
    total = np.where(inside, thickness.subchondral_area, 0.0)
    covered = np.where(inside, thickness.covered_area, 0.0)
    t_area, c_area = float(total.sum()), float(covered.sum())
    mean_c, sd_c = _mean_sd(thickness.thickness, covered)
    # Over tAB: the covered part with its thickness, the denuded part with 0.
    mean_t = mean_c * c_area / t_area if c_area > 0 and t_area > 0 else (0.0 if t_area > 0 else np.nan)
    square = float((covered * thickness.thickness**2).sum()) / t_area if t_area > 0 else np.nan
    sd_t = float(np.sqrt(max(square - mean_t**2, 0.0))) if t_area > 0 else np.nan

    def row(name, value, unit, sd=None):
        return table_row(structure, region, name, value, unit, METHOD, sd)

    return [
        volume_row(structure, region, volume),
        row("tAB", t_area, "mm2"),
        row("cAB", c_area, "mm2"),
        row("dAB", max(t_area - c_area, 0.0), "mm2"),
        row("dABp", 100.0 * max(t_area - c_area, 0.0) / t_area if t_area > 0 else np.nan, "%"),
        row("ThCtAB", mean_t, "mm", sd_t),
        row("ThCcAB", mean_c, "mm", sd_c),
    ]


def volume_row(structure: str, region: str, volume: float, name: str = "VC") -> dict:
    """Row of a cartilage volume, mm^3."""
    return table_row(structure, region, name, volume, "mm3", VOLUME_METHOD)


def table_row(structure: str, region: str, name: str, value: float, unit: str, method: str, sd=None) -> dict:
    """A row of the table of measurements; ``sd`` only where there is one."""
    row = {"structure": structure, "region": region, "name": name, "value": float(value), "unit": unit}
    if sd is not None:
        row["sd"] = float(sd)
    return row | {"method": method}


def _mean_sd(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    total = weights.sum()
    if total <= 0:
        return float("nan"), float("nan")
    mean = float((values * weights).sum() / total)
    return mean, float(np.sqrt((weights * (values - mean) ** 2).sum() / total))
