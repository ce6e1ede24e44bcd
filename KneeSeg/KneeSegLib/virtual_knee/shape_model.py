"""A small statistical shape model of the whole knee, from which virtual knees of nobody can be drawn.

Each knee is six signed distance fields on a coarse grid: femur, tibia, patella, and each of them together with its
cartilage. Both kinds are thick and smooth, so a 2.5 mm grid carries them; the cartilage is what lies between, however
thin. A knee is the mean plus a weighted sum of principal components of all six fields together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import anatomy_labels as al

#: Pairs of label values whose fields the model holds: bone, and its cartilage.
PAIRS = ((al.FEMUR, al.FEMORAL_CARTILAGE), (al.TIBIA, al.TIBIAL_CARTILAGE), (al.PATELLA, al.PATELLAR_CARTILAGE))
#: Distances are cut off here (mm): farther away only the sign matters.
FAR_MM = 10.0
#: Cartilage thinner than this (mm) is an artifact of the coarse grid at the plate's border and is left out.
THINNEST_MM = 0.4

RESOURCE = Path(__file__).resolve().parents[2] / "Resources" / "VirtualKnee" / "knee_shapes.npz"


@dataclass
class ShapeModel:
    """Principal components of knees.

    Attributes:
        mean: float32 (6, D, H, W), mm, canonical order (slices to the right, rows to the feet, columns to the back).
        modes: float32 (M, 6, D, H, W), mm a standard deviation.
        spacing_mm: of the grid, the same along all axes.
    """

    mean: np.ndarray
    modes: np.ndarray
    spacing_mm: float

    @classmethod
    def read(cls, path: str | Path = RESOURCE) -> ShapeModel:
        """Read a model file; nothing but plain arrays is accepted."""
        with np.load(path, allow_pickle=False) as stored:
            mean = stored["mean"].astype(np.float32) * float(stored["mean_step"])
            modes = stored["modes"].astype(np.float32) * stored["mode_steps"][:, None, None, None, None]
            return cls(mean, modes.astype(np.float32), float(stored["spacing_mm"]))

    def write(self, path: str | Path) -> None:
        """Write with eight bits a value (steps of 0.08 mm in the mean)."""
        mean_step = FAR_MM / 127
        steps = np.abs(self.modes).reshape(len(self.modes), -1).max(1) / 127
        np.savez_compressed(
            path,
            mean=np.rint(self.mean / mean_step).astype(np.int8),
            mean_step=np.float32(mean_step),
            modes=np.rint(self.modes / steps[:, None, None, None, None]).astype(np.int8),
            mode_steps=steps.astype(np.float32),
            spacing_mm=np.float32(self.spacing_mm),
        )

    def labels(self, weights, spacing: tuple[float, float, float] = (0.7, 0.365, 0.365)) -> np.ndarray:
        """The label map of one knee.

        Args:
            weights: one number a mode, in standard deviations; fewer are filled up with 0.
            spacing: voxel size in mm.

        Returns:
            uint8 (D, H, W), values of ``anatomy_labels``.
        """
        from scipy.ndimage import zoom

        weights = np.asarray(weights, np.float32)
        fields = self.mean + np.tensordot(weights, self.modes[: len(weights)], 1)
        factors = [self.spacing_mm / s for s in spacing]
        result = None
        for (bone, cartilage), inner, outer in zip(PAIRS, fields[::2], fields[1::2]):
            inner = zoom(inner, factors, order=1, grid_mode=True, mode="nearest")
            outer = zoom(outer, factors, order=1, grid_mode=True, mode="nearest")
            if result is None:
                result = np.zeros(inner.shape, np.uint8)
            result[(outer < 0) & (inner >= 0) & (inner - outer > THINNEST_MM) & (result == 0)] = cartilage
            result[inner < 0] = bone
        return result

    def random_labels(self, rng: np.random.Generator, spacing=(0.7, 0.365, 0.365)) -> np.ndarray:
        """A random knee: normally distributed weights, kept within 1.5 standard deviations."""
        return self.labels(np.clip(rng.standard_normal(len(self.modes)), -1.5, 1.5), spacing)
