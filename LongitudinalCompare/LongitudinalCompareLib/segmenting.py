"""Masks for timepoints that have none: the same segmentation of every scan, natively, by a model or a panel of
experts; nothing is taken over from one timepoint to another. And how well that segmentation sees a known growth."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, JobContext, run_child
from MRISegSuiteLib.models import Card, Registry

from .change.calibration import Calibration, calibrate_images
from .sessions import grid_of, scans_for
from .timepoints import Channel, Timepoint, image_on

#: Among the experts: every model of this task.
GLIOMA = "glioma"
_REGION = "whole_tumour"
#: What a structure of a brain extraction model is called.
BRAIN = "brain"


class Segmenter(Protocol):
    """Whoever segments.

    Attributes:
        files: role -> path below the job's folder, of what is worth keeping.
    """

    files: dict[str, str]

    def segmented(self, one: Timepoint, name: str, title: str, begin: float, end: float, with_stages=True):
        """The timepoint with a mask (a :class:`~.timepoints.Timepoint`).

        Args:
            name: of a folder for what is made on the way. title: for progress and warnings.
            begin, end: the part of the job that this takes. with_stages: see :class:`MRISegSuiteLib.jobs.child`.

        Raises:
            SuiteError: a contrast is missing, or the structure is not known.
        """

    def record(self) -> dict:
        """Who it was, as the record of a model."""


def segmenter_of(job: Job, context: JobContext) -> Segmenter | None:
    """The job's experts or model; None where it names none.

    Raises:
        SuiteError: there is no such model.
    """
    if job.parameters.get("experts"):
        return _Panel(job, context)
    return _Model(job, context) if job.model else None


def segment_all(timepoints: Sequence[Timepoint], by: Segmenter, begin: float, end: float) -> list[Timepoint]:
    """All timepoints with masks."""
    width = (end - begin) / len(timepoints)
    return [
        by.segmented(one, f"panel_{n + 1}", one.label, begin + n * width, begin + (n + 1) * width)
        for n, one in enumerate(timepoints)
    ]


def calibrate_scan(
    one: Timepoint, by: Segmenter, trials: int, context: JobContext, begin: float, end: float
) -> Calibration:
    """Known growth put into a timepoint's own scans (all contrasts alike) and segmented anew, two scans a trial.

    Raises:
        BadInput: the mask is empty.
    """
    width, passing = (end - begin) / (2 * trials), dict(by.files)

    def segment(scans: list[sitk.Image], number: int) -> sitk.Image:
        folder = context.folder / "simulated"
        folder.mkdir(exist_ok=True)
        paths = [str(write_image(scan, folder / f"{n}.nrrd")) for n, scan in enumerate(scans)]
        channels = [
            Channel(channel.name, path, scan) for channel, path, scan in zip(one.channels, paths[1:], scans[1:])
        ]
        made = replace(one, path=paths[0], image=scans[0], channels=tuple(channels), mask=None, mask_of=None)
        name, title = f"simulated_{number}", f"Known growth, scan {number + 1} of {2 * trials}"
        start = begin + number * width
        mask = by.segmented(made, name, title, start, start + width, with_stages=False).mask
        for used in (folder, context.folder / name):
            shutil.rmtree(used, ignore_errors=True)
        return mask

    context.progress("Known growth: making the first scan", begin)
    try:
        return calibrate_images([one.image, *(channel.image for channel in one.channels)], one.mask, segment, trials)
    finally:
        by.files = passing


def brain_masks(timepoints: Sequence[Timepoint], model_id: str, job: Job, context: JobContext, done: float):
    """What a brain extraction model of the user's (task such as ``brain``) takes for the brain of each timepoint.

    Of its structures the one called "brain" counts, or all together where none is called so.

    Args:
        done: the part of the job that is done before.

    Returns:
        A mask (uint8) on the grid of each timepoint's scan, and the model's record.

    Raises:
        SuiteError: there is no such model, a contrast that it wants is missing, or it found nothing.
    """
    from MRISegSuiteLib.models.inference import segment

    card, masks = _card_of(model_id), []
    for one in timepoints:
        context.progress(f"Finding the brain of the {one.label} with {card.title}", done)
        scans = _scans_of(one, card)
        answer = segment(scans, card, job.device, lambda stage, fraction: None)
        for text in answer.warnings:
            context.warn(f"{one.label}: {text}")
        values = [answer.names[BRAIN]] if BRAIN in answer.names else list(answer.names.values())
        mask = image_on(np.isin(sitk.GetArrayViewFromImage(answer.labels), values), scans[0])
        if not np.any(sitk.GetArrayViewFromImage(mask)):
            raise BadInput(f"The model {card.id} found no brain in the scan of the {one.label}.",
                           "Leave the model out (then the built-in search is used), or give masks to register in.")
        masks.append(mask)
    return masks, card.to_record()


def _card_of(model_id: str, sha256: str | None = None) -> Card:
    cards = [card for card in Registry().cards() if card.id == model_id]
    if not cards:
        raise BadArguments(f"There is no model {model_id!r}.", "See: mriseg models list")
    return Registry().choose(cards[0].task, model_id, sha256)


def _scans_of(one: Timepoint, card: Card) -> list[sitk.Image]:
    """What a model wants to see, in its order. Raises BadArguments where a contrast is missing."""
    wanted = [channel["name"] for channel in card.channels]
    scans = scans_for(one, wanted)
    if scans is None:
        there = ", ".join(name or "one without a name" for name in (one.name, *(c.name for c in one.channels)))
        raise BadArguments(
            f"The model {card.id} needs {', '.join(wanted)}; the {one.label} has {there}.",
            "Name the contrasts (--timepoint FLAIR=a.nii.gz T1c=b.nii.gz), or choose another model.",
        )
    return scans


class _Panel:
    """A job of the task ``ensemble`` for each timepoint, within this one."""

    def __init__(self, job: Job, context: JobContext):
        self._job, self._context = job, context
        self.files: dict[str, str] = {}
        self._asked: dict[str, dict] = {}

    def segmented(self, one: Timepoint, name: str, title: str, begin: float, end: float, with_stages=True):
        experts, structure = self._job.parameters["experts"], self._job.parameters.get("structure")
        scans = [(one.name, one.path), *((channel.name, self._file_of(channel, name)) for channel in one.channels)]
        inputs = {"image": scans[0][1]} | ({"channels": [path for _, path in scans[1:]]} if scans[1:] else {})
        parameters = {"device": self._job.device, "without": ["report"], "jackknife_masks": True}
        if any(contrast for contrast, _ in scans):
            parameters["channel_names"] = [contrast for contrast, _ in scans]
        if experts != [GLIOMA]:
            parameters["experts"] = experts
        result, folder = run_child(Job("ensemble", inputs, parameters), self._context, name, title, begin, end,
                                   with_stages)  # fmt: skip
        record = json.loads((folder / result.files["panel"]).read_text(encoding="utf-8"))
        known = record["structures"]
        wanted = structure or (_REGION if _REGION in known else known[0])
        if wanted not in known:
            raise BadArguments(f"The panel does not segment {wanted!r}.", f"It segments {', '.join(known)}.")
        bits = sitk.ReadImage(str(folder / result.files[f"jackknife_{wanted}"]))
        bits.CopyInformation(one.image)
        self.files |= {f"{name}_{role}": f"{name}/{file}" for role, file in result.files.items()}
        self._asked |= {entry["id"]: entry["record"] for entry in record["experts"]}
        knowing = {entry["id"] for entry in record["experts"] if wanted in entry["structures"]}
        voices = (" + ".join(expert for expert in group if expert in knowing) for group in record["voices"])
        return replace(
            one, mask=image_on(sitk.GetArrayViewFromImage(bits) & 1, one.image), mask_of=None, jackknife=bits,
            voices=tuple(filter(None, voices)),
        )  # fmt: skip

    def record(self) -> dict:
        """``sha256`` is that of the experts' own, one after the other."""
        digests = "".join(str(one.get("sha256", "")) for one in self._asked.values())
        return {
            "id": "panel of " + ", ".join(self._asked), "version": "majority",
            "sha256": hashlib.sha256(digests.encode()).hexdigest(), "experts": list(self._asked.values()),
        }  # fmt: skip

    def _file_of(self, channel: Channel, name: str) -> str:
        """The file of a contrast; a new one where it was registered within its session."""
        if channel.matrix is None:
            return channel.path
        folder: Path = self._context.folder / f"{name}_inputs"
        folder.mkdir(exist_ok=True)
        return str(write_image(channel.image, folder / f"{channel.name}.nrrd"))


