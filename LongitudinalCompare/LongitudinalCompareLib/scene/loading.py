"""Reading the files of a finished comparison, before the scene is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.images.segmentation_files import read_segmentation
from MRISegSuiteLib.jobs import Result

from ..registration.rigid import matrix_of, to_ras

_TILE_MM = 25.0


@dataclass
class LoadedJob:
    """The files of a job folder.

    Attributes:
        record: lesions.json. transforms: timepoint -> (4, 4) RAS matrix from the scan to the common space.
        images: timepoint -> image in the common space. maps: role -> image in the common space.
        masks: timepoint -> (label image, {name: value}), native.
    """

    result: Result
    record: dict
    transforms: dict
    images: dict
    maps: dict
    masks: dict


def load_job(job_folder) -> LoadedJob:
    """Everything that the scene shows.

    Raises:
        SuiteError: the job failed, is no comparison, or a file is missing or damaged.
    """
    folder = Path(job_folder)
    result = Result.read(folder)
    if result.failure() is not None:
        raise result.failure()
    if "lesions" not in result.files:
        raise BadInput(f"{folder} holds no comparison.", "Choose the folder of a compare job.")
    try:
        record = json.loads((folder / result.files["lesions"]).read_text(encoding="utf-8"))
        transforms = {
            n: to_ras(np.linalg.inv(matrix_of(sitk.ReadTransform(str(folder / name)))))
            for n, name in _numbered(result, "transform")
        }
    except (OSError, ValueError, RuntimeError) as exception:
        raise BadInput(f"{folder} is damaged: {exception}.", "Run the job again.") from exception
    images = {n: read_image_file(folder / name) for n, name in _numbered(result, "halfway")}
    maps = {
        f"{role}_{n}": read_image_file(folder / name)
        for role in ("subtraction", "intensity_change") for n, name in _numbered(result, role)
    }  # fmt: skip
    for n, image in images.items():
        if n > 1 and 1 in images:
            maps[f"checkerboard_{n}"] = checkerboard(images[1], image)
    masks = {n: _mask(folder / name) for n, name in _numbered(result, "segmentation")}
    return LoadedJob(result, record, transforms, images, maps, masks)


def _mask(path: Path) -> tuple[sitk.Image, dict[str, int]]:
    image = read_image_file(path)
    if any(key.startswith("Segment0_") for key in image.GetMetaDataKeys()):
        return read_segmentation(path, warn=lambda text: None)
    return image, {}  # no lesion: a segmentation without segments


def _numbered(result: Result, role: str) -> list[tuple[int, str]]:
    """(N, file) of the roles ``role_N``, in order."""
    found = [(key.rpartition("_"), name) for key, name in result.files.items()]
    return sorted((int(parts[2]), name) for parts, name in found if parts[0] == role and parts[2].isdigit())


def checkerboard(first: sitk.Image, second: sitk.Image) -> sitk.Image:
    """Cubes of one image and the other in turn, both brought to the same range of gray values; one grid."""
    arrays = []
    for image in (first, second):
        array = sitk.GetArrayFromImage(image).astype(np.float32)
        inside = array[array > 0] if (array > 0).any() else array
        low, high = np.percentile(inside, (1, 99.5))
        arrays.append(np.clip((array - low) / max(float(high - low), 1e-6), 0, 1) * 1000)
    tile = [np.arange(n) * s // _TILE_MM for n, s in zip(arrays[0].shape, first.GetSpacing()[::-1])]
    tiles = (tile[0][:, None, None] + tile[1][None, :, None] + tile[2][None, None, :]) % 2 == 0
    image = sitk.GetImageFromArray(np.where(tiles, *arrays).astype(np.int16))
    image.CopyInformation(first)
    return image
