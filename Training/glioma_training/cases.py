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
#: What is generated, in this order.
CHANNELS = ("FLAIR", "T1c")
#: Structures, each within the one before.
REGIONS = WHOLE, CORE, ENHANCING = ("whole_tumour", "tumour_core", "enhancing_tumour")
WHOLE_TUMOUR_FOLDER, MULTICLASS_FOLDER, LABEL_MAPS_FOLDER, OTHER_SOURCE_FOLDER = (
    "glioma_whole_tumour", "glioma_multiclass", "brain_label_maps", "glioma_expert_masks",
)  # fmt: skip


@dataclass(frozen=True)
class GliomaCase:
    """One real case.

    Attributes:
        id: name of its folder.
        files: channel ("FLAIR", "T1c") -> image file.
        truth: manual segmentation.
        labels: structure -> values of the segmentation that are part of it.
    """

    id: str
    files: dict[str, Path]
    truth: Path
    labels: dict[str, tuple[int, ...]]

    def has(self, channels: Sequence[str], structures: Sequence[str]) -> bool:
        return set(channels) <= set(self.files) and set(structures) <= set(self.labels)

    def images(self, channels: Sequence[str]) -> list[sitk.Image]:
        return [sitk.ReadImage(str(self.files[channel])) for channel in channels]

    def truths(self, structures: Sequence[str]) -> list[sitk.Image]:
        """Each structure as 0 and 1 (uint8)."""
        image = sitk.ReadImage(str(self.truth))
        array = np.rint(sitk.GetArrayFromImage(image)).astype(int)
        masks = [sitk.GetImageFromArray(np.isin(array, self.labels[name]).astype(np.uint8)) for name in structures]
        for mask in masks:
            mask.CopyInformation(image)
        return masks


def real_cases(data: Path) -> list[GliomaCase]:
    """All cases under the folder of shared data: BraTS 2018 first, then BraTS 2013.

    Raises:
        FileNotFoundError: there is none.
    """
    cases = [
        GliomaCase(folder.name, {"FLAIR": folder / "FLAIR.nii.gz"}, folder / "GT_W.nii.gz", {WHOLE: (1,)})
        for folder in sorted((data / WHOLE_TUMOUR_FOLDER).glob("case_*"))
    ]
    cases += [
        GliomaCase(
            folder.name,
            {"FLAIR": folder / "Flair_subtrMeanDivStd.nii.gz", "T1c": folder / "T1c_subtrMeanDivStd.nii.gz"},
            folder / "OTMultiClass.nii.gz",
            {WHOLE: (1, 2, 3, 4), CORE: (1, 3, 4), ENHANCING: (4,)},
        )
        for folder in sorted((data / MULTICLASS_FOLDER).glob("brats_2013_*"))
    ]
    if not cases:
        raise FileNotFoundError(f"{data}: no cases in {WHOLE_TUMOUR_FOLDER} or {MULTICLASS_FOLDER}")
    return cases


def cases_of_other_source(data: Path) -> list[GliomaCase]:
    """Cases that nothing is trained on. Their truth is what a majority of five published algorithms says."""
    return [
        GliomaCase(
            folder.name,
            {"FLAIR": folder / "fla.nii.gz", "T1c": folder / "t1c.nii.gz"},
            folder / "fusion_mav.nii.gz",
            {WHOLE: (1, 2, 4), CORE: (1, 4), ENHANCING: (4,)},
        )
        for folder in sorted((data / OTHER_SOURCE_FOLDER).glob("*"))
    ]


def prepared(images: Sequence[sitk.Image], truths: Sequence[sitk.Image], spacing) -> tuple[np.ndarray, np.ndarray]:
    """Images and truth as the network sees them, cropped to the brain.

    Args:
        images, truths: on one grid; a truth is 0 and 1.
        spacing: of the network's grid, mm, array order.

    Returns:
        Normalized images (C, D, H, W), and the part of each voxel that is each structure (K, D, H, W, 0..1); float32.
    """
    arrays = []
    for image in (*images, *truths):
        image = to_canonical(image, AXES[::-1])
        grids = grids_for(image.GetSize()[::-1], image.GetSpacing()[::-1], list(spacing), lambda text: None)
        arrays.append(to_model_grid(sitk.GetArrayFromImage(image), grids))
    volumes = np.stack([normalized(array, NORMALIZATION) for array in arrays[: len(images)]])
    box = (slice(None), *brain_box(volumes[0]))
    return volumes[box], np.stack(arrays[len(images) :])[box]


def brain_box(image: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds what differs from the corner, with a margin of one voxel."""
    brain = np.abs(image - image[0, 0, 0]) > 1e-3
    box = []
    for axis in range(3):
        planes = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(0, int(planes[0]) - 1), int(planes[-1]) + 2))
    return tuple(box)


def cached(path: Path, make) -> tuple[np.ndarray, np.ndarray]:
    """Images (float16) and truth (uint8, 255 is all of it) from a file, which is made where it is absent."""
    if not path.exists():
        image, truth = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.part")
        with open(aside, "wb") as stream:
            np.savez(stream, image=image.astype(np.float16), truth=np.round(255 * truth).astype(np.uint8))
        os.replace(aside, path)
    with np.load(path) as content:
        return content["image"], content["truth"]
