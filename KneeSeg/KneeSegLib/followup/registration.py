"""Rigid registration of a bone surface onto another of the same bone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

#: Points that steer, the part of them that counts (the best: osteophytes and cut shafts do not), and rounds.
_POINTS, _PART, _ROUNDS = 4000, 0.85, 60


@dataclass(frozen=True)
class RigidFit:
    """Where a surface came to lie.

    Attributes:
        rotation: (3, 3). translation: (3,) mm. A point p of the moving surface lies at ``rotation @ p + translation``.
        residual: root mean square distance of the points that count to the other surface's planes, mm.
    """

    rotation: np.ndarray
    translation: np.ndarray
    residual: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return points @ self.rotation.T + self.translation


def register_bone(
    moving: np.ndarray, fixed: np.ndarray, normals: np.ndarray, near: np.ndarray | None = None
) -> RigidFit:
    """Trimmed iterative closest points, point to plane (Chen and Medioni 1992; Chetverikov 2005).

    Both surfaces are in knees' frames, so they start within a few centimeters and some degrees of each other.
    Deterministic.

    Args:
        moving: (N, 3) mm. fixed, normals: (M, 3) mm and unit normals.
        near: (N,) bool, points that may steer (the joint end of a bone whose shaft is cut elsewhere); all by default.

    Raises:
        ValueError: fewer than 100 points.
    """
    chosen = moving if near is None else moving[near]
    if len(chosen) < 100 or len(fixed) < 100:
        raise ValueError("too few points to lay one bone on the other")
    chosen = chosen[:: max(1, len(chosen) // _POINTS)]
    tree = cKDTree(fixed)
    # Joint ends first: surfaces of different length have different centres of mass.
    rotation, translation = np.eye(3), np.median(fixed, axis=0) - np.median(chosen, axis=0)
    former = np.inf
    for _ in range(_ROUNDS):
        placed = chosen @ rotation.T + translation
        distance, nearest = tree.query(placed)
        good = distance <= np.quantile(distance, _PART)
        here, normal = placed[good], normals[nearest[good]]
        off = np.einsum("ij,ij->i", fixed[nearest[good]] - here, normal)
        centre = here.mean(axis=0)
        system = np.column_stack([np.cross(here - centre, normal), normal])
        step = np.linalg.lstsq(system, off, rcond=None)[0]
        turn = Rotation.from_rotvec(step[:3]).as_matrix()
        rotation = turn @ rotation
        translation = turn @ (translation - centre) + centre + step[3:]
        residual = float(np.sqrt((off**2).mean()))
        if abs(former - residual) < 1e-5 and np.abs(step).max() < 1e-4:
            break
        former = residual
    return RigidFit(rotation, translation, residual)
