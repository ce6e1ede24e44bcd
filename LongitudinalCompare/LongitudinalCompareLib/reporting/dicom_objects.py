"""DICOM SEG and TID 1500 SR of a timepoint whose scan came as a DICOM series.

Both refer to the series they were measured on, so that a PACS files them with it. The SR says that nobody has verified
it: signing is a person's act, in the PACS or on the PDF.
"""

from __future__ import annotations

import json
import os
import warnings as python_warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from MRISegSuiteLib import __version__
from MRISegSuiteLib.errors import BadInput, error_from_write
from MRISegSuiteLib.files import replace
from MRISegSuiteLib.images.canonical import same_grid

Code = tuple[str, str, str]

MAKER, PRODUCT = "MRI Seg Suite", "LongitudinalCompare"

ABNORMALITY: Code = ("SCT", "49755003", "Morphologically Abnormal Structure")
LESION: Code = ("SCT", "52988006", "Lesion")

#: Name of a measurement -> (its code, its unit in UCUM). What DICOM has no code for carries one of our own.
CODES: dict[str, tuple[Code, Code]] = {
    "volume": (("SCT", "118565006", "Volume"), ("UCUM", "mm3", "cubic millimeter")),
    "longest_diameter": (("SCT", "103339001", "Long axis"), ("UCUM", "mm", "millimeter")),
    "perpendicular_diameter": (("SCT", "103340004", "Short axis"), ("UCUM", "mm", "millimeter")),
    "maximum_3d_diameter": (("IBSI", "L0JK", "Maximum 3D diameter"), ("UCUM", "mm", "millimeter")),
    "volume_change_percent": (("99MRISEG", "VCP", "Change of volume from baseline"), ("UCUM", "%", "percent")),
    "log_volume_ratio": (("99MRISEG", "LNVR", "Natural logarithm of volume ratio"), ("UCUM", "1", "no units")),
    "log_volume_ratio_low": (("99MRISEG", "LNVRL", "Lower limit of log volume ratio"), ("UCUM", "1", "no units")),
    "log_volume_ratio_high": (("99MRISEG", "LNVRH", "Upper limit of log volume ratio"), ("UCUM", "1", "no units")),
}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """A segment of the SEG and its measurements.

    Attributes:
        value: in the label map. name: what a person reads.
        tracking_uid: the same for the same lesion at every timepoint; "" makes one.
        measurements: name (a key of :data:`CODES`) -> number, in the unit given there.
        code, category: what it is, (scheme, value, meaning).
        rgb: color, 0..1.
    """

    value: int
    name: str
    tracking_uid: str = ""
    measurements: tuple[tuple[str, float], ...] = ()
    code: Code = LESION
    category: Code = ABNORMALITY
    rgb: tuple[float, float, float] = (1.0, 0.62, 0.15)


def source_series(source, like: sitk.Image) -> list[pydicom.Dataset]:
    """The DICOM images (with pixels) of the series that has the grid of ``like``, in the order of its slices.

    Args:
        source: a folder with the series, or a JSON file with a list of its files.

    Raises:
        BadInput: no series lies on that grid.
    """
    source = Path(source)
    series = defaultdict(list)
    for file in _files_of(source):
        try:
            with python_warnings.catch_warnings():
                python_warnings.simplefilter("ignore")
                header = pydicom.dcmread(file, stop_before_pixels=True)
        except Exception:  # noqa: BLE001  whatever is not DICOM, or damaged, is not part of the series
            continue
        if "ImagePositionPatient" in header and "ImageOrientationPatient" in header:
            series[header.get("SeriesInstanceUID"), header.get("EchoTime")].append((file, header))
    for files in series.values():
        ordered = _in_slice_order(files)
        if _lies_on(ordered, like):
            return [pydicom.dcmread(file) for file, _ in ordered]
    if not source.is_dir():
        raise BadInput(
            "The scan does not lie on the grid of the DICOM series that it came from: it was cropped, resampled or "
            "moved since, or its files are gone.",
            "Compare the series as it was loaded.",
        )
    raise BadInput(
        f"{source} holds no DICOM series on the grid of the segmentation.",
        "DICOM SEG and SR are written for a segmentation in the scan's own grid; give the folder of that scan.",
    )


