"""Writing images whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import SimpleITK as sitk

from ..errors import DiskFull, UnreadableImage, UnwritableOutput, error_from_write
from ..files import replace
from .reading import require_sound_nifti


def write_image(image: sitk.Image, path, compress: bool = True) -> Path:
    """Write ``image`` to ``path`` (format by extension, e.g. ``.nii.gz``, ``.nrrd``, ``.mha``): aside, then renamed.

    Raises:
        DiskFull, UnwritableOutput
    """
    path = Path(path)
    aside = path.with_name(f".{os.getpid()}.tmp.{path.name}")  # the extension decides on the format, so it comes last
    try:
        sitk.WriteImage(image, str(aside), useCompression=compress)
        require_sound_nifti(aside)  # on a full disk ITK writes half a NIfTI file and is content
        replace(aside, path)
    except UnreadableImage as exception:
        raise error_from_write(OSError(errno.ENOSPC, "the file was cut off"), path) from exception
    except OSError as exception:
        raise error_from_write(exception, path) from exception
    except RuntimeError as exception:  # ITK says what failed, not why
        raise _why_not_written(path, image, exception) from exception
    finally:
        aside.unlink(missing_ok=True)
    return path


def _why_not_written(path: Path, image: sitk.Image, exception: RuntimeError):
    folder = path.parent
    if not folder.is_dir():
        return error_from_write(OSError(errno.ENOENT, f"there is no folder {folder}"), path)
    if not os.access(folder, os.W_OK):
        return error_from_write(OSError(errno.EACCES, f"the folder {folder} is not writable"), path)
    size = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
    free = shutil.disk_usage(folder).free
    if free < size:
        return DiskFull(
            f"There is no space left for {path}.",
            "Free some space, or choose an output folder on another disk.",
        )
    return UnwritableOutput(f"{path} cannot be written: {_last_line(exception)}.", "Choose another file or folder.")


def _last_line(exception: Exception) -> str:
    lines = [line.strip() for line in str(exception).splitlines() if line.strip()]
    return (lines[-1] if lines else type(exception).__name__).rstrip(".")
