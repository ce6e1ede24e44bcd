"""The timepoints of a comparison: scan, mask, days since the first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput, WrongContent
from MRISegSuiteLib.images.canonical import same_grid
from MRISegSuiteLib.images.channels import channel_of
from MRISegSuiteLib.images.reading import is_image_file, read_volume, require_numbers
from MRISegSuiteLib.images.segmentation_files import read_masks

STRUCTURE = "lesion"
_DATE_TAGS = ("AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")


#: Names of contrasts become names of files.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+-]{0,31}")


@dataclass(frozen=True)
class Channel:
    """A further contrast of a timepoint.

    Attributes:
        name: such as "T1c". path: as the user named it.
        image: native voxels; where it had to be registered within the session, laid where it belongs.
        matrix: (4, 4) rigid, LPS, mm: points of the timepoint's reference scan to points of this one as its file has
            it; None where both lie on each other as they are.
        beside_mm: how far it lies beside the reference as its file has it; NaN where that was not looked at.
    """

    name: str
    path: str
    image: sitk.Image = field(repr=False)
    matrix: np.ndarray | None = None
    beside_mm: float = float("nan")


@dataclass(frozen=True)
class Timepoint:
    """One scan, or several contrasts of one session.

    Attributes:
        path: of the reference scan, as the user named it, for messages.
        image: the reference, native: what is registered to other timepoints.
        mask: uint8 0 or 1, on the grid of the reference or of another contrast; None where there is none.
        days: since the baseline; None where dates are not known.
        label: how it is called in tables and pictures.
        name: of the reference contrast; empty where nobody said.
        channels: the other contrasts.
        mask_of: name of the contrast on whose grid the mask lies; None: the reference.
        jackknife: the mask as a panel of experts fused it (bit 0) and without each voice (bits 1 …), on its grid; None
            where no panel segmented. voices: their names.
    """

    path: str
    image: sitk.Image
    mask: sitk.Image | None
    days: int | None
    label: str
    name: str = ""
    channels: tuple[Channel, ...] = ()
    mask_of: str | None = None
    jackknife: sitk.Image | None = field(default=None, repr=False)
    voices: tuple[str, ...] = ()

    def channel(self, name: str | None) -> Channel | None:
        """The further contrast of that name; None for the reference and for one that is not there."""
        return next((one for one in self.channels if one.name == name), None)


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


def read_mask(
    path: str, scans: dict[str, sitk.Image], labels: dict | None, structure: str | None, warn
) -> tuple[sitk.Image, str]:
    """The lesions of a timepoint as one mask: all labels or segments together, or the one named ``structure``.

    Args:
        scans: contrast -> image, the reference first: the mask lies on the grid of one of them.

    Returns:
        The mask, and the contrast that it lies on.

    Raises:
        SuiteError: unreadable, on another grid than its scan, or there is no such structure.
    """
    grid, masks = read_masks(path, labels or (lambda values: {STRUCTURE: values or [1]}), None, warn)
    fitting = [name for name, image in scans.items() if same_grid(grid, image)]
    if not fitting:
        which = "its scan" if len(scans) == 1 else f"any of its scans ({', '.join(scans)})"
        raise BadInput(
            f"The mask {path} lies on another grid than {which}.",
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
    return image_on(together, scans[fitting[0]]), fitting[0]


def image_on(mask: np.ndarray, like: sitk.Image) -> sitk.Image:
    """A mask [k, j, i] as an image of uint8, 0 or 1, on the grid of ``like``."""
    image = sitk.GetImageFromArray(np.asarray(mask, bool).astype(np.uint8))
    image.CopyInformation(like)
    return image


def contrasts_of(
    references: Sequence[str], others: Sequence[Sequence[str]], given: Sequence[Sequence[str]] | None
) -> list[list[str]]:
    """Names of the contrasts of each timepoint, the reference first: those given, else what the file names say.

    Raises:
        BadArguments: not a name for each scan, a name twice in a timepoint, or one that no file can have.
    """
    found = []
    for number, (reference, more) in enumerate(zip(references, others, strict=True), start=1):
        paths = [reference, *more]
        if given is None:
            names = [channel_of(Path(path).name.split(".")[0]) or "" for path in paths]
        elif number <= len(given) and len(given[number - 1]) == len(paths):
            names = [str(name) for name in given[number - 1]]
        else:
            raise BadArguments(
                f"The contrasts of timepoint {number} are not named one by one.", "Name each scan of each timepoint."
            )
        names = [channel_of(name) or name for name in names]
        if not more:
            found.append(names if not names[0] or _NAME.fullmatch(names[0]) else [""])
            continue
        for name in names:
            if not _NAME.fullmatch(name):
                raise BadArguments(
                    f"A contrast of timepoint {number} is called {name!r}.",
                    "Give each scan of a timepoint a short name: FLAIR=a.nii.gz T1c=b.nii.gz.",
                )
        if len(set(names)) < len(names):
            raise BadArguments(f"Timepoint {number} has two scans of one contrast ({', '.join(names)}).",
                               "Name each contrast once.")  # fmt: skip
        found.append(names)
    return found


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
