"""Regions of the joint surfaces in anatomical axes of the femur, the same for left and right knees.

Femoral regions (the five legacy ones): the joint surface is seen along the shaft (S-I). The intercondylar notch
parts medial from lateral, and its front end, the apex, is the border between trochlea and condyles. Behind that border
the weight-bearing part reaches 60 % of the way to the posterior end of the condyles.

    11 anterior   12 medial weight-bearing   13 lateral weight-bearing   14 medial posterior   15 lateral posterior

The tibia's two plateaus and the patella are a region each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Region number (point data ``region``) -> name. 0 is bone outside every joint surface.
REGIONS: dict[int, str] = {
    11: "anterior",
    12: "medial_weight_bearing",
    13: "lateral_weight_bearing",
    14: "medial_posterior",
    15: "lateral_posterior",
    21: "medial_tibia",
    22: "lateral_tibia",
    31: "patella",
}
#: What a person reads where that is more than the name in words; the legacy regions are composites of subregions.
TITLES: dict[str, str] = {
    "anterior": "anterior (TrF)",
    "medial_weight_bearing": "medial weight-bearing (cMF)",
    "lateral_weight_bearing": "lateral weight-bearing (cLF)",
}
FEMORAL_REGIONS = (11, 12, 13, 14, 15)

#: Part of the way from the trochlear border to the posterior end of the condyles that bears weight.
WEIGHT_BEARING_PART = 0.6
#: The shaft's direction is taken from the sections this far above the distal end, mm: above the condyles, below the
#: border of usual fields of view, so that cropping does not change it.
SHAFT_FROM_MM, SHAFT_TO_MM = 40.0, 62.0
#: Height of the condyles above the distal end, mm.
CONDYLE_MM = 40.0


@dataclass(frozen=True)
class FemurAxes:
    """Anatomical axes of the femur in the canonical frame (index times spacing, mm).

    Attributes:
        origin: midpoint of the posterior condylar line.
        axes: rows lateral, anterior, superior (unit vectors).
        condyles: (2, 3) most posterior points of the medial and the lateral condyle, in these axes.
        warnings: sentences for the user.
    """

    origin: np.ndarray
    axes: np.ndarray
    condyles: np.ndarray
    warnings: tuple[str, ...] = ()

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) canonical mm -> (lateral, anterior, superior) mm from the origin."""
        return (points - self.origin) @ self.axes.T


@dataclass(frozen=True)
class FemoralBorders:
    """Where the femoral regions meet, in ``FemurAxes`` coordinates, mm."""

    notch: float
    trochlea: float
    posterior: float

    def region(self, coordinates: np.ndarray) -> np.ndarray:
        """(N, 3) coordinates -> (N,) region numbers 11..15."""
        lateral = coordinates[:, 0] > self.notch
        ahead = coordinates[:, 1]
        behind = self.trochlea - WEIGHT_BEARING_PART * (self.trochlea - self.posterior)
        bearing = np.where(lateral, 13, 12)
        return np.where(ahead >= self.trochlea, 11, np.where(ahead >= behind, bearing, np.where(lateral, 15, 14)))


def femur_axes(mask: np.ndarray, spacing: np.ndarray, start: np.ndarray, points: np.ndarray) -> FemurAxes:
    """Anatomical axes of the distal femur: shaft for S-I, posterior condylar line for M-L.

    Args:
        mask: femur in its box, axes lateral, anterior, superior.
        spacing: (3,) mm.
        start: (3,) first index of the box.
        points: (N, 3) evenly spread points of the femur's surface, canonical mm.
    """
    warnings = []
    superior = _shaft_direction(mask, spacing, start)
    if superior is None:
        superior = np.array([0.0, 0.0, 1.0])
        warnings.append(
            f"Less than {SHAFT_TO_MM - 10:.0f} mm of the femur is in the image: its long axis is taken from the image."
        )
    lateral = np.array([1.0, 0.0, 0.0])
    for _ in range(5):
        axes = _orthonormal(lateral, superior)
        at = points @ axes.T
        low = at[at[:, 2] < at[:, 2].min() + CONDYLE_MM]
        middle = 0.5 * (low[:, 0].min() + low[:, 0].max())
        ends = np.array([_most_posterior(low[low[:, 0] < middle]), _most_posterior(low[low[:, 0] >= middle])])
        line = (ends[1] - ends[0]) @ axes
        lateral = line / np.linalg.norm(line)
    axes = _orthonormal(lateral, superior)
    turned = np.degrees(np.arccos(np.clip(axes[0, 0], -1, 1)))
    if turned > 35.0:
        axes = _orthonormal(np.array([1.0, 0.0, 0.0]), superior)
        warnings.append("The posterior ends of the condyles were not found: the image's own axes are used.")
    at = points @ axes.T
    low = at[at[:, 2] < at[:, 2].min() + CONDYLE_MM]
    middle = 0.5 * (low[:, 0].min() + low[:, 0].max())
    ends = np.array([_most_posterior(low[low[:, 0] < middle]), _most_posterior(low[low[:, 0] >= middle])])
    centre = ends.mean(axis=0)
    return FemurAxes(centre @ axes, axes, ends - centre, tuple(warnings))


