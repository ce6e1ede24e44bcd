"""The lesions of one timepoint as a label map on the scan's whole grid, and as segments for DICOM SEG and SR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    members = {one.number: [lesion.label for lesion in _parts(one, when)] for one in change.lesions}
    return numbered_labels(_timepoint(change, when), members, like)


def numbered_labels(lesions: TimepointLesions, members: Mapping[int, Sequence[int]], like: sitk.Image) -> sitk.Image:
    """Label map on the grid of ``like`` with the numbers of ``members``: number -> labels of the lesions that have it.

    Raises:
        BadInput: ``like`` has not the grid that the lesions were measured on.
    """
    numbers = np.zeros(len(lesions.lesions) + 1, np.uint16)
    for number, labels in members.items():
        numbers[list(labels)] = number
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
    return _write(folder, when, series, lesion_labels(change, when, mask), segments, algorithm) if segments else {}


def write_timepoint(
    folder,
    suffix: str,
    series,
    mask: sitk.Image,
    lesions: TimepointLesions,
    members: Mapping[int, Sequence[int]],
    uids: Mapping[int, str],
    changes: Mapping[int, LesionChange],
    algorithm: str | None = None,
) -> dict[str, str]:
    """Write DICOM SEG and SR of one of any number of timepoints.

    Args:
        suffix: ends the roles and the file names.
        series, mask, algorithm: see :func:`write_dicom`.
        members: number -> labels of the lesions of this timepoint that have it.
        uids: number -> tracking UID, the same for the same lesion at every timepoint.
        changes: number -> its change up to this timepoint, for those where it is known.

    Returns, raises: as :func:`write_dicom`.
    """
    segments = []
    for number, labels in members.items():
        if labels:
            parts = [lesions.by_label(label) for label in labels]
            found = _natively(parts) + (_changed(changes[number]) if number in changes else [])
            segments.append(Segment(number, f"Lesion {number}", uids[number], tuple(found)))
    if not segments:
        return {}
    return _write(folder, suffix, series, numbered_labels(lesions, members, mask), segments, algorithm)


def _write(folder, suffix, series, labels: sitk.Image, segments, algorithm) -> dict[str, str]:
    source = source_series(series, labels)
    files = {f"dicom_seg_{suffix}": f"lesions_{suffix}_seg.dcm", f"dicom_sr_{suffix}": f"lesions_{suffix}_sr.dcm"}
    paths = [Path(folder) / name for name in files.values()]
    try:
        made = write_segmentation(paths[0], source, labels, segments, algorithm)
        write_measurements(paths[1], source, made, segments)
    except BaseException:
        paths[0].unlink(missing_ok=True)  # never one without the other
        raise
    return files


def _measurements(one: LesionChange, when: str) -> tuple[tuple[str, float], ...]:
    return tuple(_natively(_parts(one, when)) + (_changed(one) if when == FOLLOWUP else []))


def _natively(lesions: Sequence[Lesion]) -> list[tuple[str, float]]:
    """Volume of all, diameters of the one with the longest."""
    diameters = max((one.diameters for one in lesions), key=lambda one: one.longest_mm)
    return [
        ("volume", sum(one.volume_mm3 for one in lesions)),
        ("longest_diameter", diameters.longest_mm),
        ("perpendicular_diameter", diameters.perpendicular_mm),
        ("maximum_3d_diameter", diameters.maximum_3d_mm),
    ]


def _changed(one: LesionChange) -> list[tuple[str, float]]:
    found = [("volume_change_percent", one.growth.percent), ("log_volume_ratio", one.growth.log_ratio)]
    if one.interval is not None:
        found += [("log_volume_ratio_low", one.interval.low), ("log_volume_ratio_high", one.interval.high)]
    return found


def _timepoint(change: Change, when: str) -> TimepointLesions:
    if when not in (BASELINE, FOLLOWUP):
        raise ValueError(f"when is {BASELINE!r} or {FOLLOWUP!r}, not {when!r}")
    return change.baseline if when == BASELINE else change.followup


def _parts(one: LesionChange, when: str) -> tuple[Lesion, ...]:
    return one.baseline if when == BASELINE else one.followup
