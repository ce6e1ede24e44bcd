"""A linear shape model: principal components of signed distance fields.

Bones of many people are laid on each other (rotation, translation and size taken out) and told as signed distances on
a common grid. A bone is the mean plus a weighted sum of the components (Leventon et al. 2000). Needs numpy alone, so
it also moves under a slider in the panel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

from .array_files import read_arrays
from .target import Samples

#: Distances beyond this say nothing about a surface, mm.
NEAR_MM = 4.0


@dataclass
class LinearShapeModel:
    """Mean and components of signed distance fields in mm, in the knee's frame at mean size.

    Attributes:
        mean: float32 (2, X, Y, Z): bone; bone and cartilage together.
        modes: float32 (M, 2, X, Y, Z), mm a standard deviation.
        origin: (3,) mm, place of the first grid point.
        step: mm, of the grid.
        cut: mm, height above which the shaft is cut off.
        stiffness: how much a weight of one standard deviation costs in a fit, in mm^2 a sample point.
        count: bones that it was made from.
    """

    mean: np.ndarray
    modes: np.ndarray
    origin: np.ndarray
    step: float
    cut: float
    stiffness: float
    count: int

    #: The model's space has the axes of the knee's frame, and the size of a mean bone.
    axes = np.eye(3)
    unit_size = False

    @property
    def size(self) -> int:
        """How many numbers describe a bone."""
        return len(self.modes)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of each weight over the population."""
        return np.ones(self.size)

    @classmethod
    def read(cls, source: bytes | str | Path) -> LinearShapeModel:
        """Read a model file.

        Raises:
            ValueError: not such a file.
        """
        stored = read_arrays(source)
        try:
            modes = stored["modes"].astype(np.float32) * stored["mode_steps"][:, None, None, None, None]
            return cls(
                stored["mean"].astype(np.float32) * float(stored["mean_step"]),
                modes.astype(np.float32),
                stored["origin"].astype(np.float64),
                *(float(stored[name]) for name in ("step", "cut", "stiffness")),
                int(stored["count"]),
            )
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"it is no linear shape model ({error})") from error

    def write(self, path: str | Path) -> None:
        """Write the mean with 16 and the modes with eight bits a value."""
        mean_step = np.abs(self.mean).max() / 32767
        steps = np.abs(self.modes).reshape(len(self.modes), -1).max(1) / 127
        np.savez_compressed(
            path,
            mean=np.rint(self.mean / mean_step).astype(np.int16),
            mean_step=np.float32(mean_step),
            modes=np.rint(self.modes / steps[:, None, None, None, None]).astype(np.int8),
            mode_steps=steps.astype(np.float32),
            origin=self.origin,
            step=self.step,
            cut=self.cut,
            stiffness=self.stiffness,
            count=self.count,
        )

    def field(self, weights: np.ndarray) -> np.ndarray:
        """Signed distances (2, X, Y, Z) of a bone on the model's grid, mm."""
        weights = np.asarray(weights, np.float32)
        return self.mean + np.tensordot(weights, self.modes[: len(weights)], 1)

    def distances(self, weights: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Signed distances (N, 2) at points of the model's space, mm."""
        field = self.field(weights)
        return np.column_stack([self._at(one, points) for one in field])

    def fit(
        self, samples: Samples, seed: int = 0, progress: Callable[[float], None] | None = None
    ) -> tuple[np.ndarray, str]:
        """Weights (M,) in standard deviations that tell the samples best, and how they were found.

        Least squares with the population as prior: ``mean (model - sample)^2 + stiffness * |weights|^2``.
        ``seed`` changes nothing: the solution is closed.
        """
        columns, wanted = [], []
        for surface in range(2):
            near = np.abs(samples.distances[:, surface]) < NEAR_MM
            points = samples.points[near]
            columns.append(np.column_stack([self._at(mode[surface], points) for mode in self.modes]))
            wanted.append(samples.distances[near, surface] - self._at(self.mean[surface], points))
        system, right = np.concatenate(columns), np.concatenate(wanted)
        normal = system.T @ system / len(right) + self.stiffness * np.eye(self.size)
        return np.linalg.solve(normal, system.T @ right / len(right)), "least squares, solved in one step"

    def _at(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        return map_coordinates(field, ((points - self.origin) / self.step).T, order=1, mode="nearest")
