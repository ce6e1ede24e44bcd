"""A small case with three opinions on an oblique, anisotropic grid, and the ensemble task on it."""

import logging

import numpy as np
import SimpleITK as sitk

from EnsembleReviewLib.pipeline import run
from MRISegSuiteLib.jobs import Job, JobContext

SHAPE = (20, 24, 22)
TURN = np.array(sitk.VersorTransform((0.3, 0.8, -0.2), 0.4).GetMatrix()).reshape(3, 3)


def ball(radius, shape=SHAPE):
    return sum((axis - n / 2) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True)) <= radius**2


def image_of(array, spacing=(0.8, 0.9, 2.5)):
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing)
    image.SetOrigin((-20.0, 14.0, 33.0))
    image.SetDirection(TURN.ravel().tolist())
    return image


def write_case(folder) -> None:
    """A scan with a bright ball, ``case_flair.nii.gz``, and three opinions on it as BraTS label maps, a, b and c."""
    scan = np.random.default_rng(1).normal(100, 5, SHAPE) + 60 * ball(7)
    sitk.WriteImage(image_of(scan.astype(np.float32)), str(folder / "case_flair.nii.gz"))
    for name, outer, inner in (("a", 7, 4), ("b", 6, 3), ("c", 7, 3)):
        labels = ball(outer) * 2
        labels[ball(inner)] = 1
        labels[ball(2)] = 4
        sitk.WriteImage(image_of(labels.astype(np.uint8)), str(folder / f"{name}.nii.gz"))


def ran(case, masks=("a.nii.gz", "b.nii.gz", "c.nii.gz"), image="case_flair.nii.gz", **parameters):
    """The task in this process, without its report unless ``without=[]``: ``(result, folder, warnings)``."""
    parameters = {"without": ["report"], **parameters}
    inputs = {"masks": [str(case / name) for name in masks]} if masks else {}
    if image:
        inputs["image"] = str(case / image)
    folder = case / "out"
    folder.mkdir(exist_ok=True)
    context = JobContext(folder, logging.getLogger("test"))
    result = run(Job("ensemble", inputs, parameters), context)
    return result, folder, context.warnings
