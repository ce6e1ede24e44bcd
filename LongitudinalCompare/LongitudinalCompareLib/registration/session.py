"""Do the contrasts of one session lie on each other? A scanner says so by its coordinates; a patient may have moved.

Looked at cheaply: mutual information a little to either side of where the two lie, along and about the three axes; the
top of the parabola through the three values tells how far beside they lie.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from .preparation import Prepared, coarser, turned
from .rigid import displacement_mm
from .similarity import similarity

#: Beyond this mean displacement the contrasts are registered to each other.
BESIDE_MM = 1.0
_VOXEL_MM, _STEP_MM, _STEP_DEG = 3.0, 4.0, 4.0


def beside_mm(reference: Prepared, other: Prepared) -> float:
    """How far ``other`` lies beside ``reference``, mean displacement inside the reference's mask; infinite where they
    are not the most alike anywhere near."""
    a, b = coarser(reference, _VOXEL_MM), coarser(turned(other), _VOXEL_MM)  # on one grid 0 would be a peak of its own

    def alike(matrix: np.ndarray) -> float:
        return similarity(a, b, matrix).nmi + similarity(b, a, np.linalg.inv(matrix)).nmi

    here = alike(np.eye(4))
    tops = []
    for step in _steps(reference.center):
        low, high = alike(step(-1.0)), alike(step(1.0))
        bend = low + high - 2 * here
        if bend >= 0:
            return float("inf")
        tops.append(np.clip((low - high) / (2 * bend), -1.0, 1.0))
    found = np.eye(4)
    for step, top in zip(_steps(reference.center), tops):
        found = found @ step(top)
    return float(displacement_mm(found, np.eye(4), reference.points).mean())


def _steps(center: np.ndarray):
    """Functions from a number of steps to a matrix, for the six ways to lie beside."""

    def along(axis):
        def step(times):
            matrix = np.eye(4)
            matrix[axis, 3] = times * _STEP_MM
            return matrix

        return step

    def about(axis):
        def step(times):
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_euler(axis, times * _STEP_DEG, degrees=True).as_matrix()
            matrix[:3, 3] = center - matrix[:3, :3] @ center
            return matrix

        return step

    return [along(axis) for axis in range(3)] + [about(axis) for axis in "xyz"]
