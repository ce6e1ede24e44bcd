"""DICOM folders: which scans are in there, and one of them as volumes, echo by echo.

Slices are ordered by their position along the normal of the image plane, never by file name or instance number. Images
of one position are told apart by echo time and echo number. Pixels are decoded by SimpleITK (GDCM).
"""

from __future__ import annotations

import os
import warnings as python_warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.errors import InvalidDicomError
from pydicom.uid import MRImageStorage

from ..errors import BadArguments, UnreadableImage, WrongContent
from .reading import Volume, root_sum_of_squares

#: Fewer slices than this are a scout, not a scan to be segmented.
MINIMUM_SLICES = 8

#: Distances between neighboring slices may differ by this much before it is called irregular (mm).
_SPACING_TOLERANCE_MM = 0.05

_HEADER_TAGS = [
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "Manufacturer",
    "ScanningSequence",
    "SequenceName",
    "PulseSequenceName",
    "SequenceVariant",
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "EchoNumbers",
    "FlipAngle",
    "MagneticFieldStrength",
    "Laterality",
    "ImageLaterality",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "SeriesDescription",
    (0x0019, 0x0010),
    (0x0019, 0x109C),
    (0x0019, 0x10B6),
    (0x0019, 0x10B7),
]


@dataclass(frozen=True)
class _Slice:
    """One image of the folder: where it lies and how it was taken."""

    file: Path
    header: pydicom.Dataset
    position: tuple[float, float, float]
    row: tuple[float, ...]
    column: tuple[float, ...]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)

    @property
    def along(self) -> float:
        """Coordinate along the normal (mm)."""
        return float(np.dot(self.position, self.normal))

    @property
    def echo(self) -> tuple[float, int]:
        return (_number(self.header, "EchoTime") or 0.0, int(_number(self.header, "EchoNumbers") or 0))


@dataclass
class _Scan:
    """Slices of one acquisition: one list of slices per echo, each sorted along the normal."""

    echoes: list[list[_Slice]]

    @property
    def first(self) -> _Slice:
        return self.echoes[0][0]

    @property
    def header(self) -> pydicom.Dataset:
        return self.first.header

    @property
    def echo_times(self) -> list[float]:
        return [slices[0].echo[0] for slices in self.echoes]

    def sentence(self, root: Path) -> str:
        """What a person recognizes the scan by. No description: such texts may name a person."""
        echo_times = ", ".join(f"{te:g}" for te in self.echo_times)
        return (
            f"series {self.header.get('SeriesNumber', '?')}: {len(self.echoes[0])} slices of "
            f"{self.header.Columns} x {self.header.Rows}, {len(self.echoes)} echo(es), TE {echo_times} ms, "
            f"sequence {_sequence(self.header) or 'unknown'}, e.g. {os.path.relpath(self.first.file, root)}"
        )


