"""Masks for timepoints that have none: the same segmentation of every scan, natively; nothing is taken over from one
timepoint to another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, JobContext, run_child
from MRISegSuiteLib.models import Registry

from .sessions import grid_of, scans_for
from .timepoints import Channel, Timepoint, image_on

Progress = Callable[[str, float], None]


#: Among the experts: every model of this task.
GLIOMA = "glioma"
_REGION = "whole_tumour"


def ask_panel(
    timepoints: Sequence[Timepoint], job: Job, context: JobContext, begin: float, end: float
) -> tuple[list[Timepoint], dict, dict[str, str]]:
    """A panel of experts on every timepoint: a job of the task ``ensemble`` for each, within this one.

    Returns:
        Timepoints with mask and jackknife; who was asked, as a record of a model; and the files of each panel, role ->
        path (``panel_1_fusion``: the panel of timepoint 1).

    Raises:
        SuiteError: nobody answers, or the structure is not among what they know.
    """
    experts, structure = job.parameters["experts"], job.parameters.get("structure")
    done, files, asked = [], {}, {}
    for number, one in enumerate(timepoints, start=1):
        name, width = f"panel_{number}", (end - begin) / len(timepoints)
        scans = [(one.name, one.path), *((c.name, _as_it_lies(c, context, name)) for c in one.channels)]
        inputs = {"image": scans[0][1]} | ({"channels": [path for _, path in scans[1:]]} if scans[1:] else {})
        parameters = {"device": job.device, "without": ["report"], "jackknife_masks": True}
        if any(name for name, _ in scans):
            parameters["channel_names"] = [name for name, _ in scans]
        if experts != [GLIOMA]:
            parameters["experts"] = experts
        start = begin + (number - 1) * width
        result, folder = run_child(Job("ensemble", inputs, parameters), context, name, one.label, start, start + width)
        record = json.loads((folder / result.files["panel"]).read_text(encoding="utf-8"))
        known = record["structures"]
        wanted = structure or (_REGION if _REGION in known else known[0])
        if wanted not in known:
            raise BadArguments(f"The panel does not segment {wanted!r}.", f"It segments {', '.join(known)}.")
        bits = sitk.ReadImage(str(folder / result.files[f"jackknife_{wanted}"]))
        mask = image_on(sitk.GetArrayViewFromImage(bits) & 1, one.image)
        bits.CopyInformation(one.image)
        on_it = {entry["id"] for entry in record["experts"] if wanted in entry["structures"]}
        voices = (" + ".join(one for one in group if one in on_it) for group in record["voices"])
        done.append(replace(one, mask=mask, mask_of=None, jackknife=bits, voices=tuple(filter(None, voices))))
        files |= {f"{name}_{role}": f"{name}/{file}" for role, file in result.files.items()}
        asked |= {entry["id"]: entry["record"] for entry in record["experts"]}
    digests = [str(one.get("sha256", "")) for one in asked.values()]
    return done, {
        "id": "panel of " + ", ".join(asked), "version": "majority",
        "sha256": hashlib.sha256("".join(digests).encode()).hexdigest(), "experts": list(asked.values()),
    }, files  # fmt: skip


def _as_it_lies(channel: Channel, context: JobContext, name: str) -> str:
    """The file of a contrast; a new one where it was registered within its session."""
    if channel.matrix is None:
        return channel.path
    folder = context.folder / f"{name}_inputs"
    folder.mkdir(exist_ok=True)
    return str(write_image(channel.image, folder / f"{channel.name}.nrrd"))


def segment_all(
    timepoints: Sequence[Timepoint], job: Job, context: JobContext, progress: Progress
) -> tuple[list[Timepoint], dict]:
    """The job's model on every timepoint; it gets the contrasts that it wants, by name.

    Raises:
        SuiteError: there is no such model, it does not know the structure, or a contrast is missing.
    """
    from MRISegSuiteLib.models.inference import segment

    cards = [card for card in Registry().cards() if card.id == job.model["id"]]
    if not cards:
        raise BadArguments(f"There is no model {job.model['id']!r}.", "See: mriseg models list")
    card = Registry().choose(cards[0].task, job.model["id"], job.model.get("sha256"))
    wanted = [channel["name"] for channel in card.channels]
    structure = job.parameters.get("structure")
    done = []
    for number, one in enumerate(timepoints):
        progress(f"Segmenting the {one.label}", number / len(timepoints))
        scans = scans_for(one, wanted)
        if scans is None:
            there = ", ".join(name or "one without a name" for name in (one.name, *(c.name for c in one.channels)))
            raise BadArguments(
                f"The model {card.id} needs {', '.join(wanted)}; the {one.label} has {there}.",
                "Name the contrasts (--timepoint FLAIR=a.nii.gz T1c=b.nii.gz), or choose another model.",
            )
        answer = segment(scans, card, job.device, lambda stage, fraction: None)
        for text in answer.warnings:
            context.warn(f"{one.label}: {text}")
        if structure and structure not in answer.names:
            raise BadArguments(
                f"The model {card.id} does not segment {structure!r}.", f"It segments {', '.join(answer.names)}."
            )
        values = [answer.names[structure]] if structure else list(answer.names.values())
        mask = image_on(np.isin(sitk.GetArrayViewFromImage(answer.labels), values), scans[0])
        done.append(replace(one, mask=mask, mask_of=grid_of(one, mask)))
    return done, card.to_record()
