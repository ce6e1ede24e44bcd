"""Reading what a person calls "the scan": an image file or a DICOM folder, as one 3D SimpleITK image in LPS."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import BadArguments, UnreadableImage, WrongContent
from .nifti_header import nifti_geometry_warnings

#: Extensions that are read as image files; everything else has to be DICOM.
IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")

#: NIfTI-1 data types with fractions: code -> numpy type.
_NIFTI_FLOATS = {16: "f4", 64: "f8"}

_SUPPORTED = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a DICOM folder"


@dataclass
class Volume:
    """A scan.

    Attributes:
        image: the 3D image to segment (LPS, mm). For several echoes the root of the sum of their squares (float32).
        echoes: the images of the single echoes on the same grid, in the order of their echo times; the image itself
            where there is only one.
        info: ``format`` ("NIfTI", "DICOM" …), ``modality``, ``kind`` ("single", "qdess", "multi_echo_spin_echo",
            "multi_echo"), ``sequence``, ``manufacturer``, ``tr_ms``, ``te_ms`` (one per echo), ``flip_deg``,
            ``spoiler_area`` (gauss/cm us) and ``spoiler_us`` of the gradient between the echoes of GE's qDESS,
            ``field_strength_t``, ``laterality`` ("left", "right") as far as recorded (None where not), ``spacing_mm``,
            ``size``, ``image_is`` (how ``image`` came about). No name, no number, no date of a person.
        warnings: what a person should know about the file, as sentences.
    """

    image: sitk.Image
    echoes: list[sitk.Image]
    info: dict
    warnings: list[str] = field(default_factory=list)


def read_volume(path, echo: int | None = None) -> Volume:
    """Read a scan.

    Args:
        path: an image file (NIfTI, NRRD, MetaImage), a DICOM folder (sub-folders included), or one DICOM file: the
            series that this file belongs to is read from its folder.
        echo: 1, 2 …: use this echo alone as ``image`` instead of the combination of all.

    Raises:
        UnreadableImage: missing, empty, damaged or of no known format.
        WrongContent: readable, but not one 3D scalar image (2D, 4D, RGB), or slices are missing.
        BadArguments: the DICOM folder holds several scans and none is the obvious one; ``echo`` is not there.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadableImage(f"{path} does not exist.", "Check the path.")
    if path.is_dir() or not is_image_file(path):
        from .dicom import read_dicom  # late: pydicom is needed for DICOM only

        volume = read_dicom(path)
    else:
        volume = _read_file(path)
    if echo is not None:
        if not 1 <= echo <= len(volume.echoes):
            raise BadArguments(
                f"{path} has {len(volume.echoes)} echo(es), there is no echo {echo}.",
                f"Choose 1 to {len(volume.echoes)}.",
            )
        volume.image = volume.echoes[echo - 1]
        volume.info["image_is"] = f"echo {echo}"
    return volume


def is_image_file(path) -> bool:
    """True when the file name's extension is one of :data:`IMAGE_SUFFIXES`."""
    return str(path).lower().endswith(IMAGE_SUFFIXES)


