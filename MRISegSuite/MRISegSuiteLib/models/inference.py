"""Segment an image with a model: the one way from an image and a card to labels on the image's own grid."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from ..errors import BadInput, OutOfMemory, WrongContent
from ..images.canonical import from_canonical, same_grid, to_canonical
from .backends import load_network
from .card import Card, InvalidCard
from .devices import choose_device, set_threads
from .label_assembly import LabelAssembly
from .memory import is_out_of_memory, window_ladder
from .preprocessing import foreground_box, grids_for, is_cut_out, normalized, padding_value, to_model_grid
from .verified_files import VerifiedFiles
from .windows import WindowSettings, count_runs, predict

Progress = Callable[[str, float], None]


@dataclass
class Prediction:
    """The answer of a model.

    Attributes:
        labels: label map (uint8, or uint16 where a value needs it) on the grid of the input image.
        names: name of each structure -> value in ``labels``; the background is 0.
        probabilities: per name (background included where the network has one) a float32 image on the same grid.
        device: where the network ran in the end.
        warnings: sentences for the user.
    """

    labels: sitk.Image
    names: dict[str, int]
    probabilities: dict[str, sitk.Image] | None
    device: str
    warnings: list[str] = field(default_factory=list)


def segment(
    image: sitk.Image | Sequence[sitk.Image],
    card: Card,
    device: str = "auto",
    progress: Progress | None = None,
    want_probabilities: bool = False,
    roi: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Prediction:
    """Segment an image.

    Args:
        image: 3D, any orientation; for a model with several channels a sequence of images on one grid, in the card's
            order, or one vector image.
        card: of a model that is there with its files; they are hashed before they are loaded.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: called with a stage and the fraction done (0..1); whatever it raises ends the work.
        want_probabilities: also return the probability of each structure.
        roi: ``(index, size)`` in voxels of the image (i, j, k): only this box is segmented, the rest is background.

    Raises:
        ModelMissing, ModelHashMismatch, UnsafeModel, InvalidCard: the model.
        NoDevice: ``cuda`` was asked for and cannot be used.
        BadInput, WrongContent: the image does not fit the model, or the box does not fit the image.
        OutOfMemory: after smaller windows and the CPU were tried.
    """
    report = progress or (lambda stage, fraction: None)
    warnings: list[str] = []
    report("Loading the model", 0.0)
    files = VerifiedFiles(card)
    chosen, device_warnings = choose_device(device)
    warnings += device_warnings
    set_threads()
    network = load_network(files)
    channels = _channels(image, card)
    like = channels[0]
    try:
        report("Preparing the image", 0.02)
        canonical = [_in_axes(channel, card.axes) for channel in channels]
        region = _region(roi, like, canonical[0])
        prepare = getattr(network, "case", _CardCase)
        case = prepare(canonical, card, region, warnings.append)
        del channels, canonical
        labels, probabilities, used = _run(network, case, card, chosen, want_probabilities, report, warnings)
        report("Returning to the image's grid", 0.97)
        result = _image_of(labels, case.canonical, like)
        maps = None
        if probabilities is not None:
            maps = {name: _image_of(array, case.canonical, like) for name, array in probabilities.items()}
    except Exception as exception:
        if is_out_of_memory(exception):
            raise _out_of_memory(like.GetSize(), [], exception) from exception
        raise
    report("Segmented", 1.0)
    return Prediction(result, card.names, maps, used, warnings)


class _CardCase:
    """One image, prepared as the card says: the volume for the network, and the way back."""

    #: Array axes of the card in the order of the volume's.
    order = (0, 1, 2)

    def __init__(self, images: list[sitk.Image], card: Card, region, warn):
        self.canonical = images[0]
        shape = images[0].GetSize()[::-1]
        self.grids = grids_for(shape, images[0].GetSpacing()[::-1], card.spacing_mm, warn)
        volumes = []
        for index, (image, channel) in enumerate(zip(images, card.channels)):
            array = to_model_grid(sitk.GetArrayViewFromImage(image), self.grids)
            if not np.isfinite(array).all():
                raise WrongContent(
                    "The image holds values that are not numbers (NaN or infinity).", "Repair the image."
                )
            if index == 0:
                self._place(array, card, region)
                if channel["normalization"].get("over") == "foreground" and not is_cut_out(array):
                    warn("The image seems to show more than the brain. The model expects one in which everything "
                         "around the brain has one value (skull-stripped); do not trust its answer.")  # fmt: skip
            # Intensities are scaled over the whole image, so a region of interest does not change them.
            array = normalized(array, channel["normalization"])
            volumes.append(array[tuple(slice(*edges) for edges in self.box)])
        self.volume = np.stack(volumes)
        self.structures, self.activation = card.structures, card.activation

    def _place(self, array, card, region):
        self.box = [(0, grid.model_count) for grid in self.grids]
        if region is not None:
            self.box = [grid.model_range(*edges) for grid, edges in zip(self.grids, region)]
        elif card.crop == "foreground":
            # What was cut away is not always 0: a z-scored brain has negative surroundings.
            body = array - np.float32(padding_value(array) or 0)
            self.box = foreground_box(body, [grid.model_spacing for grid in self.grids])
        self.region = region or [grid.image_range(*edges) for grid, edges in zip(self.grids, self.box)]

    def assembly(self, want_probabilities: bool) -> LabelAssembly:
        return LabelAssembly(self.grids, self.box, self.region, self.structures, self.activation, want_probabilities)


class _Counter:
    """Reports how many of the network's runs have begun."""

    def __init__(self, report: Progress, total: int):
        self._report, self._total, self._begun = report, total, 0

    def __call__(self) -> None:
        self._report("Segmenting", 0.05 + 0.9 * self._begun / self._total)
        self._begun += 1


