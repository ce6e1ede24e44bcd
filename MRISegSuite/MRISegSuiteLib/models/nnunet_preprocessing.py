"""nnU-Net's own preparation of an image and its way back, so that its networks see what they were trained on.

As nnU-Net 2.8 does it: axes in the plans' order; cut to the box of voxels that are not 0; intensities scaled;
resampled to the plans' spacing with cubic splines, slice by slice where slices are much thicker than pixels;
afterwards the logits are resampled linearly to the cut image and compared there.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import WrongContent
from .card import Card
from .nnunet_plans import Plans

#: Slices are taken one by one where the coarsest spacing is more than this many times the finest (nnU-Net's value).
_ANISOTROPY = 3.0
_EPSILON = 1e-8


class NnunetCase:
    """One image, prepared by the plans: the volume for the network, and the way back."""

    activation = "none"

    def __init__(self, images: list[sitk.Image], card: Card, plans: Plans, region):
        self.canonical, self.order = images[0], plans.transpose
        self._card, self._plans, self._region = card, plans, region
        spacing = np.array(images[0].GetSpacing()[::-1])[plans.transpose]
        data = np.stack([sitk.GetArrayViewFromImage(image) for image in images]).astype(np.float32)
        if not np.isfinite(data).all():
            raise WrongContent("The image holds values that are not numbers (NaN or infinity).", "Repair the image.")
        data = data.transpose(0, *[axis + 1 for axis in plans.transpose])
        self._whole = data.shape[1:]
        self._box = nonzero_box(data)
        data = np.ascontiguousarray(data[(slice(None), *(slice(*edges) for edges in self._box))])
        self._shape, self._spacing = data.shape[1:], list(spacing)
        target = [spacing[0]] * (3 - len(plans.spacing)) + plans.spacing
        self._target = target
        data = normalized_channels(data, plans)
        shape = [int(round(old / new * count)) for old, new, count in zip(spacing, target, self._shape)]
        self.volume = np.stack(
            [resampled(one, shape, list(spacing), target, *plans.resampling("data")) for one in data]
        ).astype(np.float32)
        self.structures = card.structures

    def assembly(self, want_probabilities: bool) -> NnunetAssembly:
        return NnunetAssembly(self, want_probabilities)


class NnunetAssembly:
    """Collects the logits and compares them on the image's grid."""

    def __init__(self, case: NnunetCase, want_probabilities: bool):
        self._case, self._want = case, want_probabilities
        self._planes: list[np.ndarray] = []

    def add(self, first: int, planes: np.ndarray) -> None:
        self._planes.append(planes)

    def finish(self) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
        """Labels and, where asked for, the probability of each structure, as arrays in the model's axes."""
        card = self._case._card
        logits = np.concatenate(self._planes, 1) if len(self._planes) > 1 else self._planes[0]
        self._planes = []
        exclusive = card.activation == "softmax"
        labels = best = total = None
        kept: dict[str, np.ndarray] = {}
        for entry in card.structures:
            values = self._back(logits[int(entry["channel"])])
            if labels is None:
                labels = np.zeros(values.shape, np.uint8 if max(card.names.values()) < 256 else np.uint16)
                best = np.full(values.shape, -np.inf if exclusive else 0.0, np.float32)
            better = values > best
            labels[better] = entry["value"]
            if exclusive:
                np.copyto(best, values, where=better)
            if self._want:
                kept[entry["name"]] = values
        labels = self._placed(labels, 0)
        if not self._want:
            return labels, None
        if exclusive:
            for name in kept:
                kept[name] = np.exp(kept[name] - best)
                total = kept[name].copy() if total is None else total + kept[name]
        outside = {entry["name"]: float(exclusive and entry["value"] == 0) for entry in card.structures}
        for name, values in kept.items():
            probability = values / total if exclusive else 1 / (1 + np.exp(-values))
            kept[name] = self._placed(probability, outside[name])
        return labels, kept

    def _back(self, logits: np.ndarray) -> np.ndarray:
        case = self._case
        return resampled(
            logits, case._shape, case._target, case._spacing, *case._plans.resampling("probabilities")
        ).astype(np.float32)

    def _placed(self, values: np.ndarray, outside) -> np.ndarray:
        case = self._case
        whole = np.full(case._whole, outside, values.dtype)
        whole[tuple(slice(*edges) for edges in case._box)] = values
        whole = whole.transpose(np.argsort(case.order))
        if case._region is not None:
            inside = tuple(slice(*edges) for edges in case._region)
            only = np.full(whole.shape, outside, values.dtype)
            only[inside] = whole[inside]
            whole = only
        return np.ascontiguousarray(whole)


