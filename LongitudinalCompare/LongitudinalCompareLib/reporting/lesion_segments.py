"""The lesions of one timepoint as a label map on the scan's whole grid, and as segments for DICOM SEG and SR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput

from ..change.compare import Change, LesionChange
from ..change.lesions import Lesion, TimepointLesions
from .dicom_objects import Segment, source_series, write_measurements, write_segmentation

BASELINE, FOLLOWUP = "baseline", "followup"


def tracking_uids(change: Change) -> dict[int, str]:
    """A DICOM UID for each lesion (by its number in ``change``), to be used at both timepoints."""
    from pydicom.uid import generate_uid

    return {one.number: str(generate_uid()) for one in change.lesions}


def lesion_labels(change: Change, when: str, like: sitk.Image) -> sitk.Image:
    """Label map on the grid of ``like``: every lesion has its number in ``change``, so that a number means the same
    lesion at both times. What is too small to be a lesion, and what was matched to none, is left out.

    Args:
        when: ``baseline`` or ``followup``. like: the mask (or scan) of that timepoint.

    Raises:
        BadInput: ``like`` has not the grid that the lesions were measured on.
    """
    lesions = _timepoint(change, when)
    numbers = np.zeros(len(lesions.lesions) + 1, np.uint16)
    for one in change.lesions:
        for lesion in _parts(one, when):
            numbers[lesion.label] = one.number
    whole = np.zeros(like.GetSize()[::-1], np.uint16)
    found = np.argwhere(lesions.labels)[:, ::-1]  # i, j, k
    values = numbers[lesions.labels[tuple(found.T[::-1])]]
    steps = np.array(like.GetDirection()).reshape(3, 3) * np.array(like.GetSpacing())
    indices = np.linalg.solve(steps, (lesions.grid.points(found) - np.array(like.GetOrigin())).T).T
    places = np.rint(indices).astype(int)
    size = np.array(like.GetSize())
    if len(places) and (np.abs(indices - places).max() > 0.01 or (places < 0).any() or (places >= size).any()):
        raise BadInput("The image has not the grid that the lesions were measured on.", "Give the scan of that mask.")
    whole[tuple(places.T[::-1])] = values
    image = sitk.GetImageFromArray(whole)
    image.CopyInformation(like)
    return image


def lesion_segments(change: Change, when: str, uids: dict[int, str]) -> list[Segment]:
    """A segment with its measurements for each lesion that is there at this time; its change is told at follow-up."""
    return [
        Segment(one.number, f"Lesion {one.number}", uids[one.number], _measurements(one, when))
        for one in change.lesions
        if _parts(one, when)
    ]


def write_dicom(
    folder, change: Change, when: str, series, mask: sitk.Image, uids: dict[int, str], algorithm: str | None = None
) -> dict[str, str]:
    """Write DICOM SEG and SR of one timepoint.

    Args:
        folder: an existing folder. series: folder of the DICOM series that was measured.
        mask: of this timepoint, on the grid of the series.
        uids: see :func:`tracking_uids`.
        algorithm: what segmented; None for a person's outlines.

    Returns:
        role -> file name; empty where this timepoint has no lesion.

    Raises:
        BadInput: the series has another grid.
        DiskFull, UnwritableOutput
    """
    segments = lesion_segments(change, when, uids)
    if not segments:
        return {}
    source = source_series(series, mask)
    files = {f"dicom_seg_{when}": f"lesions_{when}_seg.dcm", f"dicom_sr_{when}": f"lesions_{when}_sr.dcm"}
    paths = [Path(folder) / name for name in files.values()]
    made = write_segmentation(paths[0], source, lesion_labels(change, when, mask), segments, algorithm)
    write_measurements(paths[1], source, made, segments)
    return files


def _measurements(one: LesionChange, when: str) -> tuple[tuple[str, float], ...]:
    growth = one.growth
    diameters = one.baseline_diameters if when == BASELINE else one.followup_diameters
    found = [
        ("volume", growth.baseline_mm3 if when == BASELINE else growth.followup_mm3),
        ("longest_diameter", diameters.longest_mm),
        ("perpendicular_diameter", diameters.perpendicular_mm),
        ("maximum_3d_diameter", diameters.maximum_3d_mm),
    ]
    if when == FOLLOWUP:
        found += [("volume_change_percent", growth.percent), ("log_volume_ratio", growth.log_ratio)]
        if one.interval is not None:
            found += [("log_volume_ratio_low", one.interval.low), ("log_volume_ratio_high", one.interval.high)]
    return tuple(found)


def _timepoint(change: Change, when: str) -> TimepointLesions:
    if when not in (BASELINE, FOLLOWUP):
        raise ValueError(f"when is {BASELINE!r} or {FOLLOWUP!r}, not {when!r}")
    return change.baseline if when == BASELINE else change.followup


def _parts(one: LesionChange, when: str) -> tuple[Lesion, ...]:
    return one.baseline if when == BASELINE else one.followup
