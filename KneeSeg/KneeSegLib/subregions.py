"""The twenty subregions of the femorotibial cartilages, drawn in the axes of the knee itself.

Femur, for the medial (MFC) and the lateral (LFC) condyle: the regions of ``regions`` are divided further,

    a   anterior: the trochlea, parted by the line of the notch
    ec  external, cc central, ic internal third of the weight-bearing part, by its width at each place front to back
    p   posterior

Tibia, for the medial (MTC) and the lateral (LTC) plateau, seen along the plateaus' normal:

    c   central: an ellipse with the proportions of the plateau around its centre of mass, a fifth of its area
    a e p i   anterior, external, posterior, internal: the rest, parted by the diagonals of those proportions

External is away from the middle of the knee. Names after Wirth and Eckstein, IEEE Trans Med Imaging 2008;27:737-744;
the ellipse and the diagonals are in units of the plateau's own standard deviations, so that the parts are of similar
size. The composites exist already as regions: TrF = anterior, cMF and cLF = weight-bearing, MT, LT and P = whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: Number (point data ``subregion``) -> name. 0 is bone outside the femorotibial joint surfaces.
SUBREGIONS: dict[int, str] = {
    **{n + 1: f"{part}MFC" for n, part in enumerate(("a", "ec", "cc", "ic", "p"))},
    **{n + 6: f"{part}LFC" for n, part in enumerate(("a", "ec", "cc", "ic", "p"))},
    **{n + 11: f"{part}MTC" for n, part in enumerate(("a", "e", "p", "i", "c"))},
    **{n + 16: f"{part}LTC" for n, part in enumerate(("a", "e", "p", "i", "c"))},
}
_FIRST = {"medial_tibial_cartilage": 11, "lateral_tibial_cartilage": 16}

#: Part of a plateau's area that is its central subregion.
CENTRAL_PART = 0.2
#: Points of the joint surface within this distance front to back tell its width there, mm.
_WIDTH_WINDOW_MM = 6.0


def subregions_of(structure: str) -> dict[int, str]:
    """Number -> name of the subregions of a cartilage; empty for the patella's."""
    first = {"femoral_cartilage": 1, **_FIRST}.get(structure)
    if first is None:
        return {}
    return {n: SUBREGIONS[n] for n in range(first, first + (10 if first == 1 else 5))}


def femoral_subregions(coordinates: np.ndarray, regions: np.ndarray, subchondral: np.ndarray, notch: float):
    """Subregion of each point of the femur.

    Args:
        coordinates: (N, 3) lateral, anterior, superior mm (``FemurAxes.coordinates``).
        regions: (N,) numbers 11..15 of ``regions.REGIONS``.
        subchondral: (N,) bool, the joint surface: its width is divided.
        notch: lateral coordinate of the notch's middle, mm.

    Returns:
        (N,) numbers 1..10.
    """
    lateral = coordinates[:, 0] > notch
    result = np.where(lateral, 6, 1)  # anterior
    result[regions == 14], result[regions == 15] = 5, 10
    for bearing, first, outwards in ((12, 2, -1.0), (13, 7, 1.0)):
        chosen = regions == bearing
        known = chosen & subchondral
        if np.count_nonzero(known) < 30:
            result[chosen] = first + 1
            continue
        across, ahead = outwards * coordinates[:, 0], coordinates[:, 1]
        places = np.linspace(ahead[known].min(), ahead[known].max(), 24)
        edges = np.array([_edges(across[known], ahead[known], place) for place in places])
        # Straight lines: the borders shall not follow every osteophyte.
        inner, outer = (np.polyval(np.polyfit(places, edge, 1), ahead[chosen]) for edge in edges.T)
        third = np.clip(3 * (across[chosen] - inner) / np.maximum(outer - inner, 1.0), 0, 2.999).astype(int)
        result[chosen] = first + 2 - third  # external, central, internal
    return result


def _edges(across: np.ndarray, ahead: np.ndarray, place: float) -> tuple[float, float]:
    near = np.abs(ahead - place) < _WIDTH_WINDOW_MM / 2
    if np.count_nonzero(near) < 10:
        near = np.argsort(np.abs(ahead - place), kind="stable")[:10]
    return tuple(np.percentile(across[near], (2, 98)))


@dataclass(frozen=True)
class PlateauAxes:
    """The tibia's own axes at the joint, unit vectors in canonical coordinates, and the plateaus' centers of mass.

    Attributes:
        up: mean normal of the plateaus. across: from the medial to the lateral center. ahead: to the front.
        centres: cartilage -> (3,) mm.
    """

    up: np.ndarray
    across: np.ndarray
    ahead: np.ndarray
    centres: dict[str, np.ndarray]

    def plane(self, name: str, points: np.ndarray) -> np.ndarray:
        """(N, 3) mm -> (N, 3) outwards, ahead and up from the center of a plateau, mm."""
        outwards = self.across if name.startswith("lateral") else -self.across
        return (points - self.centres[name]) @ np.array([outwards, self.ahead, self.up]).T


def plateau_axes(points: np.ndarray, normals: np.ndarray, areas: Mapping[str, np.ndarray]) -> PlateauAxes:
    """Axes from the plateaus' normal and centers of mass.

    Args:
        points: (N, 3) canonical mm (lateral, anterior, superior). normals: (N, 3) outward.
        areas: cartilage -> (N,) joint surface that belongs to each point, mm^2; with one plateau, across is the
            image's own.
    """
    centres = {name: (area[:, None] * points).sum(0) / area.sum() for name, area in areas.items()}
    up = sum((area[:, None] * normals).sum(0) for area in areas.values())
    up = up / np.linalg.norm(up)
    across = np.array([1.0, 0.0, 0.0])
    if len(centres) == 2:
        across = centres["lateral_tibial_cartilage"] - centres["medial_tibial_cartilage"]
    across = across - (across @ up) * up
    across = across / np.linalg.norm(across)
    return PlateauAxes(up, across, np.cross(up, across), centres)


def tibial_subregions(
    points: np.ndarray, axes: PlateauAxes, areas: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Subregion of each point of the tibia, for each plateau.

    Args:
        points: (N, 3) canonical mm.
        areas: cartilage -> (N,) joint surface that belongs to each point, mm^2.

    Returns:
        cartilage -> (N,) numbers 11..20.
    """
    result = {}
    for name, area in areas.items():
        plane = axes.plane(name, points)[:, :2]
        spread = np.sqrt((area[:, None] * plane**2).sum(0) / area.sum())
        u, v = (plane / np.maximum(spread, 1e-6)).T
        radius = np.hypot(u, v)
        order = np.argsort(radius, kind="stable")
        reach = np.cumsum(area[order]) <= CENTRAL_PART * area.sum()
        border = radius[order][np.count_nonzero(reach) - 1] if reach.any() else 0.0
        parts = np.where(np.abs(v) >= np.abs(u), np.where(v > 0, 0, 2), np.where(u > 0, 1, 3))
        parts = np.where(radius <= border, 4, parts)
        result[name] = _FIRST[name] + parts
    return result
