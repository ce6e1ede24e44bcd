"""What a NIfTI-1 header says about geometry beyond what ITK reports: conflicts and units."""

from __future__ import annotations

import struct

import numpy as np
import SimpleITK as sitk

_MILLIMETER = 2
_UNIT_NAMES = {1: "meters", 2: "millimeters", 3: "micrometers"}


def nifti_geometry_warnings(header: bytes, image: sitk.Image, path) -> list[str]:
    """Warn of a NIfTI-1 header whose sform and qform disagree, that records neither, or whose unit is not mm.

    Args:
        header: the first 348 bytes.
        image: the image as ITK read it (its geometry is the one that is used).
        path: for the message.
    """
    order = "<" if struct.unpack("<i", header[:4])[0] == 348 else ">"
    if struct.unpack(order + "i", header[:4])[0] != 348:
        return []
    qform_code, sform_code = struct.unpack(order + "2h", header[252:256])
    unit = header[123] & 0x07
    warnings = []
    if unit not in (0, _MILLIMETER):
        warnings.append(
            f"{path} records its lengths in {_UNIT_NAMES.get(unit, f'unknown units ({unit})')}; "
            f"voxels of {_mm(image.GetSpacing()[:3])} mm were used."
        )
    if qform_code <= 0 and sform_code <= 0:
        warnings.append(
            f"{path} records no position or orientation (neither sform nor qform): left and right cannot be "
            "told from the file."
        )
    if qform_code > 0 and sform_code > 0 and image.GetDimension() >= 3:
        qform, sform = _qform(header, order), _sform(header, order)
        size = np.array(image.GetSize()[:3])
        corners = np.array([[*(np.array(corner) * (size - 1)), 1] for corner in np.ndindex(2, 2, 2)])
        apart = np.linalg.norm((corners @ (qform - sform).T)[:, :3], axis=1).max()
        if apart > 0.5 * min(np.linalg.norm(sform[:3, :3], axis=0).min(), np.abs(image.GetSpacing()[:3]).min()):
            warnings.append(
                f"{path} records two different positions (sform and qform, up to {apart:.1f} mm apart); "
                f"the {_used(image, qform, sform)} was used."
            )
    return warnings


def _used(image: sitk.Image, qform: np.ndarray, sform: np.ndarray) -> str:
    matrix = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:3, :3] * image.GetSpacing()[:3]
    ras = np.diag([-1.0, -1.0, 1.0])
    distance = {
        name: np.abs(ras @ matrix - form[:3, :3]).max()
        + np.abs(ras @ np.array(image.GetOrigin()[:3]) - form[:3, 3]).max()
        for name, form in (("sform", sform), ("qform", qform))
    }
    return min(distance, key=distance.get)


def _sform(header: bytes, order: str) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3] = np.array(struct.unpack(order + "12f", header[280:328])).reshape(3, 4)
    return matrix


def _qform(header: bytes, order: str) -> np.ndarray:
    """NIfTI-1 method 2: quaternion (b, c, d), offsets and pixdim; pixdim[0] is the handedness."""
    pixdim = struct.unpack(order + "4f", header[76:92])
    b, c, d, x, y, z = struct.unpack(order + "6f", header[256:280])
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    handed = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [pixdim[1], pixdim[2], handed * pixdim[3]]
    matrix[:3, 3] = x, y, z
    return matrix


def _mm(values) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
