"""Reading the expert label maps that the training grows its virtual knees from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from KneeSegLib.virtual_knee.anatomy_labels import (
    CANONICAL,
    FEMORAL_CARTILAGE,
    FEMUR,
    PATELLA,
    PATELLAR_CARTILAGE,
    TIBIA,
    TIBIAL_CARTILAGE,
)

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

#: The same by name, as the measuring takes them.
OAI_NAMES = {
    "femur": [1, 7], "femoral_cartilage": 2, "tibia": [3, 8], "tibial_cartilage": 4, "patella": [5, 9],
    "patellar_cartilage": 6,
}  # fmt: skip


def read_labels(
    path: str | Path, values: dict[int, int] = OAI_VALUES
) -> tuple[np.ndarray, tuple[float, float, float]]:
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


def smooth_outlines(labels: np.ndarray) -> np.ndarray:
    """Label maps without the jags of hand drawing: each voxel takes the label that is strongest around it.

    Annotators draw slice by slice, and outlines jump by a pixel from one slice to the next; cartilage does not.
    The blur (0.7 slices, 1.25 pixels) changes the volume of a cartilage by 1 % or less.
    """
    strongest = np.zeros(labels.shape, np.float32)
    smooth = np.zeros_like(labels)
    for value in np.unique(labels):
        strength = gaussian_filter((labels == value).astype(np.float32), (0.7, 1.25, 1.25), truncate=3)
        wins = strength > strongest
        smooth[wins], strongest[wins] = value, strength[wins]
    return smooth
