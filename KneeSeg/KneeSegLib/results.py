"""Writing what a knee job found: segmentation, surfaces, T2 map, layers, table, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.images.reading import Volume
from MRISegSuiteLib.images.segmentation_files import write_segmentation
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, JobContext, Measurement, Result
from MRISegSuiteLib.jobs.tables import write_table
from MRISegSuiteLib.meshes.polydata import set_point_data, write_vtp

from .followup.change import KneeChange
from .layers import layer_structures
from .measure import KneeMeasurement, on_grid_of
from .shape.stage import ShapeResults
from .structures import BY_NAME, STRUCTURES
from .t2.stage import T2Results

if TYPE_CHECKING:
    from MRISegSuiteLib.reports.html_report import Table


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


def write_results(
    segmented: Segmented,
    measurement: KneeMeasurement,
    volume: Volume | None,
    job: Job,
    context: JobContext,
    begin: float,
    t2: T2Results | None = None,
    layers: int = 1,
    change: KneeChange | None = None,
    shape: ShapeResults | None = None,
    tables: Sequence[Table] = (),
    report: bool = True,
) -> Result:
    """Write segmentation, surfaces, maps, table and report into the job's folder.

    ``begin`` is the fraction of the job done so far; ``layers`` the number of depth layers; ``tables`` are further
    tables for the report, which is drawn where ``report`` says so.
    """
    context.progress("Writing the results", begin)
    labels = measurement.labels
    model = segmented.model
    result = Result(
        model=model, parameters={"side_found": measurement.side, "side_found_from": measurement.side_source}
    )
    result.files["segmentation"] = _write_labels(
        labels, STRUCTURES, "segmentation.seg.nrrd", measurement.side, model, context.folder
    )
    if layers > 1 and any(bone.cartilages for bone in measurement.bones.values()):
        result.files["layers"] = _write_labels(
            layer_labels(measurement, layers),
            layer_structures(layers),
            "layers.seg.nrrd",
            measurement.side,
            model,
            context.folder,
        )
    if t2 is not None:
        # Most of it is noise, which compression hardly makes smaller, but slow to write here and to load into a scene.
        write_image(t2.image, context.folder / "t2.nrrd", compress=False)
        result.files["t2"] = "t2.nrrd"
        for bone, fields in t2.point_data.items():
            for name, values in fields.items():
                set_point_data(measurement.surfaces[bone], name, values)
    if change is not None:
        for bone, matched in change.bones.items():
            compared = np.isfinite(matched.change)
            mesh = measurement.surfaces[bone]
            set_point_data(mesh, "change_mm", np.where(compared, matched.change, 0).astype(np.float32))
            set_point_data(mesh, "compared", compared)
    if shape is not None:
        _write_shape(shape, measurement, result, context.folder)
    for name, mesh in measurement.surfaces.items():
        write_vtp(mesh, context.folder / f"surface_{name}.vtp")
        result.files[f"surface_{name}"] = f"surface_{name}.vtp"
    rows = [*measurement.rows, *(row for stage in (shape, t2, change) if stage for row in stage.rows)]
    result.measurements = measurements_of(rows)
    write_table(result.measurements, context.folder / "table.csv")
    result.files["table"] = "table.csv"
    if report:
        context.progress("Drawing the report", begin + 0.3 * (1 - begin))
        result.files |= _write_report(result, measurement, volume, job, context, t2, tables)
    context.progress("Finishing", 0.99)
    return result


def _write_report(result: Result, measurement: KneeMeasurement, volume, job: Job, context: JobContext, t2, tables):
    from .report import write_knee_report  # brings matplotlib, which takes a second

    present = {int(v) for v in np.unique(sitk.GetArrayViewFromImage(measurement.labels))}
    record = result.to_record() | {
        "warnings": context.warnings,
        "inputs": [{"role": role, "file": str(path)} for role, path in job.input_paths()],
        "parameters": job.parameters | result.parameters,
    }
    return write_knee_report(
        context.folder,
        record,
        volume.image if volume else None,
        measurement.labels,
        {s.name: s.label for s in STRUCTURES if s.label in present},
        measurement.surfaces,
        measurement.side,
        t2=t2.image if t2 else None,
        tables=tables,
    )


def _write_shape(shape: ShapeResults, measurement: KneeMeasurement, result: Result, folder: Path) -> None:
    for bone, fields in shape.point_data.items():
        for name, values in fields.items():
            set_point_data(measurement.surfaces[bone], name, values)
    for name, mesh in shape.surfaces.items():
        write_vtp(mesh, folder / f"shape_{name}.vtp")
        result.files[f"shape_{name}"] = f"shape_{name}.vtp"
    write_json(folder / "shape.json", shape.record)
    result.files["shape"] = "shape.json"


def _write_labels(labels, structures, name: str, side: str, model: dict | None, folder: Path) -> str:
    side = side if side in ("left", "right") else None
    algorithm = f"MRI Seg Suite {model['id']} {model['version']}" if model else "MRI Seg Suite"
    kind = "AUTOMATIC" if model else "SEMIAUTOMATIC"
    write_segmentation(labels, structures, folder / name, side, algorithm, kind)
    return name


def layer_labels(measurement: KneeMeasurement, layers: int) -> sitk.Image:
    """The depth layers of the cartilages (values of ``layers.layer_structures``) on the grid of the segmentation."""
    array = np.zeros(measurement.knee.labels.shape, np.uint8)
    for bone in measurement.bones.values():
        for name, cartilage in bone.cartilages.items():
            array[tuple(cartilage.voxels.index.T)] = 10 * BY_NAME[name].label + 1 + cartilage.voxels.layer(layers)
    return on_grid_of(measurement.labels, measurement.knee, array)


def measurements_of(found: Sequence[dict]) -> list[Measurement]:
    """Rows of the measurement for result.json; a standard deviation becomes a row of its own, named ``…_SD``, and a
    smallest detectable change the interval around a change."""
    rows = []
    for row in found:
        where = {"structure": row["structure"], "region": row["region"], "unit": row["unit"], "method": row["method"]}
        interval = (row["value"] - row["sdc"], row["value"] + row["sdc"]) if "sdc" in row else None
        rows.append(Measurement(name=row["name"], value=row["value"], interval=interval, **where))
        if "sd" in row:
            rows.append(Measurement(name=f"{row['name']}_SD", value=row["sd"], **where))
    return rows
