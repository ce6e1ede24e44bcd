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
from MRISegSuiteLib.scene.provenance import digest_of_voxels
from MRISegSuiteLib.scene.volumes import image_data_of

from ..registration.rigid import matrix_of, to_ras

_TILE_MM = 25.0
#: Gray values of a checkerboard reach from 0 to this.
BRIGHTEST = 1000
#: The change map is shown from 3 to this many standard deviations of the noise.
_SHOWN_NOISE = 10.0
#: The map of local expansion is shown to this many times its own spread.
_SHOWN_SPREADS = 8.0


@dataclass
class LoadedJob:
    """The files of a job folder.

    Attributes:
        record: lesions.json. transforms: timepoint -> (4, 4) RAS matrix from the scan to the common space.
        sessions: (timepoint, contrast) -> the same from another contrast that was registered within its session.
        images: timepoint -> image in the common space. maps: role -> image in the common space.
        windows: role of a map -> lowest and highest gray value to show.
        digests: role of a map -> digest of its voxels. data: role of a map -> its voxels as a node holds them.
        masks: timepoint -> (label image, {name: value}), native.
    """

    result: Result
    record: dict
    transforms: dict
    sessions: dict
    images: dict
    maps: dict
    windows: dict
    digests: dict
    data: dict
    masks: dict


def load_job(job_folder):
    """Everything that the scene shows; a generator that yields between the files and returns a :class:`LoadedJob`.

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
        sessions = {
            (n, contrast): transforms[n] @ np.linalg.inv(to_ras(matrix_of(sitk.ReadTransform(str(folder / name)))))
            for contrast in _contrasts(result, "session") for n, name in _numbered(result, f"session_{contrast}")
            if n in transforms
        }
    except (OSError, ValueError, RuntimeError) as exception:
        raise BadInput(f"{folder} is damaged: {exception}.", "Run the job again.") from exception
    images, scaled, maps, windows, masks = {}, {}, {}, {}, {}
    for contrast in _contrasts(result, "intensity_change"):
        for role in ("intensity_change", "subtraction"):
            for n, name in _numbered(result, f"{role}_{contrast}"):
                yield
                image = maps[f"{role}_{contrast}_{n}"] = read_image_file(folder / name)
                yield
                spread = float(np.percentile(np.abs(_sample(image)), 99.5)) or 1.0
                limit = _SHOWN_NOISE if role == "intensity_change" else spread
                windows[f"{role}_{contrast}_{n}"] = (-limit, limit)
    for n, name in _numbered(result, "halfway"):
        yield
        images[n] = read_image_file(folder / name)
        yield
        scaled[n] = _scaled(images[n])
    for n, name in _numbered(result, "intensity_change"):
        yield
        maps[f"intensity_change_{n}"] = read_image_file(folder / name)
        windows[f"intensity_change_{n}"] = (-_SHOWN_NOISE, _SHOWN_NOISE)
    for n, name in _numbered(result, "subtraction"):
        yield
        image = maps[f"subtraction_{n}"] = read_image_file(folder / name)
        yield
        spread = float(np.percentile(np.abs(_sample(image)), 99.5)) or 1.0
        windows[f"subtraction_{n}"] = (-spread, spread)
    limits = {}
    for n, name in _numbered(result, "jacobian"):
        yield
        image = maps[f"jacobian_{n}"] = read_image_file(folder / name)
        yield
        limits[f"jacobian_{n}"] = _SHOWN_SPREADS * _spread_of(image)
    windows |= {part: (-max(limits.values()), max(limits.values())) for part in limits}  # alike at all timepoints
    for n in images:
        if n > 1 and 1 in images:
            yield
            maps[f"checkerboard_{n}"] = _checkerboard(scaled[1], scaled[n], images[1])
            windows[f"checkerboard_{n}"] = (0, BRIGHTEST)
    digests, data = {}, {}
    for role, image in maps.items():
        yield
        digests[role] = digest_of_voxels(image)
        yield
        data[role] = image_data_of(image)
    for n, name in _numbered(result, "segmentation"):
        yield
        masks[n] = _mask(folder / name)
    return LoadedJob(result, record, transforms, sessions, images, maps, windows, digests, data, masks)


def _mask(path: Path) -> tuple[sitk.Image, dict[str, int]]:
    image = read_image_file(path)
    if any(key.startswith("Segment0_") for key in image.GetMetaDataKeys()):
        return read_segmentation(path, warn=lambda text: None)
    return image, {}  # no lesion: a segmentation without segments


def _contrasts(result: Result, role: str) -> list[str]:
    """Contrasts that there are files ``role_CONTRAST_N`` of."""
    found = (key.rpartition("_")[0] for key in result.files if key.startswith(role + "_"))
    return sorted({name[len(role) + 1 :] for name in found} - {""})


def _numbered(result: Result, role: str) -> list[tuple[int, str]]:
    """(N, file) of the roles ``role_N``, in order."""
    found = [(key.rpartition("_"), name) for key, name in result.files.items()]
    return sorted((int(parts[2]), name) for parts, name in found if parts[0] == role and parts[2].isdigit())


def _scaled(image: sitk.Image) -> np.ndarray:
    """The gray values of what is not background brought to 0..BRIGHTEST, so that two scans look alike."""
    array, sample = sitk.GetArrayViewFromImage(image), _sample(image)
    inside = sample[sample > 0] if (sample > 0).any() else sample
    low, high = np.percentile(inside, (1, 99.5))
    factor = BRIGHTEST / max(float(high - low), 1e-6)
    return np.clip((array - np.float32(low)) * np.float32(factor), 0, BRIGHTEST)


def _spread_of(image: sitk.Image) -> float:
    """Standard deviation of a map of local expansion, robustly (most of it is no change), without the 0 outside."""
    inside = _sample(image)
    inside = inside[np.isfinite(inside) & (inside != 0)]
    spread = 1.4826 * float(np.median(np.abs(inside - np.median(inside)))) if inside.size else 0.0
    return spread or 1.0


def _sample(image: sitk.Image) -> np.ndarray:
    """An eighth of the voxels: of millions it tells the range of gray values as well as all."""
    return sitk.GetArrayViewFromImage(image)[::2, ::2, ::2]


def _checkerboard(first: np.ndarray, second: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """Cubes of one image and the other in turn."""
    k, j, i = (np.arange(n) * s // _TILE_MM % 2 == 0
               for n, s in zip(first.shape, grid.GetSpacing()[::-1], strict=True))
    tiles = k[:, None, None] ^ j[None, :, None] ^ i[None, None, :]
    image = sitk.GetImageFromArray(np.where(tiles, first, second))
    image.CopyInformation(grid)
    return image
