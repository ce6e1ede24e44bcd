"""The label arrays that virtual knees grow from: their values and their one canonical voxel order.

Canonical order (array axes): 0 slices, towards the patient's right; 1 rows, superior to inferior; 2 columns,
anterior to posterior. It is reached by axis permutations and flips only, never by resampling.
"""

from __future__ import annotations

import numpy as np

#: Values in the working arrays.
FEMUR, TIBIA, PATELLA, FEMORAL_CARTILAGE, TIBIAL_CARTILAGE, PATELLAR_CARTILAGE = range(1, 7)
TARGET_NAMES = {
    "femur": FEMUR,
    "tibia": TIBIA,
    "patella": PATELLA,
    "femoral_cartilage": FEMORAL_CARTILAGE,
    "tibial_cartilage": TIBIAL_CARTILAGE,
    "patellar_cartilage": PATELLAR_CARTILAGE,
}

#: Letters of the directions in which columns, rows and slices grow (P, I, R), as SimpleITK names orientations.
CANONICAL = "PIR"
#: Direction matrix (LPS) of an image whose array is in canonical order.
CANONICAL_DIRECTION = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def trim_shafts(labels: np.ndarray) -> np.ndarray:
    """Cut away the rows where an annotator stopped drawing a shaft before the image ended.

    A drawn shaft ends ragged; continued past the field of view it would become stripes. The cut lies where the
    cross-section first reaches nine tenths of what it is a little further in.
    """
    top = _first_full_row((labels == FEMUR).sum((0, 2)))
    bottom = _first_full_row((labels == TIBIA).sum((0, 2))[::-1])
    return labels[:, top : labels.shape[1] - bottom]


def _first_full_row(area: np.ndarray, look_ahead: int = 30) -> int:
    occupied = np.flatnonzero(area)
    if not len(occupied):
        return 0
    first = int(occupied[0])
    reference = np.median(area[first + look_ahead // 2 : first + look_ahead])
    full = first + int(np.argmax(area[first:] >= 0.9 * reference))
    return full + 4 if full > 1 else full
