"""The knee task: from a scan, or a finished segmentation, to surfaces, thickness, T2, table and report.

Runs in the worker process (task ``knee``). The steps are functions of their own below, in the order in which they run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.canonical import same_grid
from MRISegSuiteLib.images.checks import check_knee_volume, check_on_scan
from MRISegSuiteLib.images.plausibility import plausible_knee
from MRISegSuiteLib.images.reading import Volume, read_volume, root_sum_of_squares
from MRISegSuiteLib.images.segmentation_files import read_segmentation
from MRISegSuiteLib.jobs import Job, JobContext, Result
from MRISegSuiteLib.models import Registry

from .cleaning import clean_labels
from .followup.change import KneeChange, compare_knees, read_repeatability
from .layers import DEFAULT_LAYERS, MOST_LAYERS
from .measure import KneeMeasurement, MeasureOptions, measure_knee
from .results import Segmented, write_results
from .shape.stage import ShapeResults, choose_model, fit_knee_shape
from .structures import BY_NAME, INPUT_NAMES, STRUCTURES, UNSPLIT_TIBIAL_CARTILAGE
from .t2.stage import T2Results, check_parameters, map_t2

#: What can be left out (job parameter ``without``). Segmentation is left out by giving one.
STAGES = ("thickness", "shape", "t2", "report")

#: Where each step ends, as a fraction of the whole job: with inference, and without.
_WITH_MODEL = {"read": 0.04, "segment": 0.64, "measure": 0.76, "shape": 0.82, "t2": 0.88}
_WITHOUT_MODEL = {"read": 0.08, "segment": 0.12, "measure": 0.45, "shape": 0.62, "t2": 0.74}


def run(job: Job, context: JobContext) -> Result:
    """Segment (unless a segmentation is given) and measure a knee.

    Inputs: ``image`` and / or ``segmentation``; ``echoes``: files of the single echoes where the image is not DICOM;
    ``baseline``: the folder of a finished knee job of the same knee at an earlier time, or its segmentation.
    Parameters: ``side`` (auto, left, right), ``labels`` (name -> value of a label map), ``device``, ``without`` (list
    of ``STAGES``), ``layers`` (number of depth layers), ``t2`` (see ``t2.stage``), ``shape_model`` (id; the embedded
    one by default), ``baseline_labels`` (as ``labels``, which it is by default). The model is the job's, or the first
    knee model of the registry.

    Raises:
        SuiteError: of the kind that names what is wrong.
    """
    image_path, segmentation_path = job.inputs.get("image"), job.inputs.get("segmentation")
    if not image_path and not segmentation_path:
        raise BadArguments("The job has neither an image nor a segmentation.", "Give one of them as an input.")
    without, layers, given = _checked(job)
    baseline = baseline_file(job.inputs["baseline"]) if job.inputs.get("baseline") else None
    share = _WITHOUT_MODEL if segmentation_path else _WITH_MODEL
    volume = read_scan(image_path, context) if image_path else None
    if volume is not None and job.inputs.get("echoes"):
        volume = with_echoes(volume, job.inputs["echoes"], given)
    context.progress("Reading the scan", share["read"])
    if segmentation_path:
        segmented = read_given_segmentation(segmentation_path, job.parameters.get("labels"), context)
        for text in check_on_scan(segmented.labels, volume.image) if volume is not None else ():
            context.warn(text)
    else:
        segmented = segment_scan(volume, job, context, share)
    measurement = measure_knee(
        segmented.labels,
        segmented.names,
        job.parameters.get("side", "auto"),
        MeasureOptions(layers=layers, surfaces="thickness" not in without),
        progress=_within(context, share["segment"], share["measure"]),
    )
    for text in measurement.warnings:
        context.warn(text)
    shape = None
    if "shape" not in without:
        shape = measure_shape(measurement, job, context, _within(context, share["measure"], share["shape"]))
    t2 = None
    if volume is not None and "t2" not in without:
        t2 = measure_t2(volume, measurement, given, layers, context, _within(context, share["shape"], share["t2"]))
    change = None
    if baseline is not None:
        change = compare_with(baseline, measurement, job, context, share)
    return write_results(
        segmented, measurement, volume, job, context, share["t2"], t2, layers, change, shape,
        report="report" not in without,
    )  # fmt: skip


def _checked(job: Job) -> tuple[list[str], int, dict]:
    """Stages to leave out, number of layers and T2 parameters of a job.

    Raises:
        BadArguments
    """
    without, layers = job.parameters.get("without", []), job.parameters.get("layers", DEFAULT_LAYERS)
    if not isinstance(without, list) or not set(without) <= set(STAGES):
        raise BadArguments(f"What to leave out is {without!r}.", f"Choose among {', '.join(STAGES)}.")
    if type(layers) is not int or not 1 <= layers <= MOST_LAYERS:
        raise BadArguments(f"The number of layers is {layers!r}.", f"Choose 1 to {MOST_LAYERS}.")
    if "thickness" in without:
        without = [*without, "shape", "t2"]  # both need the surfaces of the bones
    if not isinstance(job.parameters.get("shape_model") or "", str):
        raise BadArguments("The job's shape_model is no text.", "Give the id of a shape model.")
    given = job.parameters.get("t2") or {}
    check_parameters(given)
    return without, layers, given


def _within(context: JobContext, begin: float, end: float):
    """A progress function for a part of the job."""
    return lambda stage, fraction: context.progress(stage, begin + fraction * (end - begin))


def read_scan(path: str, context: JobContext) -> Volume:
    """Read and check the image; its oddities become warnings."""
    context.progress("Reading the scan", 0.01)
    volume = read_volume(path)
    for text in [*volume.warnings, *check_knee_volume(volume, path)]:
        context.warn(text)
    context.log.info("Image: %s", {k: v for k, v in volume.info.items() if v is not None})
    return volume


def with_echoes(volume: Volume, paths: list[str] | str, given: dict) -> Volume:
    """The scan with its echoes from files of their own, and their combination as the image to segment.

    Two echoes are qDESS, more a train of spin echoes, unless the T2 parameter ``kind`` says otherwise.

    Raises:
        SuiteError: a file is unreadable, or on another grid.
    """
    paths = [paths] if isinstance(paths, str) else paths
    echoes = [read_volume(path).image for path in paths]
    for path, echo in zip(paths, echoes, strict=True):
        if not same_grid(echo, volume.image):
            raise BadArguments(f"The echo {path} lies on another grid than the scan.", "Give echoes of one scan.")
    if len(echoes) < 2:
        raise BadArguments("One echo alone gives no T2.", "Give all echoes of the scan, in the order of their times.")
    kind = given.get("kind") or ("qdess" if len(echoes) == 2 else "multi_echo_spin_echo")
    return replace(volume, image=root_sum_of_squares(echoes), echoes=echoes, info=volume.info | {"kind": kind})


def read_given_segmentation(path: str, labels: dict | None, context: JobContext) -> Segmented:
    """A segmentation from elsewhere, in our own label values; its shapes are not changed."""
    image, names = read_segmentation(path, labels, INPUT_NAMES, context.warn)
    if {"femur", "tibia"} <= set(names):  # a mask of cartilage alone is no whole knee, and need not be
        for text in plausible_knee(image, names):
            context.warn(text)
    return Segmented(*in_own_values(image, names), None)


def segment_scan(volume: Volume, job: Job, context: JobContext, share: dict[str, float]) -> Segmented:
    """Run the model and clean up what it found."""
    from MRISegSuiteLib.models.inference import segment

    asked = job.model or {}
    card = Registry().choose("knee", asked.get("id"), asked.get("sha256"))
    span = 0.97 * (share["segment"] - share["read"])
    prediction = segment(
        volume.image,
        card,
        job.device,
        lambda stage, fraction: context.progress(stage, share["read"] + fraction * span),
    )
    for text in prediction.warnings:
        context.warn(text)
    context.log.info("Segmented by %s %s on %s", card.id, card.version, prediction.device)
    context.progress("Cleaning up the segmentation", share["read"] + span)
    known = {name: value for name, value in prediction.names.items() if name in INPUT_NAMES}
    labels, removed = clean_labels(prediction.labels, known)
    for text in [*removed, *plausible_knee(labels, known)]:
        context.warn(text)
    return Segmented(*in_own_values(labels, known), card.to_record())


def measure_shape(measurement: KneeMeasurement, job: Job, context: JobContext, progress=None) -> ShapeResults | None:
    """The shape of a bone; None where it is not in the scan, or there is no model and none was asked for."""
    asked = job.parameters.get("shape_model")
    card = choose_model(asked)
    if card is None:
        return None
    found = fit_knee_shape(measurement, card, progress=progress)
    if isinstance(found, str):
        if asked:
            context.warn(found)
        else:
            context.log.info("%s", found)
        return None
    for text in found.warnings:
        context.warn(text)
    return found


def measure_t2(
    volume: Volume, measurement: KneeMeasurement, given: dict, layers: int, context: JobContext, progress=None
) -> T2Results | None:
    """T2 of a scan with echoes; of other scans none, said only where a person asked for it."""
    found = map_t2(volume, measurement, given, layers, progress)
    if isinstance(found, str):
        if len(volume.echoes) > 1 or given:
            context.warn(found)
        return None
    for text in found.warnings:
        context.warn(text)
    return found


def baseline_file(path: str) -> Path:
    """The segmentation of an earlier time: the file itself, or that of a finished job in a folder.

    Raises:
        SuiteError: the folder holds no finished knee job.
    """
    source = Path(path)
    if not source.is_dir():
        return source
    earlier = Result.read(source)
    if earlier.failure() is not None or "segmentation" not in earlier.files:
        raise BadArguments(f"{source} holds no finished knee job.", "Give the output folder of the earlier time.")
    return source / earlier.files["segmentation"]


def compare_with(
    source: Path, measurement: KneeMeasurement, job: Job, context: JobContext, share: dict[str, float]
) -> KneeChange:
    """Measure the baseline again, in the same way, and compare.

    Raises:
        SuiteError: the baseline cannot be read.
    """
    context.progress("Measuring the baseline", share["t2"])
    labels = job.parameters.get("baseline_labels")
    if labels is None and not source.name.lower().endswith(".seg.nrrd"):
        labels = job.parameters.get("labels")
    before = read_given_segmentation(str(source), labels, context)
    side = job.parameters.get("side", "auto")
    baseline = measure_knee(before.labels, before.names, side, MeasureOptions(only_measure=True))
    change = compare_knees(baseline, measurement, read_repeatability())
    for text in [*(f"Baseline: {text}" for text in baseline.warnings), *change.warnings]:
        context.warn(text)
    return change


def in_own_values(labels: sitk.Image, names: dict[str, int]) -> tuple[sitk.Image, dict[str, int]]:
    """The label map with the values of STRUCTURES; unsplit tibial cartilage gets a value of its own for now."""
    own = {name: BY_NAME[name].label for name in BY_NAME} | {UNSPLIT_TIBIAL_CARTILAGE: len(STRUCTURES) + 1}
    array = sitk.GetArrayViewFromImage(labels)
    table = np.zeros(max(int(array.max()), *names.values()) + 1, np.uint8)
    for name, value in names.items():
        table[value] = own[name]
    image = sitk.GetImageFromArray(table[array])
    image.CopyInformation(labels)
    return image, {name: own[name] for name in names}