class _Model:
    """The job's model; it gets the contrasts that it wants, by name."""

    def __init__(self, job: Job, context: JobContext):
        self._job, self._context = job, context
        self.files: dict[str, str] = {}
        self._card = _card_of(job.model["id"], job.model.get("sha256"))

    def segmented(self, one: Timepoint, name: str, title: str, begin: float, end: float, with_stages=True):
        from MRISegSuiteLib.models.inference import segment

        card, structure = self._card, self._job.parameters.get("structure")
        scans = _scans_of(one, card)

        def progress(stage, fraction):
            text = f"{title}: {stage[:1].lower()}{stage[1:]}" if with_stages else title
            self._context.progress(text, begin + fraction * (end - begin))

        answer = segment(scans, card, self._job.device, progress)
        for text in answer.warnings:
            self._context.warn(f"{title}: {text}")
        if structure and structure not in answer.names:
            raise BadArguments(
                f"The model {card.id} does not segment {structure!r}.", f"It segments {', '.join(answer.names)}."
            )
        values = [answer.names[structure]] if structure else list(answer.names.values())
        mask = image_on(np.isin(sitk.GetArrayViewFromImage(answer.labels), values), scans[0])
        return replace(one, mask=mask, mask_of=grid_of(one, mask))

    def record(self) -> dict:
        return self._card.to_record()