def nonzero_box(data: np.ndarray) -> list[tuple[int, int]]:
    """``(first, last)`` along each axis of the box of voxels where any channel of ``data`` (C, D, H, W) is not 0."""
    mask = (data != 0).any(0)
    box = []
    for axis in range(3):
        planes = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        if len(planes) == 0:
            raise WrongContent("The image is 0 everywhere.", "Choose another image.")
        box.append((int(planes[0]), int(planes[-1]) + 1))
    return box


def normalized_channels(data: np.ndarray, plans: Plans) -> np.ndarray:
    """Each channel scaled by its scheme in the plans; float32 (C, D, H, W)."""
    body = ndimage.binary_fill_holes((data != 0).any(0)) if any(plans.masked) else None
    data = data.copy()
    for index, (scheme, masked) in enumerate(zip(plans.schemes, plans.masked)):
        channel = data[index]
        if scheme == "ZScoreNormalization" and masked:
            values = channel[body]
            channel[body] = (values - values.mean()) / max(values.std(), _EPSILON)
        elif scheme == "ZScoreNormalization":
            mean, sd = channel.mean(), channel.std()
            channel -= mean
            channel /= max(sd, _EPSILON)
        elif scheme == "CTNormalization":
            known = plans.intensities[str(index)]
            np.clip(channel, known["percentile_00_5"], known["percentile_99_5"], out=channel)
            channel -= known["mean"]
            channel /= max(known["std"], _EPSILON)
        elif scheme == "RescaleTo01Normalization":
            channel -= channel.min()
            channel /= max(channel.max(), _EPSILON)
    return data


def resampled(array, shape, spacing, target, order: int, order_z: int, separate: bool | None) -> np.ndarray:
    """``array`` (D, H, W) with another shape.

    Args:
        spacing, target: mm before and after; they decide whether slices are taken one by one.
        order: of the spline; ``order_z`` along the thick slices.
        separate: take slices one by one; None decides by the spacing.
    """
    if tuple(array.shape) == tuple(shape):
        return array
    axis = _thick_axis(spacing, target, separate)
    array = np.asarray(array, float)
    if axis is None:
        return _zoomed(array, shape, order)
    in_plane = [count for place, count in enumerate(shape) if place != axis]
    slices = [_zoomed(one, in_plane, order) for one in np.moveaxis(array, axis, 0)]
    array = np.stack(slices, axis)
    if array.shape[axis] == shape[axis]:
        return array
    at = (np.arange(shape[axis]) + 0.5) * array.shape[axis] / shape[axis] - 0.5
    if order_z == 0:
        nearest = ndimage.map_coordinates(np.arange(array.shape[axis]), [at], order=0, mode="nearest")
        return np.take(array, nearest, axis)
    return np.apply_along_axis(
        lambda line: ndimage.map_coordinates(line, [at], order=order_z, mode="nearest"), axis, array
    )


def _zoomed(array: np.ndarray, shape, order: int) -> np.ndarray:
    if tuple(array.shape) == tuple(shape):
        return array
    factors = [new / old for new, old in zip(shape, array.shape)]
    result = ndimage.zoom(array, factors, order=order, mode="nearest", grid_mode=True)
    # Cubic splines overshoot; values stay within those of the image.
    return np.clip(result, array.min(), array.max()) if order > 1 else result


def _thick_axis(spacing, target, separate: bool | None) -> int | None:
    if separate is False:
        return None
    for one in (spacing, target):
        if separate or max(one) / min(one) > _ANISOTROPY:
            coarsest = [axis for axis, mm in enumerate(one) if mm == max(one)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None
