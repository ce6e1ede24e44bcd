"""Registration of a bone surface onto another: rigid for the same bone, with scale for another person's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

#: Points that steer, the part of them that counts (the best: osteophytes and cut shafts do not), and rounds.
_POINTS, _PART, _ROUNDS = 4000, 0.85, 60


@dataclass(frozen=True)
class Similarity:
    """Where a surface came to lie: a point p of it lies at ``scale * rotation @ p + translation``.

    Attributes:
        rotation: (3, 3). translation: (3,) mm. scale: 1 for a rigid registration.
        residual: root mean square distance of the points that count to the other surface's planes, mm.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: float = 1.0
    residual: float = 0.0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.scale * points @ self.rotation.T + self.translation

    def back(self, points: np.ndarray) -> np.ndarray:
        """The points of the moving surface's own space that lie at ``points``."""
        return (points - self.translation) @ self.rotation / self.scale

    @property
    def matrix(self) -> np.ndarray:
        """The same as a 4 x 4 matrix."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.scale * self.rotation, self.translation
        return matrix


def register_bone(
    moving: np.ndarray,
    fixed: np.ndarray,
    normals: np.ndarray,
    near: np.ndarray | None = None,
    start_scale: float | None = None,
) -> Similarity:
    """Trimmed iterative closest points, point to plane (Chen and Medioni 1992; Chetverikov 2005).

    Both surfaces are in knees' frames, so they start within a few centimeters and some degrees of each other.
    Deterministic.

    Args:
        moving: (N, 3) mm. fixed, normals: (M, 3) mm and unit normals.
        near: (N,) bool, points that may steer (the joint end of a bone whose shaft is cut elsewhere); all by default.
        start_scale: where given, size is registered too, beginning with this.

    Raises:
        ValueError: fewer than 100 points.
    """
    chosen = moving if near is None else moving[near]
    if len(chosen) < 100 or len(fixed) < 100:
        raise ValueError("too few points to lay one bone on the other")
    chosen = chosen[:: max(1, len(chosen) // _POINTS)]
    tree = cKDTree(fixed)
    scale, rotation = start_scale or 1.0, np.eye(3)
    # Joint ends first: surfaces of different length have different centres of mass.
    translation = np.median(fixed, axis=0) - scale * np.median(chosen, axis=0)
    former = np.inf
    for _ in range(_ROUNDS):
        placed = scale * chosen @ rotation.T + translation
        distance, nearest = tree.query(placed)
        good = distance <= np.quantile(distance, _PART)
        here, normal = placed[good], normals[nearest[good]]
        off = np.einsum("ij,ij->i", fixed[nearest[good]] - here, normal)
        centre = here.mean(axis=0)
        system = np.column_stack([np.cross(here - centre, normal), normal])
        if start_scale is not None:
            system = np.column_stack([system, np.einsum("ij,ij->i", here - centre, normal)])
        step = np.linalg.lstsq(system, off, rcond=None)[0]
        turn = Rotation.from_rotvec(step[:3]).as_matrix()
        grow = 1 + step[6] if start_scale is not None else 1.0
        rotation, scale = turn @ rotation, grow * scale
        translation = grow * turn @ (translation - centre) + centre + step[3:6]
        residual = float(np.sqrt((off**2).mean()))
        if abs(former - residual) < 1e-5 and np.abs(step).max() < 1e-4:
            break
        former = residual
    return Similarity(rotation, translation, float(scale), residual)