def read_dicom(path) -> Volume:
    """Read the scan in a DICOM folder (or the scan that a given DICOM file belongs to); see ``reading.read_volume``.

    Of several scans the only one with at least :data:`MINIMUM_SLICES` slices is taken; a warning names the others.

    Raises:
        UnreadableImage, WrongContent, BadArguments
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    slices, notes = _read_headers(folder, required=None if path.is_dir() else path)
    scans = _scans_of(slices)
    scan, others = _chosen(scans, path)
    if others:
        notes.append(
            f"{folder} holds {len(scans)} scans; used was {scan.sentence(folder)}. Not used: "
            + "; ".join(other.sentence(folder) for other in others)
            + "."
        )
    return _volume_of(scan, folder, notes)


def _read_headers(folder: Path, required: Path | None) -> tuple[list[_Slice], list[str]]:
    slices, broken, other, multi_frame = [], [], [], []
    candidates = (
        sorted(p for p in folder.rglob("*") if p.is_file())
        if required is None
        else sorted(p for p in folder.iterdir() if p.is_file())
    )
    for file in candidates:
        if file.name.startswith(".") or file.name.upper() == "DICOMDIR":
            continue
        try:
            with python_warnings.catch_warnings():
                python_warnings.simplefilter("ignore")  # odd values in headers: what is needed is checked below
                header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
        except InvalidDicomError:
            (broken if _looks_like_dicom(file) or file == required else other).append(file)
            continue
        except Exception as exception:  # noqa: BLE001  pydicom raises whatever a damaged header runs it into
            broken.append(file)
            notable = f"{type(exception).__name__}: {exception}"
            if file == required:
                raise UnreadableImage(
                    f"{file} cannot be read as DICOM ({notable}).", "Export it again."
                ) from exception
            continue
        if int(_number(header, "NumberOfFrames") or 1) > 1:
            multi_frame.append(file)
        elif _is_image_slice(header):
            slices.append(_slice_of(file, header))
        elif "SeriesInstanceUID" not in header or header.get("SOPClassUID") == MRImageStorage:
            broken.append(file)  # every DICOM object has a series, every MR slice a position: the rest is cut off
        else:
            other.append(file)
    if required is not None:
        wanted = [s for s in slices if s.file == required]
        if not wanted:
            raise UnreadableImage(
                f"{required} is neither an image file nor a DICOM slice with a position.",
                "Give NIfTI, NRRD, MetaImage, a DICOM folder, or one slice of a DICOM series.",
            )
    if not slices and multi_frame:
        raise UnreadableImage(
            f"{folder} holds enhanced multi-frame DICOM ({multi_frame[0].name}), which is not read.",
            "Convert it to NIfTI (dcm2niix), or load it in Slicer and save the volume as NRRD.",
        )
    if not slices:
        found = f"{len(broken)} damaged DICOM file(s)" if broken else "no DICOM image with a position"
        raise UnreadableImage(
            f"{folder} holds {found} among {len(broken) + len(other)} file(s).",
            "Give the folder that holds the slices of the MR series.",
        )
    notes = []
    if broken:
        raise UnreadableImage(
            f"{folder}: {len(broken)} file(s) are damaged DICOM, e.g. {broken[0].name}.",
            "Export the series again, or take the damaged files out of the folder.",
        )
    if multi_frame:
        notes.append(f"{folder}: {len(multi_frame)} enhanced multi-frame DICOM file(s) were not read.")
    return slices, notes


def _looks_like_dicom(file: Path) -> bool:
    if file.suffix.lower() in (".dcm", ".ima"):
        return True
    with open(file, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _is_image_slice(header: pydicom.Dataset) -> bool:
    return all(
        header.get(name) is not None
        for name in ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    )


def _slice_of(file: Path, header: pydicom.Dataset) -> _Slice:
    orientation = [float(v) for v in header.ImageOrientationPatient]
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    length_row, length_column = np.linalg.norm(row), np.linalg.norm(column)
    if not (length_row > 0.5 and length_column > 0.5 and abs(row @ column) < 0.01):
        raise UnreadableImage(f"{file} records an impossible orientation ({orientation}).", "Export the series again.")
    return _Slice(
        file,
        header,
        tuple(float(v) for v in header.ImagePositionPatient),
        tuple(row / length_row),
        tuple(column / length_column),
    )


def _scans_of(slices: list[_Slice]) -> list[_Scan]:
    """Group slices into scans: one stack of a series each; echoes stored as series of their own are joined."""
    stacks = defaultdict(list)
    for s in slices:
        if "P" in _image_type(s) or "PHASE" in _image_type(s):
            continue  # phase images lie on the same positions as the magnitude
        h = s.header
        stacks[
            (
                str(h.get("StudyInstanceUID")),
                str(h.get("SeriesInstanceUID")),
                h.Rows,
                h.Columns,
                tuple(round(float(v), 4) for v in h.PixelSpacing),
                tuple(np.round(s.row + s.column, 3)),
            )
        ].append(s)
    scans = []
    for stack in stacks.values():
        by_echo = defaultdict(list)
        for s in stack:
            by_echo[s.echo].append(s)
        ordered = [sorted(by_echo[key], key=lambda s: s.along) for key in sorted(by_echo)]
        scans.append(_Scan(ordered))
    joined: list[_Scan] = []
    for scan in sorted(scans, key=lambda scan: scan.echo_times):
        for target in joined:
            if _are_echoes_of_one_scan(target, scan):
                target.echoes.extend(scan.echoes)
                break
        else:
            joined.append(scan)
    return sorted(joined, key=lambda scan: (_number(scan.header, "SeriesNumber") or 0, str(scan.first.file)))


def _are_echoes_of_one_scan(first: _Scan, second: _Scan) -> bool:
    """Two series with the same slices and timing, but other echo times, are echoes of one acquisition.

    The study's UID is not asked: anonymizers rewrite it series by series. The frame of reference and the slices tell.
    """
    if not _differ_in_echo_alone(first, second):
        return False
    positions = [np.array([s.position for s in scan.echoes[0]]) for scan in (first, second)]
    return positions[0].shape == positions[1].shape and np.abs(positions[0] - positions[1]).max() < 0.01


def _differ_in_echo_alone(first: _Scan, second: _Scan) -> bool:
    a, b = first.header, second.header
    same = (
        "FrameOfReferenceUID",
        "Rows",
        "Columns",
        "RepetitionTime",
        "FlipAngle",
        "ScanningSequence",
        "MRAcquisitionType",
    )
    return all(a.get(name) == b.get(name) for name in same) and not set(first.echo_times) & set(second.echo_times)


def _chosen(scans: list[_Scan], path: Path) -> tuple[_Scan, list[_Scan]]:
    folder = path if path.is_dir() else path.parent
    if not scans:
        raise WrongContent(f"{folder} holds phase images only.", "Give the magnitude images.")
    if path.is_file():
        for scan in scans:
            if any(s.file == path for slices in scan.echoes for s in slices):
                return scan, []
        raise WrongContent(f"{path} is a phase image.", "Give the magnitude images.")
    if len(scans) == 1:
        return scans[0], []
    large = [
        scan
        for scan in scans
        if len(scan.echoes[0]) >= MINIMUM_SLICES
        and scan.header.get("Modality", "MR") == "MR"
        and "DERIVED" not in _image_type(scan.first)
    ]
    if len(large) != 1:
        found = f"{folder} holds {len(scans)} scans: " + "; ".join(scan.sentence(folder) for scan in scans) + "."
        if len(large) == 2 and _differ_in_echo_alone(*large):
            raise WrongContent(
                f"{found} They are echoes of one scan, but have not the same slices: some are missing.",
                "Export the series again; or give the path of a file of one echo, to use that alone.",
            )
        raise BadArguments(
            found,
            "Choose one: give the path of any one of its files, or a folder that holds this series alone.",
        )
    return large[0], [scan for scan in scans if scan is not large[0]]


def _volume_of(scan: _Scan, folder: Path, notes: list[str]) -> Volume:
    notes = list(notes)
    positions = [s.along for s in scan.echoes[0]]
    for number, slices in enumerate(scan.echoes, start=1):
        _require_one_image_a_position(slices, number, folder)
        if len(slices) != len(positions) or np.abs(np.subtract([s.along for s in slices], positions)).max() > 0.01:
            raise WrongContent(
                f"{folder}: echo {number} has {len(slices)} slices where echo 1 has {len(positions)}, or "
                "they lie elsewhere.",
                "Export the series again: slices are missing.",
            )
    if len(positions) < 2:
        raise WrongContent(f"{folder} holds a 2D image (one slice), a 3D volume is needed.", "Give the whole series.")
    spacing, direction, origin = _geometry(scan.echoes[0], folder, notes)
    echoes = [_image_of(slices, spacing, direction, origin, folder) for slices in scan.echoes]
    header = scan.header
    kind = _kind(scan)
    image_is = "the image as read"
    image = echoes[0]
    if len(echoes) > 1:
        image = root_sum_of_squares(echoes)
        image_is = f"root of the sum of squares of {len(echoes)} echoes"
    if header.get("Modality", "MR") != "MR":
        notes.append(f"{folder} is {header.Modality}, not MR.")
    info = {
        "format": "DICOM",
        "modality": header.get("Modality"),
        "kind": kind,
        "sequence": _sequence(header),
        "manufacturer": str(header.get("Manufacturer", "")).strip() or None,
        "tr_ms": _number(header, "RepetitionTime"),
        "te_ms": [te for te in scan.echo_times if te > 0],
        "flip_deg": _number(header, "FlipAngle"),
        "spoiler_area": _ge_number(header, 0x10B6) if kind == "qdess" else None,
        "spoiler_us": _ge_number(header, 0x10B7) if kind == "qdess" else None,
        "field_strength_t": _number(header, "MagneticFieldStrength"),
        "laterality": _laterality(header),
        "image_is": image_is,
        "spacing_mm": list(image.GetSpacing()),
        "size": list(image.GetSize()),
    }
    return Volume(image, echoes, info, notes)


def _require_one_image_a_position(slices: list[_Slice], echo: int, folder: Path) -> None:
    counts = Counter(round(s.along, 2) for s in slices)
    if max(counts.values()) == 1:
        return
    raise WrongContent(
        f"{folder} holds {max(counts.values())} images at one position with the same echo time (echo {echo}): a 4D "
        "image (time frames, repetitions) or copies.",
        "Give a folder with one image a position and echo.",
    )


def _geometry(slices: list[_Slice], folder: Path, notes: list[str]):
    """Spacing (mm), direction (3 x 3, columns are the axes), origin (LPS, mm); refuses irregular stacks."""
    first = slices[0]
    positions = np.array([s.position for s in slices])
    steps = np.diff([s.along for s in slices])
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * step)
    if gaps.size:
        missing = int(sum(round(steps[gap] / step) - 1 for gap in gaps))
        raise WrongContent(
            f"{folder}: {missing} slice(s) are missing, the first after slice {gaps[0] + 1} of {len(slices)} "
            f"(a step of {steps[gaps[0]]:.2f} mm where others have {step:.2f} mm).",
            "Copy or export the whole series.",
        )
    mean = float((slices[-1].along - slices[0].along) / (len(slices) - 1))
    off = np.abs(positions - (positions[0] + np.outer(np.arange(len(slices)) * mean, first.normal)))
    irregular = float(np.abs(steps - mean).max())
    if irregular > 0.2 * mean:
        raise WrongContent(
            f"{folder}: the slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; a volume needs equal "
            "distances.",
            "Give a series of evenly spaced slices.",
        )
    if irregular > _SPACING_TOLERANCE_MM:
        notes.append(
            f"{folder}: slice distances vary from {steps.min():.2f} to {steps.max():.2f} mm; {mean:.3f} mm was used."
        )
    sideways = float(off.max())
    in_plane = [float(v) for v in first.header.PixelSpacing]
    if sideways > max(in_plane) + irregular * len(slices):
        raise WrongContent(
            f"{folder}: the slices are shifted against each other (a tilted gantry, up to {sideways:.1f} mm).",
            "Resample the series to a regular grid, e.g. in Slicer (Acquisition geometry regularization).",
        )
    thickness = _number(first.header, "SliceThickness")
    if thickness and mean > 1.05 * thickness:
        notes.append(
            f"{folder}: slices of {thickness:g} mm lie {mean:.3g} mm apart; what lies in the gaps was not imaged."
        )
    direction = np.column_stack([first.row, first.column, first.normal])
    return (in_plane[1], in_plane[0], mean), direction, first.position


def _image_of(slices: list[_Slice], spacing, direction: np.ndarray, origin, folder: Path) -> sitk.Image:
    planes = []
    for s in slices:
        if int(_number(s.header, "SamplesPerPixel") or 1) != 1:
            raise WrongContent(f"{s.file} is a color image.", "Give the gray-value MR series.")
        _require_whole_pixels(s.file)
        try:
            plane = sitk.GetArrayFromImage(sitk.ReadImage(str(s.file), imageIO="GDCMImageIO"))
        except RuntimeError as exception:
            raise UnreadableImage(
                f"{s.file} cannot be decoded: it is truncated, damaged or compressed in a way that GDCM "
                "does not know.",
                "Copy or export the series again.",
            ) from exception
        planes.append(plane.reshape(plane.shape[-2:]))
    shapes = {plane.shape for plane in planes}
    if len(shapes) != 1:
        raise WrongContent(f"{folder}: slices of different sizes ({shapes}).", "Give one series.")
    image = sitk.GetImageFromArray(np.stack(planes))
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(origin)
    return image


def _require_whole_pixels(file: Path) -> None:
    """GDCM fills what a truncated file lacks with zeros or garbage, so the length of the pixels is checked first."""
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(file, specific_tags=["Rows", "Columns", "BitsAllocated", "PixelData"])
        compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
        length = len(dataset.get("PixelData", b""))
        needed = 1 if compressed else dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    except Exception as exception:  # noqa: BLE001  pydicom raises whatever a damaged file runs it into
        raise UnreadableImage(f"{file} is truncated or damaged.", "Copy or export the series again.") from exception
    if length < needed:
        raise UnreadableImage(
            f"{file} is truncated: {length} bytes of pixels where {needed} belong.", "Copy or export the series again."
        )


def _kind(scan: _Scan) -> str:
    """qDESS: two echoes of a 3D gradient echo, the second one refocused by the next pulse, so TE1 + TE2 = 2 TR."""
    if len(scan.echoes) == 1:
        return "single"
    is_spin_echo = "SE" in _texts(scan.header, "ScanningSequence") and "GR" not in _texts(
        scan.header, "ScanningSequence"
    )
    if is_spin_echo:
        return "multi_echo_spin_echo"
    if len(scan.echoes) == 2:
        tr = _number(scan.header, "RepetitionTime")
        named = " ".join([_sequence(scan.header) or "", str(scan.header.get("SeriesDescription", ""))]).lower()
        if "dess" in named or (tr and abs(sum(scan.echo_times) - 2 * tr) < 0.05 * tr):
            return "qdess"
    return "multi_echo"


def _sequence(header: pydicom.Dataset) -> str | None:
    """Name of the pulse sequence (GE keeps it in a private tag), else the kind of sequence."""
    private = _ge_element(header, 0x109C)
    if private is not None and str(private.value).strip():
        return str(private.value).strip()
    for name in ("SequenceName", "PulseSequenceName"):
        if str(header.get(name, "")).strip():
            return str(header.get(name)).strip()
    return "/".join(_texts(header, "ScanningSequence")) or None


def _ge_element(header: pydicom.Dataset, element: int) -> pydicom.DataElement | None:
    """An element of GE's private acquisition group; None in files of others, whose numbers mean something else."""
    creator = header.get((0x0019, 0x0010))
    if creator is None or not str(creator.value).startswith("GEMS_ACQU"):
        return None
    return header.get((0x0019, element))


def _ge_number(header: pydicom.Dataset, element: int) -> float | None:
    found = _ge_element(header, element)
    try:
        return float(found.value) if found is not None else None
    except (TypeError, ValueError):
        return None


def _laterality(header: pydicom.Dataset) -> str | None:
    for name in ("ImageLaterality", "Laterality"):
        side = {"L": "left", "R": "right"}.get(str(header.get(name, "")).strip().upper())
        if side:
            return side
    return None


def _image_type(s: _Slice) -> list[str]:
    return [text.upper() for text in _texts(s.header, "ImageType")]


def _texts(header: pydicom.Dataset, name: str) -> list[str]:
    value = header.get(name)
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(v) for v in value]


def _number(header: pydicom.Dataset, name: str) -> float | None:
    value = header.get(name)
    if value is None or str(value).strip() == "":
        return None
    try:
        return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)
    except (TypeError, ValueError):
        return None
