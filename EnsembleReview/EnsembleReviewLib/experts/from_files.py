"""Masks and probability maps that are there already, each the opinion of one expert."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput, WrongContent
from MRISegSuiteLib.files import sha256_of
from MRISegSuiteLib.images.reading import as_single_3d, read_image_file, require_numbers
from MRISegSuiteLib.images.segmentation_files import read_masks
from MRISegSuiteLib.images.structures import BRATS_LABELS, tumor_name

from ..opinions import Opinion, with_regions
from .grids import on_grid

#: What a mask with one value is taken for.
DEFAULT_NAME = "lesion"
_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
Warn = Callable[[str], None]


def grid_of_file(path) -> sitk.Image:
    """The grid of a mask file, for a case without an image."""
    image = read_image_file(path)
    return read_masks(path, {DEFAULT_NAME: 1}, warn=_silent)[0] if image.GetDimension() != 3 else image


def opinions_of_files(
    paths: Sequence, grid: sitk.Image, labels: Mapping | None = None, names: Sequence[str] = (),
    warn: Warn = lambda text: None, reference: str = "the image",
) -> list[Opinion]:
    """The opinions in mask files.

    Args:
        paths: ``.seg.nrrd`` with named segments, label maps, or probability maps (fractions from 0 to 1).
        grid: the grid of the case; files must share its lattice (see ``grids.on_grid``).
        labels: name -> value or values for label maps without names. Without it, one value is a lesion, 1, 2 and 4
            are the labels of BraTS, 1 to 4 those of BraTS 2012-2014.
        names: what to call the experts, in the order of ``paths``; the names of the files by default.
        warn: called with a sentence for everything that was assumed or left out.
        reference: what to call the grid in messages.

    Raises:
        UnreadableImage, WrongContent, BadInput: naming the file and what is wrong.
        BadArguments: values that have no name.
    """
    paths = [Path(path) for path in paths]
    ids = list(names) or _unique_names(paths)
    if len(ids) != len(paths) or len(set(ids)) < len(ids):
        raise BadArguments(f"{len(ids)} names were given for {len(paths)} masks, or one of them twice.",
                           "Give one name to each mask.")
    titles = dict(zip(ids, _without_what_they_share(ids), strict=True))
    images = [read_image_file(path) for path in paths]
    plain = [(path, image) for path, image in zip(paths, images, strict=True) if not _has_segments(image)]
    maps = {path: _probabilities(as_single_3d(image, path), path) for path, image in plain}
    naming = labels
    label_maps = [(path, image) for path, image in plain if maps[path] is None]
    if label_maps and not labels:
        naming = _assumed_names(label_maps, warn)
    opinions = []
    for path, name in zip(paths, ids, strict=True):
        if maps.get(path) is not None:
            place = as_single_3d(images[paths.index(path)], path)
            answers = {_name_of_map(labels): maps[path]}
        else:
            # What numbers mean is asked of label maps; segments have names, unless no file is a label map.
            named = label_maps and path not in [one for one, _ in label_maps]
            place, masks = read_masks(path, None if named else naming, warn=warn)
            answers = {tumor_name(structure): mask for structure, mask in masks.items()}
        placed = {}
        for structure, array in answers.items():
            placed[structure], lost = on_grid(array, place, grid, path, reference)
            if lost:
                warn(f"{path}: {lost} voxels of {structure} lie outside of {reference} and were left out.")
        if not any(array.any() for array in placed.values()):
            if any(array.any() for array in answers.values()):  # as an empty opinion it would outvote the others
                raise WrongContent(f"{path} lies nowhere on {reference}.",
                                   "It is another scan's, or its header was lost: give the mask made on this image.")
            warn(f"{path} is empty: it counts as an expert who sees nothing there.")
        record = {"file": path.name, "sha256": sha256_of(path)}
        opinions.append(Opinion(name, titles[name], with_regions(placed, exclusive=True), record))
    if opinions and not any(array.any() for opinion in opinions for array in opinion.answers.values()):
        raise BadInput(f"All {len(opinions)} masks are empty: there is nothing to fuse.",
                       "Check that the right files were given.")
    return opinions


def _has_segments(image: sitk.Image) -> bool:
    return any(key.startswith("Segment0_") for key in image.GetMetaDataKeys())


def _probabilities(image: sitk.Image, path) -> np.ndarray | None:
    """The voxels as float32 where they are fractions from 0 to 1, None where they are whole numbers."""
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind != "f":
        return None
    require_numbers(array, path)
    if array.min() < 0 or array.max() > 1 or (array == np.rint(array)).all():
        return None
    return array.astype(np.float32)


def _name_of_map(labels: Mapping | None) -> str:
    return tumor_name(next(iter(labels))) if labels and len(labels) == 1 else DEFAULT_NAME


def _assumed_names(label_maps, warn: Warn) -> dict:
    values: set[int] = set()
    for path, image in label_maps:
        array = sitk.GetArrayViewFromImage(as_single_3d(image, path))
        if array.dtype.kind == "f":
            require_numbers(array, path)
        found = np.unique(array)
        if len(found) <= 256:  # more is no label map; reading it says so
            values |= {int(value) for value in found if value != 0}
    if len(values) <= 1:
        return {DEFAULT_NAME: values.pop() if values else 1}
    if 4 in values and values <= {1, 2, 4}:
        warn("The values 1, 2 and 4 of the masks were taken for the labels of BraTS: necrotic and non-enhancing core, "
             "edema, enhancing tumor.")
        return dict(BRATS_LABELS)
    if values == {1, 2, 3, 4}:
        warn("The values 1 to 4 of the masks were taken for the labels of BraTS 2012-2014: 1 and 3 necrotic and "
             "non-enhancing core, 2 edema, 4 enhancing tumor.")
        return {"non_enhancing_core": [1, 3], "edema": 2, "enhancing_tumour": 4}
    listed = sorted(values)
    raise BadArguments(
        f"The masks hold the values {', '.join(map(str, listed[:20]))}, and nothing says what they mean.",
        "Name them: --labels " + ",".join(f"{name}={v}" for name, v in zip(("whole_tumour", "lesion"), listed))
        + " (and so on).",
    )  # fmt: skip


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """The names of the files without their endings; with the folder where two are alike."""
    stems = [_stem(path) for path in paths]
    named = [f"{path.parent.name}_{stem}" if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems)]
    return [f"{name}_{n}" if named.count(name) > 1 else name for n, name in enumerate(named, start=1)]


def _without_what_they_share(names: Sequence[str]) -> list[str]:
    """``segmentation_a-20`` and ``segmentation_b-20`` are a and b to a person; cut at signs between words only."""
    words = [re.split(r"([_\-. ]+)", name) for name in names]
    if len(names) < 2:
        return list(names)
    shortest = min(len(parts) for parts in words)
    same = [len({parts[n] for parts in words}) == 1 for n in range(shortest)]
    first = same.index(False) if False in same else 0
    same_end = [len({parts[-1 - n] for parts in words}) == 1 for n in range(shortest - first)]
    last = same_end.index(False) if False in same_end else 0
    short = ["".join(parts[first : len(parts) - last]) for parts in words]
    return short if all(short) and len(set(short)) == len(short) else list(names)


def _stem(path: Path) -> str:
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)] or path.name


def _silent(_text: str) -> None:
    pass
