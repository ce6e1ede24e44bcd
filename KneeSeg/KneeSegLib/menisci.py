"""Menisci: how far they reach beyond the tibial plateau, and how much of it they cover.

Definitions after Wirth et al., Arthritis Rheum 2010;62:2651-2658, in the axes of the plateaus: extrusion is measured
against the margin of the joint surface (tAB), not of the bone, so that osteophytes do not hide it.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .anatomy import CanonicalKnee
from .joint import MeasuredBone
from .outcomes import table_row
from .structures import words

METHOD = "meniscus voxels seen along the plateaus' normal"
PLATEAU_OF = {"medial_meniscus": "medial_tibial_cartilage", "lateral_meniscus": "lateral_tibial_cartilage"}
#: Extrusion is the mean over this much of the plateau front to back, around its center, mm.
_BAND_MM = 8.0
_WINDOW_MM = 3.0
#: A meniscus lies at most this far above its plateau, mm.
_HEIGHT_MM = 15.0


def meniscus_rows(knee: CanonicalKnee, tibia: MeasuredBone, warnings: list[str]) -> list[dict]:
    """Rows of the table for the menisci that are labeled.

    extrusion  mm  outer border of the meniscus minus that of the plateau's joint surface, outwards, at mid-plateau;
                   negative where the meniscus lies inside
    coverage   %   part of the plateau's joint surface under the meniscus
    """
    rows = []
    for meniscus, cartilage in PLATEAU_OF.items():
        if meniscus not in knee.boxes:
            continue
        if tibia.plateaus is None or cartilage not in tibia.cartilages:
            warnings.append(f"The {words(meniscus)} is not measured: its plateau has no cartilage.")
            continue
        area = tibia.cartilages[cartilage].thickness.subchondral_area
        surface = tibia.plateaus.plane(cartilage, tibia.points)
        voxels = tibia.plateaus.plane(cartilage, np.argwhere(knee.mask(meniscus)) * knee.spacing)
        pitch = float(np.median(np.sort(knee.spacing)[:2]))
        values = {
            "extrusion": (_extrusion(voxels, surface[area > 0]), "mm"),
            "coverage": (_coverage(voxels, surface, area, max(pitch, float(knee.spacing.max()) / 2)), "%"),
        }
        for name, (value, unit) in values.items():
            rows.append(table_row(meniscus, "whole", name, value, unit, METHOD))
    return rows


def _extrusion(meniscus: np.ndarray, plateau: np.ndarray) -> float:
    distances = []
    for place in np.arange(-_BAND_MM / 2, _BAND_MM / 2 + 0.5):
        # Wide enough that a row of points of the surface's border is always within.
        outer = [p[np.abs(p[:, 1] - place) < _WINDOW_MM / 2, 0] for p in (meniscus, plateau)]
        if all(len(o) for o in outer):
            distances.append(outer[0].max() - outer[1].max())
    return float(np.mean(distances)) if distances else float("nan")


def _coverage(meniscus: np.ndarray, plateau: np.ndarray, area: np.ndarray, reach: float) -> float:
    distance, nearest = cKDTree(meniscus[:, :2]).query(plateau[:, :2], distance_upper_bound=reach)
    found = np.isfinite(distance)
    height = np.full(len(plateau), np.inf)
    height[found] = meniscus[nearest[found], 2] - plateau[found, 2]
    covered = found & (height > 0) & (height < _HEIGHT_MM)
    return float(100 * area[covered].sum() / area.sum())
