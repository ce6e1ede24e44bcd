"""Reviewed cases as a training set that nnU-Net v2 and MONAI read as it is.

```
<folder>/DatasetNNN_Name/imagesTr/case_xxxxxxxxxxxx_0000.nii.gz   one file a channel
<folder>/DatasetNNN_Name/labelsTr/case_xxxxxxxxxxxx.nii.gz
<folder>/DatasetNNN_Name/dataset.json          nnU-Net v2
<folder>/DatasetNNN_Name/splits_final.json     patient-wise; copy it to nnUNet_preprocessed/DatasetNNN_Name
<folder>/DatasetNNN_Name/datalist.json         MONAI: load_decathlon_datalist, Auto3DSeg ("fold")
<folder>/DatasetNNN_Name/cases.json            where each case comes from: record, origin, hashes
```
Layouts: documentation/dataset_format.md of nnU-Net v2; monai.data.load_decathlon_datalist.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput, error_from_write
from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.images.writing import write_image

from .review import Record
from .splits import patient_folds
from .store import FeedbackStore

_ENDING = ".nii.gz"
_MOST_FOLDS = 5


@dataclass
class Export:
    """What was written: the folder, the cases in it, and what a person should know."""

    folder: Path
    cases: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def export_training_set(store: FeedbackStore, folder, name: str = "Feedback", number: int = 100,
                        folds: int | None = None, progress: Callable[[float], None] | None = None) -> Export:
    """Write the accepted and corrected cases as ``folder``/DatasetNNN_Name: aside first, then renamed.

    Structures become labels 1, 2, … in alphabetical order over all cases. Where they overlap, the smaller one wins,
    with a warning. Patients stay hashes; they are used for the folds and not written.

    Args:
        store: the reviews.
        folder: where the new folder is made.
        name: letters and digits.
        number: 1 to 999, as nnU-Net counts data sets.
        folds: 5 by default, or as many as there are patients.
        progress: called with 0 … 1.

    Raises:
        BadArguments: a bad name or number, the folder is there already, or no case can be exported.
        BadInput: a file of the store is missing or damaged. UnwritableOutput, DiskFull.
    """
    if not re.fullmatch(r"[A-Za-z0-9]+", name) or not 1 <= number <= 999:
        raise BadArguments(f"Dataset{number:03d}_{name} is no name for nnU-Net.",
                           "Give a name of letters and digits and a number from 1 to 999.")
    target = Path(folder) / f"Dataset{number:03d}_{name}"
    if target.exists():
        raise BadArguments(f"{target} exists already.", "Choose another number, name or folder.")
    records, warnings = _usable(store)
    aside = target.with_name(f".{target.name}-{os.getpid()}.tmp")
    try:
        for part in ("imagesTr", "labelsTr"):
            (aside / part).mkdir(parents=True, exist_ok=True)
        cases = _write_cases(store, records, aside, warnings, progress or (lambda _fraction: None))
        _write_lists(cases, records, aside, folds, warnings)
        os.replace(aside, target)
    except OSError as exception:
        raise error_from_write(exception, target) from exception
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Export(target, list(cases), warnings)


def _usable(store: FeedbackStore) -> tuple[list[Record], list[str]]:
    """The records that can be trained on, all with the same channels, and why others cannot."""
    decided = [record for record in store.latest() if record.after is not None]
    records = [record for record in decided if all(image.kept for image in record.images)]
    warnings = []
    if len(records) < len(decided):
        warnings.append(f"{len(decided) - len(records)} case(s) were left out: their images were not kept.")
    if not records:
        raise BadArguments(f"{store.folder} holds no accepted or corrected case with its images.",
                           "Review cases first, and keep a copy of the images.")
    channels = _channels(records[-1])
    same = [record for record in records if _channels(record) == channels]
    if len(same) < len(records):
        warnings.append(f"{len(records) - len(same)} case(s) were left out: they have other images than "
                        f"{', '.join(channels)}, which those of the last case are.")
    unknown = sum(not record.patient_known for record in same)
    if unknown:
        warnings.append(f"The patient of {unknown} case(s) is not known: each counts as a patient of its own, and two "
                        "of the same patient may be on both sides of a split.")
    return same, warnings


def _channels(record: Record) -> tuple[str, ...]:
    return tuple(image.channel for image in record.images)


def _write_cases(store, records: Sequence[Record], aside: Path, warnings: list, progress) -> dict[str, Record]:
    structures = sorted({name for record in records for name in record.structures})
    cases, overlaps = {}, 0
    for done, record in enumerate(records):
        progress(done / len(records))
        case = f"case_{record.case[:12]}"
        grid = None
        for channel, kept in enumerate(record.images):
            image = store.images.get(kept.sha256)
            grid = grid if grid is not None else image
            if image.GetSize() != grid.GetSize():
                raise BadInput(f"The images of case {case} are not on one grid.", "Review it again on aligned images.")
            write_image(image, aside / "imagesTr" / f"{case}_{channel:04d}{_ENDING}")
        labels, overlap = _labels(store.after(record), structures)
        overlaps += overlap
        write_image(labels, aside / "labelsTr" / f"{case}{_ENDING}")
        cases[case] = record
    if overlaps:
        warnings.append(f"Structures overlap in {overlaps} case(s): shared voxels became the smaller structure.")
    write_json(aside / "dataset.json", {
        "channel_names": {str(n): name for n, name in enumerate(_channels(records[0]))},
        "labels": {"background": 0} | {name: value for value, name in enumerate(structures, start=1)},
        "numTraining": len(cases),
        "file_ending": _ENDING,
        "description": "Cases reviewed in MRI Seg Suite.",
    })
    return cases


def _labels(masks, structures: Sequence[str]) -> tuple[sitk.Image, bool]:
    """One label map; True where structures overlapped."""
    inside = {name: sitk.GetArrayViewFromImage(mask) != 0 for name, mask in masks.items()}
    first = next(iter(masks.values()))
    labels = np.zeros(first.GetSize()[::-1], np.uint8)
    for name in sorted(inside, key=lambda name: -int(inside[name].sum())):  # small ones last: they win
        labels[inside[name]] = structures.index(name) + 1
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(first)
    return image, bool((sum(mask.astype(np.uint8) for mask in inside.values()) > 1).any())


def _write_lists(cases: dict[str, Record], records, aside: Path, folds: int | None, warnings: list) -> None:
    patients = {case: record.patient for case, record in cases.items()}
    count = len(set(patients.values()))
    fold_of = {}
    if folds is None and count < 2:
        warnings.append("All cases are of one patient: there is no split.")
    else:
        fold_of = patient_folds(patients, folds if folds is not None else min(_MOST_FOLDS, count))
        write_json(aside / "splits_final.json", [
            {"train": [case for case in cases if fold_of[case] != fold],
             "val": [case for case in cases if fold_of[case] == fold]} for fold in range(max(fold_of.values()) + 1)])
    channels = len(records[0].images)
    write_json(aside / "datalist.json", {"training": [
        {"image": [f"imagesTr/{case}_{channel:04d}{_ENDING}" for channel in range(channels)],
         "label": f"labelsTr/{case}{_ENDING}", "fold": fold_of.get(case, 0)} for case in cases]})
    write_json(aside / "cases.json", {case: {
        "record": record.uid, "origin": record.origin, "saved_at": record.saved_at, "mask": record.after,
        "images": [image.sha256 for image in record.images],
        "models": [{"id": e.id, "version": e.version, "sha256": e.sha256} for e in record.experts],
    } for case, record in cases.items()})