def _files_of(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(path for path in source.rglob("*") if path.is_file())
    try:
        return [Path(name) for name in json.loads(source.read_text(encoding="utf-8"))]
    except (OSError, TypeError, ValueError) as exception:
        raise BadInput(f"{source} is no list of DICOM files ({exception}).", "Give a folder instead.") from exception


def write_segmentation(
    path, source: Sequence[pydicom.Dataset], labels: sitk.Image, segments: Sequence[Segment], algorithm: str | None
) -> pydicom.Dataset:
    """Write a DICOM SEG and return it.

    Args:
        path: the file. source: see :func:`source_series`.
        labels: label map on the grid of the series.
        segments: those without a voxel are left out.
        algorithm: name of what segmented; None for a person's own outlines.

    Raises:
        BadInput: another grid, or no voxel of any segment.
        DiskFull, UnwritableOutput
    """
    import highdicom as hd

    _require_same_slices(source, labels)
    array = sitk.GetArrayFromImage(labels)
    present = [segment for segment in segments if np.any(array == segment.value)]
    if not present:
        raise BadInput("The segmentation is empty: there is nothing to write as DICOM SEG.", "Check the mask.")
    numbered = np.zeros(array.shape, np.uint8 if len(present) < 256 else np.uint16)
    for number, segment in enumerate(present, start=1):
        numbered[array == segment.value] = number
    family = hd.sr.CodedConcept("123109", "DCM", "Manual Processing")
    identification = None
    if algorithm:
        family = hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
        identification = hd.AlgorithmIdentificationSequence(algorithm, family, __version__)
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=segment.name[:64],
            segmented_property_category=_concept(segment.category),
            segmented_property_type=_concept(segment.code),
            algorithm_type="AUTOMATIC" if algorithm else "MANUAL",
            algorithm_identification=identification,
            tracking_uid=segment.tracking_uid or hd.UID(),
            tracking_id=segment.name[:64],
            display_color=_cielab(segment.rgb),
        )
        for number, segment in enumerate(present, start=1)
    ]
    made = hd.seg.Segmentation(
        source_images=list(source),
        pixel_array=numbered,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=_free_number(source, 900),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=PRODUCT,
        software_versions=__version__,
        device_serial_number="0",
        content_label="LESIONS",
        series_description="MRI Seg Suite: lesions",
    )
    _save(made, path)
    return made


def write_measurements(
    path, source: Sequence[pydicom.Dataset], segmentation: pydicom.Dataset, segments: Sequence[Segment], procedure=None
) -> pydicom.Dataset:
    """Write a TID 1500 measurement report that refers to the segments of a SEG, and return it.

    Args:
        segments: those that were given to :func:`write_segmentation`; a measurement that is not a number is left out.
        procedure: code of the procedure reported; MR imaging where None.

    Raises:
        DiskFull, UnwritableOutput
    """
    import highdicom as hd

    by_name = {str(one.SegmentLabel): one for one in segmentation.SegmentSequence}
    groups = []
    for segment in segments:
        description = by_name.get(segment.name[:64])
        if description is None:
            continue
        found = [
            hd.sr.Measurement(name=_concept(CODES[name][0]), value=float(value), unit=_concept(CODES[name][1]))
            for name, value in segment.measurements
            if np.isfinite(value)
        ]
        groups.append(
            hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(description.TrackingUID, segment.name),
                referenced_segment=_reference(segmentation, description.SegmentNumber),
                finding_type=_concept(segment.code),
                finding_category=_concept(segment.category),
                measurements=found or None,
            )
        )
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(), name=PRODUCT, manufacturer_name=MAKER, model_name=f"{PRODUCT} {__version__}"
    )
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(hd.sr.CodedConcept("121007", "DCM", "Device"), device)
    )
    report = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=_concept(procedure or ("SCT", "113091000", "Magnetic Resonance Imaging")),
        imaging_measurements=groups or None,
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    made = hd.sr.Comprehensive3DSR(
        evidence=[*source, segmentation],
        content=report[0],
        series_instance_uid=hd.UID(),
        series_number=_free_number(source, 901),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=False,
        is_final=False,
        is_verified=False,
        series_description="MRI Seg Suite: measurements",
    )
    _save(made, path)
    return made


