"""Left or right, from the shape of the bones.

Used when nothing in the labels names medial or lateral: no split tibial cartilage and no fibula. Eight differences
between the patient's right and left half of the knee are measured in the axes of the femur. Each is positive in a
right knee and changes its sign in the mirror image, so that a left knee is found exactly as well as a right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .plateaus import lateral_part
from .regions import FemurAxes, femur_axes
from .structures import UNSPLIT_TIBIAL_CARTILAGE


@dataclass(frozen=True)
class SideFinding:
    """What the anatomy says about the side.

    Attributes:
        side: ``left``, ``right`` or ``unknown``.
        margin: how clearly: 1 is the least that counts as decided, negative for a left knee.
        source: what it was found from.
    """

    side: str
    margin: float
    source: str

    @staticmethod
    def of(value: float, least: float, source: str) -> SideFinding:
        """``value`` above ``least`` means right, below ``-least`` left, between them unknown."""
        margin = float(value) / least
        side = "right" if margin >= 1 else "left" if margin <= -1 else "unknown"
        return SideFinding(side, margin, source)


#: Sign -> (mean, standard deviation) in 51 right knees: 50 of the OAI (32 people) and one other. In mm, but for
#: the curvature (change of height over 20 mm). In the mirror image each has the opposite sign.
SIGNS: dict[str, tuple[float, float]] = {
    # The foremost cartilage lies lateral to the middle between the condyles' posterior ends.
    "trochlea_front": (9.7, 2.2),
    # The trochlea's cartilage reaches higher laterally.
    "trochlea_height": (8.2, 2.4),
    # The tibial tuberosity is lateral to the middle of the plateau.
    "tuberosity": (9.9, 2.9),
    # The lateral plateau is flat or convex from front to back, the medial one is concave.
    "plateau_curvature": (4.3, 1.3),
    # Seen along the shaft, the medial condyle reaches further down.
    "condyle_height": (8.8, 3.5),
    # Seen along the shaft, the tibia lies lateral to the middle between the condyles' posterior ends.
    "tibia_offset": (8.1, 3.4),
    # The medial plateau is longer from front to back.
    "plateau_length": (7.4, 3.6),
    # The posterior cartilage reaches higher laterally.
    "posterior_height": (5.7, 3.0),
}

#: The score is 1 in the mean right knee, -1 in the mean left one; between these nothing is decided.
LEAST_SCORE = 0.3


def side_from_bones(masks: Mapping[str, tuple[np.ndarray, np.ndarray]], spacing: np.ndarray) -> SideFinding:
    """The side by a weighted mean of the signs that can be seen.

    Args:
        masks: structure -> (3D bool in its box, (3,) first index of the box); axes right, anterior, superior.
        spacing: (3,) mm.

    Returns:
        The finding; unknown when the femur is absent or too few signs can be seen.
    """
    found = side_signs(masks, spacing)
    if not found:
        return SideFinding("unknown", 0.0, "no medial or lateral label, no fibula, too little of the bones")
    # Each sign as a part of its mean in right knees, weighted by how well it tells (mean over SD, squared).
    weight = {name: (SIGNS[name][0] / SIGNS[name][1]) ** 2 for name in found}
    score = sum(weight[name] * value / SIGNS[name][0] for name, value in found.items()) / sum(weight.values())
    return SideFinding.of(score, LEAST_SCORE, "shape of " + ", ".join(name.replace("_", " ") for name in found))


def side_signs(masks: Mapping[str, tuple[np.ndarray, np.ndarray]], spacing: np.ndarray) -> dict[str, float]:
    """The signs that the structures show; arguments as ``side_from_bones``."""
    if "femur" not in masks:
        return {}
    points = {name: _boundary(mask, np.asarray(start), spacing) for name, (mask, start) in masks.items()}
    axes: FemurAxes = femur_axes(masks["femur"][0], spacing, np.asarray(masks["femur"][1]), points["femur"])
    at = {name: axes.coordinates(p) for name, p in points.items()}
    # Axis 0 of the femur's frame runs to the patient's right; 0 is the middle between the condyles' posterior ends.
    femur = at["femur"]
    half = 0.5 * (axes.condyles[1, 0] - axes.condyles[0, 0])
    right = femur[:, 0] > 0
    height = femur[:, 2] - femur[:, 2].min()
    condyles = (height < 35) & (np.abs(femur[:, 0]) > 0.4 * half)
    signs = {"condyle_height": _difference(femur, condyles & right, condyles & ~right, _lowest)}
    if "femoral_cartilage" in at:
        layer = at["femoral_cartilage"]
        front = layer[:, 1] > np.percentile(layer[:, 1], 60)
        back = layer[:, 1] < np.percentile(layer[:, 1], 25)
        signs["trochlea_front"] = layer[layer[:, 1] > np.percentile(layer[:, 1], 90), 0].mean()
        for name, part in (("trochlea_height", front), ("posterior_height", back)):
            signs[name] = _difference(layer, part & (layer[:, 0] > 3), part & (layer[:, 0] < -3), _highest)
    if "tibia" in at:
        signs.update(_tibial_signs(at["tibia"]))
    if UNSPLIT_TIBIAL_CARTILAGE in at:
        mask, start = masks[UNSPLIT_TIBIAL_CARTILAGE]
        over = lateral_part(mask, spacing)
        index = np.rint(points[UNSPLIT_TIBIAL_CARTILAGE] / spacing).astype(int) - np.asarray(start)
        on_right = over[tuple(index.T)]
        signs.update(_plateau_signs(at[UNSPLIT_TIBIAL_CARTILAGE], on_right))
    return {name: float(value) for name, value in signs.items() if np.isfinite(value)}


def _boundary(mask: np.ndarray, start: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Centres of the boundary voxels, thinned to about 0.75 mm, mm."""
    step = [max(1, int(round(0.75 / s))) for s in spacing]
    thin = mask[:: step[0], :: step[1], :: step[2]]
    padded = np.pad(thin, 1)
    inner = thin.copy()
    for axis in range(3):
        for shift in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(shift, shift + thin.shape[axis])
            inner &= padded[tuple(window)]
    return (np.argwhere(thin & ~inner) * step + start) * spacing


