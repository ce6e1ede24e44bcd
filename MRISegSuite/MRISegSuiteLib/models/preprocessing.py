"""From an image in the model's axes to the array that the network wants, as the card says."""

from __future__ import annotations

import math

import numpy as np

from ..errors import WrongContent
from .resampling import AxisGrid

_MARGIN_MM = 10.0
#: Values this close to each other, as part of the range, are the same: resampling rounds.
_SAME = 1e-5


def grids_for(shape, spacing, wanted: list, warn) -> list[AxisGrid]:
    """The model's grid along each array axis.

    Args:
        shape: voxels of the image, array order.
        spacing: mm, array order.
        wanted: the card's ``spacing_mm``.
        warn: called with a sentence where the image is coarser than the model expects.
    """
    return [_grid(int(count), float(mm), rule, axis, warn)
            for axis, (count, mm, rule) in enumerate(zip(shape, spacing, wanted))]  # fmt: skip


def _grid(count, spacing, rule, axis, warn) -> AxisGrid:
    if rule is None:
        target = spacing
    elif isinstance(rule, dict):
        # Whole groups of slices are averaged: that is what a thicker slice is.
        target = spacing * max(1, math.ceil(rule["min"] / spacing - 1e-6))
        if spacing > rule["max"] * 1.01:
            warn(f"The image's voxels are {spacing:.2f} mm apart along axis {axis}; the model expects at most "
                 f"{rule['max']:g} mm.")  # fmt: skip
    else:
        target = float(rule)
        if spacing > 2 * target:
            warn(f"The image's voxels are {spacing:.2f} mm apart along axis {axis}; the model expects {target:g} mm.")
    if abs(target - spacing) < 1e-4 * spacing:
        return AxisGrid(count, spacing, count, spacing)
    return AxisGrid(count, spacing, max(1, math.ceil(count * spacing / target - 1e-3)), target)


def to_model_grid(array: np.ndarray, grids: list[AxisGrid]) -> np.ndarray:
    """The array (float32) on the model's grid."""
    array = np.asarray(array, np.float32)
    # The axis that shrinks most goes first: the others then have less to do.
    for axis in sorted(range(3), key=lambda axis: grids[axis].model_count / grids[axis].count):
        array = grids[axis].to_model().apply(array, axis)
    return array


def normalized(array: np.ndarray, rule: dict) -> np.ndarray:
    """Intensities scaled as the card's ``normalization`` says (see card.schema.json), float32.

    Raises:
        WrongContent: the image is constant, so that nothing can be scaled.
    """
    kind = rule["kind"]
    if kind == "none":
        return array
    if kind == "ct":
        return (np.clip(array, rule["low"], rule["high"]) - np.float32(rule["mean"])) / np.float32(rule["sd"])
    if kind == "window":
        return _scaled(array, rule["low"], rule["high"], rule)
    looked_at = _LOOKED_AT[rule.get("over", "all")](array)
    if looked_at.size == 0:
        raise WrongContent("The image is 0 everywhere.", "Choose another image.")
    if kind == "zscore":
        mean, sd = float(looked_at.mean(dtype=np.float64)), float(looked_at.std(dtype=np.float64))
        if sd == 0:
            raise WrongContent("The image has the same value everywhere.", "Choose another image.")
        return (array - np.float32(mean)) / np.float32(sd)
    if kind == "minmax":
        low, high = float(looked_at.min()), float(looked_at.max())
    elif kind == "upper_percentile":
        low, high = 0.0, float(np.percentile(looked_at, rule["high"]))
    else:
        low, high = (float(value) for value in np.percentile(looked_at, [rule["low"], rule["high"]]))
    if not high > low:
        raise WrongContent("The image has (nearly) the same value everywhere.", "Choose another image.")
    return _scaled(array, low, high, rule)


def padding_value(array: np.ndarray) -> float | None:
    """The value around a brain that was cut out, whatever it is: the one in all corners; None where they differ."""
    corners = array[np.ix_(*[[0, -1]] * array.ndim)]
    return float(corners.flat[0]) if np.ptp(corners) <= _SAME * np.ptp(array) else None


def is_cut_out(array: np.ndarray) -> bool:
    """Whether everything but a brain seems to be blanked: the padding fills more than a quarter of the image."""
    return _without_padding(array).size < 0.75 * array.size


def _without_padding(array: np.ndarray) -> np.ndarray:
    padding = padding_value(array)
    return array.ravel() if padding is None else array[np.abs(array - padding) > _SAME * np.ptp(array)]


#: The card's ``over`` -> the voxels that are looked at.
_LOOKED_AT = {"all": lambda array: array, "nonzero": lambda array: array[array != 0], "foreground": _without_padding}


def _scaled(array, low, high, rule):
    result = (array - np.float32(low)) / np.float32(high - low)
    if rule.get("clip", True) and rule["kind"] != "minmax":
        np.clip(result, 0, 1, out=result)
    out_low, out_high = rule.get("out_low", 0.0), rule.get("out_high", 1.0)
    if (out_low, out_high) != (0.0, 1.0):
        result = result * np.float32(out_high - out_low) + np.float32(out_low)
    return result


def foreground_box(array: np.ndarray, spacing) -> list[tuple[int, int]]:
    """``(first, last)`` along each axis of the box around the body, 10 mm wider; everything where there is no air.

    Air is what stays under a tenth of the bright tissue (99th percentile) in blocks of about 4 mm: noise averages out
    in a block, thin bright vessels or skin do not vanish.
    """
    blocks = [max(1, round(4.0 / mm)) for mm in spacing]
    low = array
    for axis, block in enumerate(blocks):
        starts = np.arange(0, array.shape[axis], block)
        counts = np.diff([*starts, array.shape[axis]])
        shape = [-1 if other == axis else 1 for other in range(3)]
        low = np.add.reduceat(low, starts, axis) / counts.reshape(shape).astype(np.float32)
    body = low > 0.1 * np.percentile(low, 99)
    box = []
    for axis, block in enumerate(blocks):
        others = tuple(other for other in range(3) if other != axis)
        # A stray bright block is no body.
        planes = np.flatnonzero(body.mean(others) > 0.002)
        if len(planes) == 0:
            return [(0, count) for count in array.shape]
        margin = math.ceil(_MARGIN_MM / spacing[axis])
        box.append(
            (max(0, int(planes[0]) * block - margin), min(array.shape[axis], (int(planes[-1]) + 1) * block + margin))
        )
    return box
