"""Images and masks as files that are named after their content: written once, never changed, checked when read.

A mask file holds all structures of a case: structure number n is bit n of each voxel, so structures may overlap
(the core of a tumor is part of the whole).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput, UnreadableImage, error_from_write
from MRISegSuiteLib.files import replace

_MOST_STRUCTURES = 16
_STALE_S = 86_400.0


def image_hash(image: sitk.Image) -> str:
    """SHA-256 of the voxels of an image, their type and their number along i, j, k. The same voxels on another grid
    are the same image: a file and the node that was read from it may differ in the last bits of the geometry."""
    return _hash(image, {"size": image.GetSize(), "type": image.GetPixelIDTypeAsString()})


def mask_hash(mask: sitk.Image) -> str:
    """SHA-256 of the voxels of a packed mask and their place in the world to 0.1 um."""
    return _hash(mask, {
        "size": mask.GetSize(),
        "type": mask.GetPixelIDTypeAsString(),
        "spacing": _rounded(mask.GetSpacing()),
        "origin": _rounded(mask.GetOrigin()),
        "direction": _rounded(mask.GetDirection()),
    })


def geometry_of(image: sitk.Image) -> dict:
    """Size, spacing (mm), origin (mm) and direction (LPS) of an image."""
    return {"size": list(image.GetSize()), "spacing_mm": list(image.GetSpacing()),
            "origin_mm": list(image.GetOrigin()), "direction": list(image.GetDirection())}


def pack(masks: Mapping[str, sitk.Image], structures: Sequence[str], like: sitk.Image) -> sitk.Image:
    """One image with a bit for each structure, on the grid of ``like``; what is missing in ``masks`` is empty.

    Raises:
        BadArguments: too many structures, a mask of none of them, or one on another grid.
    """
    if len(structures) > _MOST_STRUCTURES:
        raise BadArguments(f"{len(structures)} structures; {_MOST_STRUCTURES} fit into a mask.")
    unknown = set(masks) - set(structures)
    if unknown:
        raise BadArguments(f"There are masks of unknown structures: {', '.join(sorted(unknown))}.")
    packed = np.zeros(like.GetSize()[::-1], np.uint8 if len(structures) <= 8 else np.uint16)
    for bit, name in enumerate(structures):
        if name in masks:
            _require_same_grid(masks[name], like, name)
            packed |= (sitk.GetArrayViewFromImage(masks[name]) != 0).astype(packed.dtype) << bit
    image = sitk.GetImageFromArray(packed)
    image.CopyInformation(like)
    return image


def unpack(packed: sitk.Image, structures: Sequence[str]) -> dict[str, sitk.Image]:
    """The masks (uint8, 0 or 1) that :func:`pack` put together."""
    bits = sitk.GetArrayViewFromImage(packed)
    masks = {}
    for bit, name in enumerate(structures):
        masks[name] = sitk.GetImageFromArray(((bits >> bit) & 1).astype(np.uint8))
        masks[name].CopyInformation(packed)
    return masks


class ContentFolder:
    """A folder of images named after their hash.

    Args:
        folder: where they are.
        name_of: the hash of an image that is its name (:func:`image_hash` or :func:`mask_hash`).
    """

    def __init__(self, folder, name_of):
        self._folder, self._name_of = Path(folder), name_of
        self._aside = self._folder / "aside"

    def path(self, name: str) -> Path:
        """Where the image of that name lies, or would lie."""
        return self._folder / name[:2] / f"{name}.nrrd"

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return self.path(name).is_file()

    def put(self, image: sitk.Image) -> str:
        """Keep an image and return its name. It is on the disk, whole, when this returns; a crash before leaves
        nothing but a file in the folder ``aside`` (see :meth:`sweep`).

        Raises:
            DiskFull, UnwritableOutput
        """
        name = self._name_of(image)
        path = self.path(name)
        if path.is_file():
            return name
        bare = sitk.Image(image)
        for key in bare.GetMetaDataKeys():  # nothing of a DICOM or NRRD header gets in here
            bare.EraseMetaData(key)
        aside = self._aside / f"{uuid.uuid4().hex}.nrrd"
        try:
            self._aside.mkdir(parents=True, exist_ok=True)
            if not path.parent.is_dir():
                path.parent.mkdir(exist_ok=True)
                _to_disk(self._folder)
            sitk.WriteImage(bare, str(aside), useCompression=True)
            _to_disk(aside)
            replace(aside, path)
            _to_disk(path.parent)
        except OSError as exception:
            raise error_from_write(exception, path) from exception
        except RuntimeError as exception:  # ITK
            raise error_from_write(OSError(0, "the image could not be written"), path) from exception
        finally:
            aside.unlink(missing_ok=True)
        return name

    def sweep(self) -> None:
        """Remove what savers that crashed more than a day ago have left aside."""
        for path in self._aside.glob("*.nrrd"):
            try:
                if path.stat().st_mtime < time.time() - _STALE_S:
                    path.unlink()
            except OSError:
                pass  # another process was faster

    def get(self, name: str) -> sitk.Image:
        """The image of that name.

        Raises:
            BadInput: it is not there, or its content is not what it was.
        """
        path = self.path(name)
        try:
            image = sitk.ReadImage(str(path))
        except RuntimeError as exception:
            if not path.is_file():
                raise BadInput(f"{path} is missing.", "Restore it from a backup.") from exception
            raise UnreadableImage(f"{path} is damaged.", "Restore it from a backup.") from exception
        if self._name_of(image) != name:
            raise UnreadableImage(f"{path} is not what was saved.", "Restore it from a backup.")
        return image


def _hash(image: sitk.Image, about: dict) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    voxels = sitk.GetArrayViewFromImage(image)
    digest.update(np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<")))
    return digest.hexdigest()


def _rounded(numbers) -> list[float]:
    return [round(number, 4) + 0.0 for number in numbers]  # + 0.0: no negative zero


def _require_same_grid(mask: sitk.Image, like: sitk.Image, name: str) -> None:
    same = mask.GetSize() == like.GetSize() and all(
        np.allclose(getattr(mask, get)(), getattr(like, get)(), rtol=0, atol=1e-3)
        for get in ("GetSpacing", "GetOrigin", "GetDirection"))
    if not same:
        raise BadArguments(f"The mask of {name} is not on the grid of the image.", "Resample it to the image first.")


def _to_disk(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk, so that not even a power cut can take them."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no such thing for folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