def femoral_borders(coordinates: np.ndarray, axes: FemurAxes) -> FemoralBorders | None:
    """Borders of the femoral regions from the joint surface seen along the shaft.

    Args:
        coordinates: (N, 3) points of the femoral joint surface, covered and denuded, in ``axes``.

    Returns:
        None when no intercondylar notch at least 10 mm deep is seen.
    """
    width = 2.0
    left, right = axes.condyles[0, 0] + 5.0, axes.condyles[1, 0] - 5.0
    inner = (coordinates[:, 0] > left) & (coordinates[:, 0] < right)
    if right - left < 4 * width or not inner.any():
        return None
    count = int(np.floor((right - left) / width))
    bins = np.clip(((coordinates[inner, 0] - left) / (right - left) * count).astype(int), 0, count - 1)
    border = np.full(count, np.nan)
    for b in range(count):
        ahead = np.sort(coordinates[inner, 1][bins == b])
        if len(ahead):
            # The second lowest point: one stray point does not move the border.
            border[b] = ahead[min(1, len(ahead) - 1)]
    if np.isnan(border).all():
        return None
    border = np.where(np.isnan(border), np.nanmax(border), border)
    border = ndimage.median_filter(border, 3, mode="nearest")
    posterior = float(np.sort(coordinates[:, 1])[: max(1, len(coordinates) // 1000)].mean())
    apex = int(np.argmax(border))
    trochlea = float(border[apex])
    if trochlea - posterior < 10.0:
        return None
    # The notch's middle, from the part of it that is at least halfway as deep as the apex.
    open_part = border > 0.5 * (trochlea + posterior)
    first = last = apex
    while first > 0 and open_part[first - 1]:
        first -= 1
    while last < count - 1 and open_part[last + 1]:
        last += 1
    notch = left + (first + last + 1) / 2 * (right - left) / count
    return FemoralBorders(float(notch), trochlea, posterior)


def _shaft_direction(mask: np.ndarray, spacing: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """Line through the centres of the shaft's cross-sections; None when too little of it is there."""
    area = np.count_nonzero(mask, axis=(0, 1))
    height = np.arange(mask.shape[2]) * spacing[2]
    height = height - height[np.flatnonzero(area)[0]]
    # The last section before the border of the image may be cut by it or rounded.
    chosen = (height >= SHAFT_FROM_MM) & (height <= min(SHAFT_TO_MM, height[-1] - 1.0)) & (area > 0)
    if np.count_nonzero(chosen) < 2 or np.ptp(height[chosen]) < SHAFT_TO_MM - SHAFT_FROM_MM - 10.0:
        return None
    z = height[chosen]
    slope = []
    for axis in (0, 1):
        profile = np.count_nonzero(mask, axis=1 - axis)[:, chosen]
        centre = (profile * (np.arange(mask.shape[axis]) * spacing[axis])[:, None]).sum(axis=0) / area[chosen]
        slope.append(np.polyfit(z, centre, 1)[0])
    direction = np.array([slope[0], slope[1], 1.0])
    return direction / np.linalg.norm(direction)


def _orthonormal(lateral: np.ndarray, superior: np.ndarray) -> np.ndarray:
    """Rows lateral, anterior, superior; superior is kept, lateral is made square to it."""
    superior = superior / np.linalg.norm(superior)
    lateral = lateral - (lateral @ superior) * superior
    lateral = lateral / np.linalg.norm(lateral)
    # lateral, anterior, superior of a right knee are right, anterior, superior: a right-handed frame.
    return np.array([lateral, np.cross(superior, lateral), superior])


def _most_posterior(points: np.ndarray) -> np.ndarray:
    """Mean of the thirty most posterior points (axis 1), which one bump does not move much."""
    order = np.argsort(points[:, 1], kind="stable")[:30]
    return points[order].mean(axis=0)