def read_image_file(path) -> sitk.Image:
    """Read one image file as it is (any dimension and pixel type), with typed errors.

    Raises:
        UnreadableImage: missing, empty, truncated, of no known format.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableImage(f"{path} does not exist or is not a file.", "Check the path.")
    if path.stat().st_size == 0:
        raise UnreadableImage(f"{path} is empty (0 bytes).", "Copy or export the file again.")
    if not is_image_file(path):
        raise UnreadableImage(f"{path} has no extension of an image file.", f"Give {_SUPPORTED}.")
    require_sound_nifti(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as exception:
        raise UnreadableImage(
            f"{path} cannot be read: {_reason(exception)}.",
            f"It may be truncated or damaged: copy or export it again. Readable are {_SUPPORTED}.",
        ) from exception


def as_single_3d(image: sitk.Image, path) -> sitk.Image:
    """``image`` as one 3D scalar image; a fourth dimension of length 1 is dropped.

    Raises:
        WrongContent: 2D, 4D, color or complex.
    """
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise WrongContent(
            f"{path} has {image.GetNumberOfComponentsPerPixel()} components a voxel (a color or vector "
            "image), not one gray value.",
            "Export the gray-value MR volume.",
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise WrongContent(f"{path} holds complex numbers.", "Export the magnitude image.")
    size = image.GetSize()
    if len(size) > 3 and all(length == 1 for length in size[3:]):
        image = image[(slice(None),) * 3 + (0,) * (len(size) - 3)]
        size = size[:3]
    if len(size) > 3:
        raise WrongContent(
            f"{path} is a {len(size)}D image ({' x '.join(map(str, size))}): several volumes in one file.",
            "Save the one volume (echo, time frame) to be segmented as a 3D file.",
        )
    if len(size) < 3 or min(size) == 1:
        raise WrongContent(
            f"{path} is a 2D image ({' x '.join(map(str, size))}), a 3D volume is needed.",
            "Give the whole series, not one slice.",
        )
    return image


def spacing_sentence(image: sitk.Image) -> str:
    """Size and spacing as a person reads them: ``512 x 512 x 80 voxels of 0.31 x 0.31 x 1.5 mm``."""
    return (
        " x ".join(map(str, image.GetSize()))
        + " voxels of "
        + " x ".join(f"{spacing:.3g}" for spacing in image.GetSpacing())
        + " mm"
    )


def _read_file(path: Path) -> Volume:
    image = read_image_file(path)
    if any(key.startswith("Segment0_") for key in image.GetMetaDataKeys()):
        raise WrongContent(
            f"{path} is a segmentation, not a scan.",
            "Give it as the segmentation (command line: --segmentation FILE).",
        )
    warnings = []
    is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    if is_nifti:
        warnings = nifti_geometry_warnings(_first_bytes(path, 348), image, path)
    image = as_single_3d(image, path)
    for key in image.GetMetaDataKeys():  # headers may name a person (NIfTI descrip, NRRD key-values)
        image.EraseMetaData(key)
    info = {
        "format": "NIfTI" if is_nifti else "MetaImage" if path.suffix.lower() in (".mha", ".mhd") else "NRRD",
        "modality": None,
        "kind": "single",
        "sequence": None,
        "manufacturer": None,
        "tr_ms": None,
        "te_ms": [],
        "flip_deg": None,
        "spoiler_area": None,
        "spoiler_us": None,
        "field_strength_t": None,
        "laterality": None,
        "image_is": "the image as read",
        "spacing_mm": list(image.GetSpacing()),
        "size": list(image.GetSize()),
    }
    return Volume(image, [image], info, warnings)


def root_sum_of_squares(echoes: list[sitk.Image]) -> sitk.Image:
    """sqrt(sum of squares) voxel by voxel, float32, on the grid of the first: bright where any echo is."""
    total = np.zeros(echoes[0].GetSize()[::-1], dtype=np.float32)
    for echo in echoes:
        values = sitk.GetArrayViewFromImage(echo).astype(np.float32)
        total += values * values
    image = sitk.GetImageFromArray(np.sqrt(total, out=total))
    image.CopyInformation(echoes[0])
    return image


def _first_bytes(path: Path, count: int) -> bytes:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        return stream.read(count)


def require_sound_nifti(path: Path) -> None:
    """Refuse what ITK passes over in silence: it fills up a truncated NIfTI file with zeros, and turns NaN into 0.

    Files of other formats pass.

    Raises:
        UnreadableImage: truncated or damaged.
        WrongContent: NaN or infinite voxels.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    try:
        opener = gzip.open if path.name.lower().endswith(".gz") else open
        with opener(path, "rb") as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as exception:
        raise UnreadableImage(
            f"{path} is truncated or damaged ({exception}).", "Copy or export the file again."
        ) from exception
    if len(content) < 348:
        raise UnreadableImage(
            f"{path} is truncated: {len(content)} bytes are less than a NIfTI header.",
            "Copy or export the file again.",
        )
    order = "<" if struct.unpack("<i", content[:4])[0] == 348 else ">"
    if struct.unpack(order + "i", content[:4])[0] != 348 or content[344:347] != b"n+1":
        return  # NIfTI-2 or no NIfTI at all: ITK says so
    dimensions = struct.unpack(order + "8h", content[40:56])
    kind, bits = struct.unpack(order + "2h", content[70:74])
    offset = int(struct.unpack(order + "f", content[108:112])[0])
    voxels = int(np.prod([max(1, d) for d in dimensions[1 : 1 + max(0, min(7, dimensions[0]))]], dtype=np.int64))
    needed = offset + voxels * bits // 8
    if len(content) < needed:
        raise UnreadableImage(
            f"{path} is truncated: it holds {len(content)} bytes of {needed}.", "Copy or export the file again."
        )
    if kind in _NIFTI_FLOATS:
        values = np.frombuffer(content, np.dtype(_NIFTI_FLOATS[kind]).newbyteorder(order), voxels, offset)
        require_numbers(values, path)


def require_numbers(array: np.ndarray, path) -> None:
    """Raise WrongContent when ``array`` holds NaN or infinite values."""
    if array.dtype.kind != "f":
        return
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise WrongContent(
            f"{path} holds {bad} voxels that are not numbers (NaN or infinite), "
            f"{100 * bad / array.size:.3g} % of the volume.",
            "Export the image again, or replace them.",
        )


def _reason(exception: Exception) -> str:
    """The telling line of an ITK exception, without source paths."""
    lines = [line.strip() for line in str(exception).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception thrown", "/", "itk::ERROR: ITK"))]
    # MetaIO reports the errno of something else ("No such file" for a short one): no reason is better than that one
    telling = [line for line in telling if not line.startswith("Reason:")]
    line = (telling or lines or [type(exception).__name__])[-1]
    return line.split("): ")[-1].removeprefix("sitk::ERROR: ").rstrip(".")
