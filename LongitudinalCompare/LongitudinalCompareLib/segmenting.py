"""Masks for timepoints that have none: the same segmentation of every scan, natively; nothing is taken over from one
timepoint to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.jobs import Job, JobContext
from MRISegSuiteLib.models import Registry

from .sessions import grid_of, scans_for
from .timepoints import Timepoint, image_on

Progress = Callable[[str, float], None]


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