def _in_slice_order(files) -> list:
    row, column = np.array(files[0][1].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    return sorted(files, key=lambda entry: float(np.dot(normal, np.array(entry[1].ImagePositionPatient, float))))


def _grid_of(headers: Sequence[pydicom.Dataset]) -> sitk.Image | None:
    """An image (without memory for its voxels' content) on the grid of ordered slices; None for less than two."""
    first, last = headers[0], headers[-1]
    if len(headers) < 2:
        return None
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    length = float(normal @ (np.array(last.ImagePositionPatient, float) - np.array(first.ImagePositionPatient, float)))
    if length <= 0:
        return None
    grid = sitk.Image([int(first.Columns), int(first.Rows), len(headers)], sitk.sitkUInt8)
    grid.SetSpacing([float(first.PixelSpacing[1]), float(first.PixelSpacing[0]), length / (len(headers) - 1)])
    grid.SetOrigin([float(x) for x in first.ImagePositionPatient])
    grid.SetDirection(np.column_stack([row, column, normal]).ravel().tolist())
    return grid


def _lies_on(files, like: sitk.Image) -> bool:
    headers = [header for _, header in files]
    if like.GetSize() != (int(headers[0].Columns), int(headers[0].Rows), len(headers)):
        return False
    grid = _grid_of(headers)
    return grid is not None and same_grid(grid, like, tolerance=0.05)


def _require_same_slices(source: Sequence[pydicom.Dataset], labels: sitk.Image) -> None:
    grid = _grid_of(source)
    if grid is None or not same_grid(grid, labels, tolerance=0.05):
        raise BadInput(
            "The segmentation does not lie on the grid of the DICOM series.",
            "Segment the scan in its own grid, or resample the segmentation to it.",
        )


def _reference(segmentation: pydicom.Dataset, number: int):
    import highdicom as hd

    if "SegmentIdentificationSequence" in segmentation.PerFrameFunctionalGroupsSequence[0]:
        return hd.sr.ReferencedSegment.from_segmentation(segmentation, segment_number=number)
    # A single segment is named once for all frames, where from_segmentation does not look.
    return hd.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_images=[
            hd.sr.SourceImageForSegmentation(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
            for one in segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        ],
    )


def _concept(code: Code):
    import highdicom as hd

    return hd.sr.CodedConcept(code[1], code[0], code[2])


def _cielab(rgb):
    import highdicom as hd

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    x, y, z = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])  # white point D65
    x, y, z = (v ** (1 / 3) if v > (6 / 29) ** 3 else v * (29 / 6) ** 2 / 3 + 4 / 29 for v in (x, y, z))
    return hd.color.CIELabColor(116 * y - 16, 500 * (x - y), 200 * (y - z))


def _free_number(source: Sequence[pydicom.Dataset], base: int) -> int:
    return base + int(source[0].get("SeriesNumber") or 0) % 90 * 10


def _save(dataset: pydicom.Dataset, path) -> None:
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        dataset.save_as(aside, enforce_file_format=True)
        replace(aside, path)
    except OSError as exception:
        raise error_from_write(exception, path) from exception
    finally:
        aside.unlink(missing_ok=True)
