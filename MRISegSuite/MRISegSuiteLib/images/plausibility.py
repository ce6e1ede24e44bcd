"""Does a finished segmentation look like a knee? What the image alone cannot tell (a brain, a hip, a wrong model)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

#: Volumes (ml) between which an adult knee scan lies. Wide around what expert label maps of 17 adult knees span (femur
#: 128-258, tibia 81-170, patella 12-32, cartilages 7.9-21, 3.0-7.9 and 1.7-5.5 ml): other fields of view cut off more
#: of the shafts, and diseased cartilage may be nearly gone.
ADULT_VOLUMES_ML = {
    "femur": (40.0, 500.0),
    "tibia": (25.0, 350.0),
    "patella": (5.0, 60.0),
    "femoral_cartilage": (3.0, 35.0),
    "tibial_cartilage": (1.0, 15.0),
    "patellar_cartilage": (0.5, 10.0),
}

_BONES = {"femoral_cartilage": "femur", "tibial_cartilage": "tibia", "patellar_cartilage": "patella"}
_NEAR_MM = 3.0
_WORKING_VOXEL_MM = 1.5


def plausible_knee(labels: sitk.Image, names: dict[str, int]) -> list[str]:
    """What speaks against this being the segmentation of an adult knee, as sentences; empty when nothing does.

    Checked are: femur and tibia are there, every structure has a plausible volume and every bone is one piece; the
    femur lies above the tibia and the patella in front of the femur; cartilage lies on its bone and between the bones.

    Args:
        labels: integer label map (LPS, mm), any orientation.
        names: structure name -> value in ``labels``; medial and lateral tibial cartilage are taken together.
    """
    array = sitk.GetArrayViewFromImage(labels)
    spacing = np.array(labels.GetSpacing()[::-1])
    volumes = _volumes_ml(array, names, float(np.prod(spacing)) / 1000.0)
    warnings = [f"No {name} was found." for name in ("femur", "tibia") if not volumes.get(name)]
    for name, (low, high) in ADULT_VOLUMES_ML.items():
        if volumes.get(name) and not low <= volumes[name] <= high:
            warnings.append(
                f"The {_title(name)} has {volumes[name]:.1f} ml; in scans of adult knees {low:g} to {high:g} ml."
            )
    steps = tuple(int(max(1, round(_WORKING_VOXEL_MM / s))) for s in spacing)  # a coarse grid is enough for the rest
    small = _masks(array[:: steps[0], :: steps[1], :: steps[2]], names)
    small_spacing = spacing * steps
    warnings += _pieces(small)
    centers = {name: _center(mask, labels, steps) for name, mask in small.items()}
    warnings += _arrangement(centers)
    warnings += _cartilage_on_bone(small, small_spacing)
    if warnings:
        warnings.append("Not a knee, or the segmentation failed? Look at the pictures before using any number.")
    return warnings


def _merged(name: str) -> str:
    return "tibial_cartilage" if name.endswith("tibial_cartilage") else name


def _volumes_ml(array: np.ndarray, names: dict[str, int], voxel_ml: float) -> dict[str, float]:
    volumes: dict[str, float] = {}
    for name, value in names.items():
        volumes[_merged(name)] = volumes.get(_merged(name), 0.0) + np.count_nonzero(array == value) * voxel_ml
    return volumes


def _masks(array: np.ndarray, names: dict[str, int]) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    for name, value in names.items():
        mask = array == value
        if mask.any():
            masks[_merged(name)] = masks[_merged(name)] | mask if _merged(name) in masks else mask
    return masks


def _pieces(small: dict[str, np.ndarray]) -> list[str]:
    warnings = []
    for name in ("femur", "tibia", "patella"):
        if name not in small:
            continue
        parts, count = ndimage.label(small[name], structure=np.ones((3, 3, 3)))
        largest = np.bincount(parts.ravel())[1:].max() / np.count_nonzero(small[name])
        if largest < 0.9:
            warnings.append(f"The {name} is in {count} pieces; the largest is {100 * largest:.0f} % of it.")
    return warnings


def _center(mask: np.ndarray, labels: sitk.Image, steps: tuple[int, ...]) -> np.ndarray:
    """Center of mass in LPS (mm)."""
    index = np.array(ndimage.center_of_mass(mask)) * steps
    return np.array(labels.TransformContinuousIndexToPhysicalPoint([float(i) for i in index[::-1]]))


def _arrangement(centers: dict[str, np.ndarray]) -> list[str]:
    """LPS: x grows to the left, y backwards, z upwards."""
    warnings = []
    if {"femur", "tibia"} <= set(centers):
        across, _, up = centers["femur"] - centers["tibia"]
        if up < 20.0 or abs(across) > 40.0:
            warnings.append(
                f"The femur lies {up:.0f} mm above and {abs(across):.0f} mm beside the tibia, not on top of it."
            )
    if {"femur", "patella"} <= set(centers):
        forward = centers["femur"][1] - centers["patella"][1]
        if forward < 15.0:
            warnings.append(f"The patella lies {forward:.0f} mm in front of the femur's center, not about 40 mm.")
    for cartilage, bone, sign, where in (
        ("femoral_cartilage", "femur", -1.0, "lower"),
        ("tibial_cartilage", "tibia", 1.0, "upper"),
    ):
        if {cartilage, bone} <= set(centers) and sign * (centers[cartilage] - centers[bone])[2] < 2.0:
            warnings.append(f"The {_title(cartilage)} is not at the {where} end of the {bone}.")
    return warnings


def _cartilage_on_bone(small: dict[str, np.ndarray], spacing: np.ndarray) -> list[str]:
    warnings = []
    for cartilage, bone in _BONES.items():
        if cartilage not in small:
            continue
        if bone not in small:
            warnings.append(f"There is {_title(cartilage)}, but no {bone}.")
            continue
        where = np.argwhere(small[cartilage])
        margin = np.ceil((_NEAR_MM + spacing.max()) / spacing).astype(int)
        box = tuple(slice(max(0, a), b) for a, b in zip(where.min(0) - margin, where.max(0) + margin + 1, strict=True))
        if not small[bone][box].any():
            near = 0.0
        else:
            distance = ndimage.distance_transform_edt(~small[bone][box], sampling=spacing)
            near = float(np.mean(distance[small[cartilage][box]] < _NEAR_MM + spacing.max() / 2))
        if near < 0.6:
            warnings.append(f"Only {100 * near:.0f} % of the {_title(cartilage)} lies on the {bone}.")
    return warnings


def _title(name: str) -> str:
    return name.replace("_", " ")
