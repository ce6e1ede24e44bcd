"""The demo task: segment and measure a virtual knee that the network never saw; compare with its known truth."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.segmentation_files import write_segmentation
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, JobContext, Measurement, Result
from MRISegSuiteLib.reports.html_report import Table

from .measure import KneeMeasurement, MeasureOptions, measure_knee
from .pipeline import in_own_values, measure_shape, read_scan, segment_scan
from .results import Segmented, write_results
from .structures import BY_NAME, STRUCTURES
from .subregions import SUBREGIONS

#: Where each step ends, as a fraction of the whole job.
_SHARE = {"made": 0.18, "read": 0.2, "segment": 0.72, "measure": 0.84, "truth": 0.92}
DEFAULT_SEED = 2026
SPACING_MM = (1.4, 0.36, 0.36)


def run(job: Job, context: JobContext) -> Result:
    """Make, segment, measure and compare a virtual knee.

    Parameters: ``seed`` (which knee; the same number gives the same knee), ``device``.
    """
    seed = int(job.parameters.get("seed", DEFAULT_SEED))
    context.progress("Making a virtual knee", 0.01)
    image, truth = make_virtual_knee(
        seed, lambda fraction: context.progress("Making a virtual knee", fraction * _SHARE["made"])
    )
    path = write_image(image, context.folder / "virtual_knee.nii.gz")
    volume = read_scan(str(path), context)
    segmented = segment_scan(volume, job, context, _SHARE)
    side = "right"  # the label maps behind the shape model are right knees

    def progress_to(begin, end):
        return lambda stage, fraction: context.progress(stage, begin + fraction * (end - begin))

    measurement = measure_knee(
        segmented.labels, segmented.names, "auto", progress=progress_to(_SHARE["segment"], _SHARE["measure"])
    )
    for text in measurement.warnings:
        context.warn(text)
    shape = measure_shape(measurement, job, context)
    context.progress("Measuring the truth", _SHARE["measure"])
    known = measure_knee(
        truth.labels,
        truth.names,
        side,
        MeasureOptions(only_measure=True),
        lambda _, fraction: context.progress("Measuring the truth", _SHARE["measure"] + 0.07 * fraction),
    )
    comparison = compare(segmented, measurement, truth, known)
    result = write_results(
        segmented,
        measurement,
        volume,
        job,
        context,
        _SHARE["truth"],
        shape=shape,
        tables=comparison_tables(comparison),
    )
    result.measurements += comparison
    write_segmentation(known.labels, STRUCTURES, context.folder / "truth.seg.nrrd", side, "MRI Seg Suite virtual knee")
    result.files |= {"image": path.name, "truth": "truth.seg.nrrd"}
    result.parameters["seed"] = seed
    return result


def make_virtual_knee(
    seed: int, progress=lambda fraction: None, spacing_mm: tuple[float, float, float] = SPACING_MM
) -> tuple[sitk.Image, Segmented]:
    """An MR-like volume and its truth, drawn from the shape model of subjects held out from the training.

    The contrast is double-echo steady state with fat suppression, 1.4 mm slices, as a common knee protocol has it.

    Args:
        seed: which knee.
        progress: called with 0..1.
        spacing_mm: of slices, rows and columns.

    Returns:
        image (int16, LPS) and truth on the same grid.
    """
    from .virtual_knee.acquisition import Scanner, acquire
    from .virtual_knee.anatomy_labels import CANONICAL_DIRECTION, TARGET_NAMES
    from .virtual_knee.contrast import Protocol
    from .virtual_knee.deformation import deform
    from .virtual_knee.shape_model import ShapeModel
    from .virtual_knee.tissues import build_tissues

    rng = np.random.default_rng(seed)
    spacing = (spacing_mm[0] / 2, spacing_mm[1], spacing_mm[2])
    labels = ShapeModel.read().random_labels(rng, spacing)
    progress(0.25)
    labels = deform(labels, spacing, rng, margin_mm=(6, 8, 8), strength=0.5)
    progress(0.35)
    knee = build_tissues(labels, spacing, rng)
    progress(0.85)
    protocol = Protocol("dess", repetition_ms=18, echo_ms=5.5, flip_deg=25, fat_remaining=0.02)
    scanner = Scanner(pixel_mm=spacing_mm[1], slice_step=2, slice_width=2, noise=0.02, shading=0.15, texture=0.06)
    image, truth = acquire(knee, protocol, scanner, rng, spread=0.5)
    progress(1.0)

    def as_image(array):
        result = sitk.GetImageFromArray(array)
        result.SetSpacing(spacing_mm[::-1])
        result.SetDirection(CANONICAL_DIRECTION)
        return result

    return as_image(np.rint(1000 * image).clip(0, 32767).astype(np.int16)), Segmented(
        *in_own_values(as_image(truth), TARGET_NAMES), None
    )


def compare(
    segmented: Segmented, measurement: KneeMeasurement, truth: Segmented, known: KneeMeasurement
) -> list[Measurement]:
    """Dice a structure, and the error of mean thickness a region (found minus true)."""
    found_array, true_array = (sitk.GetArrayViewFromImage(s.labels) for s in (segmented, truth))
    rows = []
    for name, value in segmented.names.items():
        if name not in truth.names:
            continue
        found, true = found_array == value, true_array == truth.names[name]
        total = int(found.sum()) + int(true.sum())
        score = 2 * int((found & true).sum()) / total if total else float("nan")
        rows.append(Measurement("Dice", name, "whole", score, "1", "voxels, against the known truth"))
    true_values = {(r["structure"], r["region"]): r["value"] for r in known.rows if r["name"] == "ThCtAB"}
    for row in measurement.rows:
        key = (row["structure"], row["region"])
        if row["name"] == "ThCtAB" and key in true_values and row["region"] not in SUBREGIONS.values():
            rows.append(
                Measurement("ThCtAB_true", *key, true_values[key], "mm", "the same measurement on the known truth")
            )
            rows.append(Measurement("ThCtAB_error", *key, row["value"] - true_values[key], "mm", "found minus true"))
    return rows


def comparison_tables(comparison: list[Measurement]) -> list[Table]:
    """The comparison as tables of the report."""
    values = {(m.name, m.structure, m.region): m.value for m in comparison}
    overlap = [
        [BY_NAME[structure].title if structure in BY_NAME else "Tibial cartilage", value]
        for (name, structure, _), value in values.items()
        if name == "Dice"
    ]
    thickness = []
    for (name, structure, region), true in values.items():
        if name == "ThCtAB_true":
            error = values[("ThCtAB_error", structure, region)]
            title = BY_NAME[structure].title + ("" if region == "whole" else f", {region.replace('_', ' ')}")
            thickness.append([title, true, true + error, error])
    note = "The truth is the label map from which the virtual scan was made."
    return [
        Table("Overlap with the truth", ["Structure", "Dice"], overlap, note),
        Table("Mean thickness (ThCtAB) against the truth, mm", ["Region", "True", "Found", "Error"], thickness, note),
    ]
