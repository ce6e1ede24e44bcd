"""The timepoints of a comparison: scan, mask, days since the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput, WrongContent
from MRISegSuiteLib.images.canonical import same_grid
from MRISegSuiteLib.images.reading import is_image_file, read_volume, require_numbers
from MRISegSuiteLib.images.segmentation_files import read_masks

STRUCTURE = "lesion"
_DATE_TAGS = ("AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")


@dataclass(frozen=True)
class Timepoint:
    """One scan.

    Attributes:
        path: as the user named it, for messages.
        image: native. mask: uint8 0 or 1 on the same grid; None where there is none.
        days: since the baseline; None where dates are not known.
        label: how it is called in tables and pictures.
    """

    path: str
    image: sitk.Image
    mask: sitk.Image | None
    days: int | None
    label: str


def label_of(number: int, count: int) -> str:
    """``baseline``, ``follow-up``, or ``follow-up 2`` where there are several."""
    if number == 0:
        return "baseline"
    return "follow-up" if count == 2 else f"follow-up {number}"


def read_scan(path: str, warn) -> sitk.Image:
    """A scan to be compared.

    Raises:
        SuiteError: unreadable, not 3D, constant, not numbers.
    """
    volume = read_volume(path)
    for text in volume.warnings:
        warn(text)
    array = sitk.GetArrayViewFromImage(volume.image)
    require_numbers(array, path)
    if array.min() == array.max():
        raise WrongContent(f"{path} is constant: every voxel is {float(array.flat[0]):g}.", "Give the scan itself.")
    if min(volume.image.GetSize()) < 5:
        raise WrongContent(f"{path} has {min(volume.image.GetSize())} slices only.", "Give the whole series.")
    return volume.image


def read_mask(path: str, image: sitk.Image, labels: dict | None, structure: str | None, warn) -> sitk.Image:
    """The lesions of a scan as one mask on its grid: all labels or segments together, or the one named ``structure``.

    Raises:
        SuiteError: unreadable, on another grid than its scan, or there is no such structure.
    """
    grid, masks = read_masks(path, labels or (lambda values: {STRUCTURE: values or [1]}), None, warn)
    if not same_grid(grid, image):
        raise BadInput(
            f"The mask {path} lies on another grid than its scan.",
            "Volumes are measured in the scan's own grid: give the mask that was drawn on this scan, in the same "
            "order as the scans.",
        )
    if structure:
        if structure not in masks:
            raise BadArguments(f"{path} holds no {structure!r}; it holds {', '.join(masks)}.", "Name one of them.")
        masks = {structure: masks[structure]}
    together = np.zeros(grid.GetSize()[::-1], bool)
    for mask in masks.values():
        together |= mask
    result = sitk.GetImageFromArray(together.astype(np.uint8))
    result.CopyInformation(image)
    return result


def days_of(paths: Sequence[str], given: Sequence[str] | None) -> list[int | None]:
    """Days of each scan since the first: from dates that were given, else from DICOM, else None for all.

    Raises:
        BadArguments: not a date for each scan, not of the form YYYY-MM-DD, or not in the order of time.
    """
    if given:
        if len(given) != len(paths):
            raise BadArguments(f"{len(given)} dates were given for {len(paths)} scans.", "Give one for each scan.")
        dates = [_parsed(text) for text in given]
    else:
        found = [date_of_dicom(path) for path in paths]
        if None in found:
            return [None] * len(paths)
        dates = found
    days = [(one - dates[0]).days for one in dates]
    if any(later <= earlier for earlier, later in zip(days, days[1:])):
        where = "The dates" if given else "The dates in the DICOM files"
        raise BadArguments(f"{where} are not in the order of the scans.", "Name the earliest scan first.")
    return days


def _parsed(text: str) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError as exception:
        raise BadArguments(f"{text!r} is not a date of the form YYYY-MM-DD.") from exception


def date_of_dicom(path: str) -> date | None:
    """When the images of a DICOM folder (or file) were taken, as far as they say; None for other files."""
    source = Path(path)
    if source.is_file() and is_image_file(source):
        return None
    import pydicom

    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_DATE_TAGS))
        except Exception:  # noqa: BLE001, S112  not DICOM: there may be other files in the folder
            continue
        for tag in _DATE_TAGS:
            text = str(header.get(tag) or "")
            if len(text) == 8 and text.isdigit():
                try:
                    return date(int(text[:4]), int(text[4:6]), int(text[6:]))
                except ValueError:
                    continue
    return None
