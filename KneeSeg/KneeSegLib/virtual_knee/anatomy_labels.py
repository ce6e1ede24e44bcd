"""Reading the label maps that virtual knees grow from, in one canonical voxel order.

Canonical order (array axes): 0 slices, towards the patient's right; 1 rows, superior to inferior; 2 columns,
anterior to posterior. It is reached by axis permutations and flips only, never by resampling.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

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

#: Label values of the OAI-derived expert maps (lesions lie inside their bone).
OAI_VALUES = {
    1: FEMUR,
    2: FEMORAL_CARTILAGE,
    3: TIBIA,
    4: TIBIAL_CARTILAGE,
    5: PATELLA,
    6: PATELLAR_CARTILAGE,
    7: FEMUR,
    8: TIBIA,
    9: PATELLA,
}

CANONICAL = "PIR"
#: Direction matrix (LPS) of an image whose array is in canonical order.
CANONICAL_DIRECTION = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def read_labels(path: str | Path, values: dict[int, int] = OAI_VALUES) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read a label map into canonical order.

    Args:
        path: label map in any format that SimpleITK reads.
        values: label value in the file -> value in the result; others become background.

    Returns:
        uint8 array (slices, rows, columns) and its spacing in mm in the same order.
    """
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), CANONICAL)
    table = np.zeros(256, np.uint8)
    for old, new in values.items():
        table[old] = new
    spacing = image.GetSpacing()
    return table[sitk.GetArrayFromImage(image).astype(np.uint8)], (spacing[2], spacing[1], spacing[0])


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