def _run(network, case, card, device, want_probabilities, report, warnings):
    """The labels and probabilities as arrays in the model's axes; less memory is tried as long as there is a way."""
    tried = []
    channels = max(int(entry["channel"]) for entry in case.structures) + 1
    shape = case.volume.shape[1:]
    ladder = window_ladder(card.patch, card.smaller_patches, card.batch, device)
    for _, patch, batch in ladder:
        _check_size(network, case.volume.shape[0], patch, batch, card)
    for used, patch, batch in ladder:
        settings = WindowSettings(
            patch=tuple(patch[axis] for axis in case.order),
            overlap=tuple(card.overlap[axis] for axis in case.order),
            blending=card.blending,
            batch=batch,
            mirror_axes=tuple(list(case.order).index(axis) for axis in card.mirror_axes),
            device=used,
            activation=case.activation,
            channels=channels,
        )
        try:
            assembly = case.assembly(want_probabilities)
            for first, planes in predict(
                network, case.volume, settings, _Counter(report, count_runs(shape, settings))
            ):
                if planes.shape[0] < channels:
                    raise InvalidCard(
                        f"The network of {card.id} gives {planes.shape[0]} channels; its card speaks of {channels}.",
                        "Correct 'output' in the card.",
                    )
                assembly.add(first, planes)
            return *assembly.finish(), used
        except Exception as exception:
            if not is_out_of_memory(exception):
                raise
            tried.append(f"{_times(patch)} on {used}, {batch} at a time")
            last = exception
        _free_memory()
        warnings.append(f"Memory ran out with windows of {tried[-1]}; less was tried.")
    raise _out_of_memory(shape[::-1], tried, last) from last


def _check_size(network, channels, patch, batch, card):
    wanted = getattr(network, "input_size", None)
    if wanted is None:
        return
    given = (batch, channels, *patch)
    if any(size is not None and size != mine for size, mine in zip(wanted, given)):
        raise InvalidCard(
            f"The network of {card.id} takes (windows, channels, D, H, W) = "
            f"({', '.join('any' if size is None else str(size) for size in wanted)}); its card gives {given}.",
            "Correct 'inference' and 'input' in the card, or export the network with dynamic sizes.",
        )


def _channels(image, card: Card) -> list[sitk.Image]:
    if isinstance(image, sitk.Image):
        count = image.GetNumberOfComponentsPerPixel()
        images = [sitk.VectorIndexSelectionCast(image, index) for index in range(count)] if count > 1 else [image]
    else:
        images = list(image)
    if len(images) != len(card.channels):
        names = ", ".join(channel["name"] for channel in card.channels)
        raise BadInput(
            f"The model {card.id} needs {len(card.channels)} channels ({names}); {len(images)} were given.",
            "Give one image for each, in this order.",
        )
    for one in images:
        if one.GetDimension() != 3:
            raise WrongContent(f"The model {card.id} needs a 3D image, not a {one.GetDimension()}D one.", "")
        if not same_grid(images[0], one):
            raise BadInput("The channels lie on different grids.", "Resample them to the first one.")
    return images


def _in_axes(image: sitk.Image, axes: str) -> sitk.Image:
    # The card counts array axes, slowest first; an image counts i, j, k, fastest first.
    return image if axes == "stored" else to_canonical(image, axes[::-1])


def _image_of(array: np.ndarray, canonical: sitk.Image, like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(canonical)
    return from_canonical(image, like)


def _region(roi, like: sitk.Image, canonical: sitk.Image):
    """The box as ``(first, last)`` along each array axis of the canonical image."""
    if roi is None:
        return None
    index, size = ([int(value) for value in part] for part in roi)
    fits = len(index) == len(size) == 3 and all(
        first >= 0 and count > 0 and first + count <= whole for first, count, whole in zip(index, size, like.GetSize())
    )
    if not fits:
        raise BadInput(
            f"The region of interest (index {index}, size {size}) leaves the image, which is {like.GetSize()} voxels.",
            "Choose a box inside the image.",
        )
    corners = [
        canonical.TransformPhysicalPointToIndex(like.TransformIndexToPhysicalPoint(corner))
        for corner in (index, [first + count - 1 for first, count in zip(index, size)])
    ]
    return [(min(pair), max(pair) + 1) for pair in zip(*corners)][::-1]


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _out_of_memory(shape, tried, exception) -> OutOfMemory:
    attempts = f" Tried windows of {'; '.join(tried)}." if tried else ""
    return OutOfMemory(
        f"Memory ran out while segmenting {_times(shape) or 'the image'} voxels.{attempts} ({_first_line(exception)})",
        "Close other programs, choose a smaller region of interest, or use a computer with more memory.",
    )


def _times(sizes) -> str:
    return " x ".join(str(size) for size in sizes)


def _first_line(exception) -> str:
    return (str(exception).strip() or type(exception).__name__).splitlines()[0][:200]
