"""The jobs that write: ``feedback`` keeps one review, ``feedback_export`` writes the training set.

A window starts them as it starts every job, and does not wait: hashing and packing several volumes takes seconds.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.user_data import user_data_folder

from ..label_regions import labels_within
from .export import export_training_set
from .review import Expert, Review
from .store import FeedbackStore

#: Environment variable that names another folder for the store.
STORE_VARIABLE = "MRISEG_FEEDBACK"


def store_folder() -> Path:
    """The folder of this user's store; it need not exist yet."""
    return Path(os.environ.get(STORE_VARIABLE) or user_data_folder() / "Feedback")


def run(job, context) -> Result:
    """Task ``feedback``.

    Inputs: ``images`` (in the order of ``channels``), and label maps on the grid of the first: ``before``, ``after``
    (left out when rejected), ``experts`` (one for each expert that did not abstain).
    Parameters: ``store`` (folder; this user's by default), ``origin``, ``reviewer``, ``comment``, ``patient`` (hash),
    ``channels``, ``labels`` (structure -> value in before and after), ``experts`` (``id``, ``version``, ``sha256``,
    ``run_time_s``, ``abstained``, ``labels``: label -> value, ``structures``: what it can tell), ``fusion``,
    ``decisions``, ``keep_images``.
    """
    given = dict(job.parameters)
    context.progress("Reading what was reviewed", 0.0)
    images = [read_image_file(path) for path in job.inputs["images"]]
    if len(images) != len(given["channels"]):
        raise BadArguments(f"{len(images)} images and {len(given['channels'])} channels.")
    files = iter(job.inputs.get("experts", []))
    review = Review(
        origin=given["origin"], reviewer=given["reviewer"],
        images=dict(zip(given["channels"], images, strict=True)),
        before=_masks(job.inputs["before"], given["labels"]),
        after=_masks(job.inputs["after"], given["labels"]) if "after" in job.inputs else {},
        experts=[_expert(e, "" if e.get("abstained") else next(files)) for e in given.get("experts", [])],
        patient=given.get("patient", ""), comment=given.get("comment", ""), fusion=given.get("fusion", {}),
        decisions=given.get("decisions", []), keep_images=given.get("keep_images", True))
    context.progress("Keeping the review", 0.3)
    record = FeedbackStore(given.get("store") or store_folder()).add(review)
    return Result(parameters={"record": record.uid, "origin": record.origin, "saved_at": record.saved_at})


def _masks(path, labels: dict[str, int]) -> dict[str, sitk.Image]:
    image = sitk.ReadImage(str(path))
    return {name: image == value for name, value in labels.items()}


def _expert(given: dict, path: str) -> Expert:
    """An expert with whole regions, from its label map."""
    masks = {}
    if path:
        image = sitk.ReadImage(path)
        array = sitk.GetArrayViewFromImage(image)
        for structure in given["structures"]:
            values = [given["labels"][label] for label in labels_within(structure, given["labels"])]
            masks[structure] = sitk.GetImageFromArray(np.isin(array, values).astype(np.uint8))
            masks[structure].CopyInformation(image)
    return Expert(given["id"], given.get("version", ""), given.get("sha256", ""), masks, given.get("abstained", ""),
                  given.get("run_time_s"))


def run_export(job, context) -> Result:
    """Task ``feedback_export``. Parameters: ``store``, ``folder``, ``name``, ``number``, ``folds``."""
    given = job.parameters
    context.progress("Writing the training set", 0.0)
    done = export_training_set(
        FeedbackStore(given.get("store") or store_folder()), given["folder"], given.get("name", "Feedback"),
        given.get("number", 100), given.get("folds"),
        lambda fraction: context.progress("Writing the training set", fraction))
    for warning in done.warnings:
        context.warn(warning)
    return Result(parameters={"dataset": str(done.folder), "cases": len(done.cases)})
