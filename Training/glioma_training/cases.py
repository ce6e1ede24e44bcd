"""The glioma cases that train and test the experts, and the brain label maps that tumors are generated in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.canonical import to_canonical
from MRISegSuiteLib.models.preprocessing import grids_for, normalized, to_model_grid

#: Directions in which the arrays' indices grow, slowest first: slices up, rows to the back, columns to the left.
AXES = "SPL"
#: Quartiles of the brain go to 3 and 4, so that what was cut away (and the padding of windows, 0) stays below
#: everything in the brain. Quartiles, because a large bright tumor moves mean and SD more.
NORMALIZATION = {"kind": "percentile", "low": 25, "high": 75, "out_low": 3.0, "out_high": 4.0, "clip": False,
                 "over": "foreground"}  # fmt: skip
WHOLE_TUMOUR_FOLDER, MULTICLASS_FOLDER, LABEL_MAPS_FOLDER = (
    "glioma_whole_tumour", "glioma_multiclass", "brain_label_maps",
)  # fmt: skip


@dataclass(frozen=True)
class GliomaCase:
    """One real case: the files of its FLAIR and of a manual segmentation, every label of which is tumor."""

    id: str
    flair: Path
    truth: Path

    def images(self) -> tuple[sitk.Image, sitk.Image]:
        """FLAIR, and the whole tumor as 0 and 1 (uint8)."""
        return sitk.ReadImage(str(self.flair)), sitk.ReadImage(str(self.truth)) > 0.5


def real_cases(data: Path) -> list[GliomaCase]:
    """All cases under the folder of shared data: BraTS 2018 first, then BraTS 2013.

    Raises:
        FileNotFoundError: there is none.
    """
    cases = [
        GliomaCase(folder.name, folder / "FLAIR.nii.gz", folder / "GT_W.nii.gz")
        for folder in sorted((data / WHOLE_TUMOUR_FOLDER).glob("case_*"))
    ]
    cases += [
        GliomaCase(folder.name, folder / "Flair_subtrMeanDivStd.nii.gz", folder / "OTMultiClass.nii.gz")
        for folder in sorted((data / MULTICLASS_FOLDER).glob("brats_2013_*"))
    ]
    if not cases:
        raise FileNotFoundError(f"{data}: no cases in {WHOLE_TUMOUR_FOLDER} or {MULTICLASS_FOLDER}")
    return cases


def prepared(flair: sitk.Image, truth: sitk.Image, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Image and truth as the network sees them, cropped to the brain.

    Args:
        flair, truth: on one grid; the truth is 0 and 1.
        spacing: of the network's grid, mm, array order.

    Returns:
        Normalized FLAIR (float32), and the part of each voxel that is tumor (float32, 0..1).
    """
    arrays = []
    for image in (flair, truth):
        image = to_canonical(image, AXES[::-1])
        grids = grids_for(image.GetSize()[::-1], image.GetSpacing()[::-1], list(spacing), lambda text: None)
        arrays.append(to_model_grid(sitk.GetArrayFromImage(image), grids))
    image = normalized(arrays[0], NORMALIZATION)
    box = brain_box(image)
    return image[box], arrays[1][box]


def brain_box(image: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds what differs from the corner, with a margin of one voxel."""
    brain = np.abs(image - image[0, 0, 0]) > 1e-3
    box = []
    for axis in range(3):
        planes = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(0, int(planes[0]) - 1), int(planes[-1]) + 2))
    return tuple(box)


def cached(path: Path, make) -> tuple[np.ndarray, np.ndarray]:
    """Image (float16) and truth (uint8, 255 is all tumor) from a file, which is made where it is absent."""
    if not path.exists():
        image, truth = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.part")
        with open(aside, "wb") as stream:
            np.savez(stream, image=image.astype(np.float16), truth=np.round(255 * truth).astype(np.uint8))
        os.replace(aside, path)
    with np.load(path) as content:
        return content["image"], content["truth"]
