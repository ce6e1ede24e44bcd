"""The knee task: from a scan, or a finished segmentation, to surfaces, thickness, table and report.

Runs in the worker process (task ``knee``). The steps are functions of their own below, in the order in which they run.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.checks import check_knee_volume
from MRISegSuiteLib.images.plausibility import plausible_knee
from MRISegSuiteLib.images.reading import Volume, read_volume
from MRISegSuiteLib.images.segmentation_files import read_segmentation, write_segmentation
from MRISegSuiteLib.jobs import Job, JobContext, Measurement, Result
from MRISegSuiteLib.meshes.polydata import write_vtp
from MRISegSuiteLib.models import Registry
from MRISegSuiteLib.reports.html_report import Table

from .cleaning import clean_labels
from .measure import KneeMeasurement, measure_knee
from .report import write_knee_report
from .structures import BY_NAME, INPUT_NAMES, STRUCTURES, UNSPLIT_TIBIAL_CARTILAGE

#: Where each step ends, as a fraction of the whole job: with inference, and without.
_WITH_MODEL = {"read": 0.04, "segment": 0.72, "measure": 0.88}
_WITHOUT_MODEL = {"read": 0.10, "segment": 0.15, "measure": 0.70}


@dataclass
class Segmented:
    """A knee's label map in our own values.

    Attributes:
        labels: uint8, values of ``structures.STRUCTURES``.
        names: the structures in it -> value.
        model: id, version and sha256; None when a segmentation was given.
    """

    labels: sitk.Image
    names: dict[str, int]
    model: dict | None


def run(job: Job, context: JobContext) -> Result:
    """Segment (unless a segmentation is given) and measure a knee.

    Inputs: ``image`` and / or ``segmentation``. Parameters: ``side`` (auto, left, right), ``labels`` (name -> value of
    a label map), ``device``. The model is the job's, or the first knee model of the registry.

    Raises:
        SuiteError: of the kind that names what is wrong.
    """
    image_path, segmentation_path = job.inputs.get("image"), job.inputs.get("segmentation")
    if not image_path and not segmentation_path:
        raise BadArguments("The job has neither an image nor a segmentation.", "Give one of them as an input.")
    share = _WITHOUT_MODEL if segmentation_path else _WITH_MODEL
    volume = read_scan(image_path, context) if image_path else None
    context.progress("Reading the scan", share["read"])
    if segmentation_path:
        segmented = read_given_segmentation(segmentation_path, job.parameters.get("labels"), context)
    else:
        segmented = segment_scan(volume, job, context, share)
    measurement = measure_knee(
        segmented.labels,
        segmented.names,
        job.parameters.get("side", "auto"),
        progress=lambda stage, fraction: context.progress(
            stage, share["segment"] + fraction * (share["measure"] - share["segment"])
        ),
    )
    for text in measurement.warnings:
        context.warn(text)
    return write_results(segmented, measurement, volume, job, context, share["measure"])


def read_scan(path: str, context: JobContext) -> Volume:
    """Read and check the image; its oddities become warnings."""
    context.progress("Reading the scan", 0.01)
    volume = read_volume(path)
    for text in [*volume.warnings, *check_knee_volume(volume, path)]:
        context.warn(text)
    context.log.info("Image: %s", {k: v for k, v in volume.info.items() if v is not None})
    return volume


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


def write_results(
    segmented: Segmented,
    measurement: KneeMeasurement,
    volume: Volume | None,
    job: Job,
    context: JobContext,
    begin: float,
    tables: Sequence[Table] = (),
) -> Result:
    """Write segmentation, surfaces, table and report into the job's folder.

    ``begin`` is the fraction of the job done so far; ``tables`` are further tables for the report.
    """
    context.progress("Writing the results", begin)
    labels = measurement.labels
    side = measurement.side if measurement.side in ("left", "right") else None
    model = segmented.model
    result = Result(
        model=model, parameters={"side_found": measurement.side, "side_found_from": measurement.side_source}
    )
    algorithm = f"MRI Seg Suite {model['id']} {model['version']}" if model else "MRI Seg Suite"
    write_segmentation(
        labels,
        STRUCTURES,
        context.folder / "segmentation.seg.nrrd",
        side,
        algorithm,
        "AUTOMATIC" if model else "SEMIAUTOMATIC",
    )
    result.files["segmentation"] = "segmentation.seg.nrrd"
    for name, mesh in measurement.surfaces.items():
        write_vtp(mesh, context.folder / f"surface_{name}.vtp")
        result.files[f"surface_{name}"] = f"surface_{name}.vtp"
    result.measurements = measurements_of(measurement)
    write_table(result.measurements, context.folder / "table.csv")
    result.files["table"] = "table.csv"
    context.progress("Drawing the report", begin + 0.3 * (1 - begin))
    present = {int(v) for v in np.unique(sitk.GetArrayViewFromImage(labels))}
    record = result.to_record() | {
        "warnings": context.warnings,
        "inputs": [{"role": role, "file": str(path)} for role, path in job.input_paths()],
        "parameters": job.parameters | result.parameters,
    }
    result.files |= write_knee_report(
        context.folder,
        record,
        volume.image if volume else None,
        labels,
        {s.name: s.label for s in STRUCTURES if s.label in present},
        measurement.surfaces,
        measurement.side,
        tables=tables,
    )
    context.progress("Finishing", 0.99)
    return result


def measurements_of(measurement: KneeMeasurement) -> list[Measurement]:
    """Rows of the measurement for result.json; a standard deviation becomes a row of its own, named ``…_SD``."""
    rows = []
    for row in measurement.rows:
        where = {"structure": row["structure"], "region": row["region"], "unit": row["unit"], "method": row["method"]}
        rows.append(Measurement(name=row["name"], value=row["value"], **where))
        if "sd" in row:
            rows.append(Measurement(name=f"{row['name']}_SD", value=row["sd"], **where))
    return rows


def write_table(measurements: list[Measurement], path: Path) -> None:
    """The table as CSV: a line a region, a column an outcome with its unit."""
    columns = list(dict.fromkeys((m.name, m.unit) for m in measurements))
    lines: dict[tuple[str, str], dict] = {}
    for m in measurements:
        lines.setdefault((m.structure, m.region), {})[(m.name, m.unit)] = m.value
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["structure", "region", *(f"{name} ({unit})" for name, unit in columns)])
        for (structure, region), values in lines.items():
            cells = (values.get(column) for column in columns)
            writer.writerow(
                [structure, region, *("" if v is None or not np.isfinite(v) else f"{v:.6g}" for v in cells)]
            )


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
