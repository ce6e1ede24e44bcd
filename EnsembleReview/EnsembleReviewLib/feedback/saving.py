"""The jobs that write: ``feedback`` keeps one review, ``feedback_export`` writes the training set.

A window starts them as it starts every job, and does not wait: hashing and packing several volumes takes seconds.
"""

from __future__ import annotations

import os
from pathlib import Path

import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.user_data import user_data_folder

from .content import unpack
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

    Inputs: ``images`` (files, in the order of ``parameters["channels"]``), ``before``, ``after`` (left out when
    rejected) and ``experts`` (one for each entry of ``parameters["experts"]`` that did not abstain): packed masks
    (see :func:`content.pack`) of ``parameters["structures"]``.
    Parameters: ``store`` (folder), ``origin``, ``reviewer``, ``comment``, ``patient`` (hash), ``channels``,
    ``structures``, ``experts`` (``id``, ``version``, ``sha256``, ``run_time_s``, ``abstained``, ``structures``: those it knows),
    ``fusion``, ``decisions``, ``keep_images``.
    """
    given = dict(job.parameters)
    structures = given["structures"]
    context.progress("Reading what was reviewed", 0.0)
    images = [read_image_file(path) for path in job.inputs["images"]]
    if len(images) != len(given["channels"]):
        raise BadArguments(f"{len(images)} images and {len(given['channels'])} channels.")

    def masks(path, names=None):
        return {name: mask for name, mask in unpack(sitk.ReadImage(str(path)), structures).items()
                if names is None or name in names}

    files = iter(job.inputs.get("experts", []))
    experts = [
        Expert(e["id"], e.get("version", ""), e.get("sha256", ""),
               {} if e.get("abstained") else masks(next(files), e.get("structures")),
               e.get("abstained", ""), e.get("run_time_s"))
        for e in given.get("experts", [])]
    review = Review(
        origin=given["origin"], reviewer=given["reviewer"],
        images=dict(zip(given["channels"], images, strict=True)), before=masks(job.inputs["before"]),
        after=masks(job.inputs["after"]) if "after" in job.inputs else {}, experts=experts,
        patient=given.get("patient", ""), comment=given.get("comment", ""), fusion=given.get("fusion", {}),
        decisions=given.get("decisions", []), keep_images=given.get("keep_images", True))
    context.progress("Keeping the review", 0.3)
    record = FeedbackStore(given.get("store") or store_folder()).add(review)
    return Result(parameters={"record": record.uid, "origin": record.origin})


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