def _lowest(values: np.ndarray) -> float:
    return float(np.sort(values)[:30].mean())


def _highest(values: np.ndarray) -> float:
    return float(np.sort(values)[-30:].mean())


def _difference(points: np.ndarray, right: np.ndarray, left: np.ndarray, extreme) -> float:
    """Height (axis 2) of the right part minus that of the left part; NaN when one of them is hardly there."""
    if min(np.count_nonzero(right), np.count_nonzero(left)) < 60:
        return float("nan")
    return extreme(points[right, 2]) - extreme(points[left, 2])


def _tibial_signs(tibia: np.ndarray) -> dict[str, float]:
    depth = tibia[:, 2].max() - tibia[:, 2]
    plateau = tibia[(depth > 6) & (depth < 20), 0]
    if len(plateau) < 100:
        return {}
    middle = 0.5 * (plateau.min() + plateau.max())
    signs = {"tibia_offset": middle}
    # The tuberosity is the ridge in front, 25 to 50 mm under the plateau; not seen when the image ends above it.
    below = tibia[(depth > 25) & (depth < 50)]
    if len(below) > 300 and depth.max() > 40:
        ridge = below[below[:, 1] > np.percentile(below[:, 1], 97)]
        signs["tuberosity"] = ridge[:, 0].mean() - middle
    return signs


def _plateau_signs(points: np.ndarray, on_right: np.ndarray) -> dict[str, float]:
    right, left = points[on_right], points[~on_right]
    if min(len(right), len(left)) < 200:
        return {}
    return {
        "plateau_length": float(np.ptp(left[:, 1]) - np.ptp(right[:, 1])),
        "plateau_curvature": _curvature(left) - _curvature(right),
    }


def _curvature(points: np.ndarray) -> float:
    """Second-order coefficient of height over the way from front to back, scaled as change of height over 20 mm."""
    ahead = points[:, 1]
    half = 0.5 * np.ptp(ahead)
    place = (ahead - 0.5 * (ahead.min() + ahead.max())) / half
    inner = np.abs(place) < 0.9
    return float(np.polyfit(place[inner], points[inner, 2], 2)[0] / half * 20.0)
