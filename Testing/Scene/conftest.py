"""Fixtures for tests with real MRML (slicer-core)."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core is not installed")

from KneeSegLib.measure import MeasureOptions, measure_knee
from KneeSegLib.structures import STRUCTURES
from MRISegSuiteLib.images.segmentation_files import write_segmentation
from MRISegSuiteLib.jobs import Job, Measurement, Result
from MRISegSuiteLib.meshes.polydata import write_vtp
from MRISegSuiteLib.scene.headless import HeadlessSlicer

# Numbers of the shared label map -> ours (see shared/data/README.md).
_OURS = {1: 4, 2: 5, 3: 6, 4: 7, 5: 1, 6: 2, 7: 3, 8: 10, 9: 9, 10: 8}
_GRAY = {0: 40, 1: 90, 2: 90, 3: 90, 4: 210, 5: 210, 6: 210, 7: 210, 8: 20, 9: 20, 10: 90}


@pytest.fixture
def headless():
    """A new empty scene with its logics, published as slicer.mrmlScene."""
    headless = HeadlessSlicer()
    headless.publish()
    yield headless
    headless.scene.Clear(1)


@pytest.fixture
def scene(headless):
    return headless.scene


@pytest.fixture(scope="session")
def knee_labels(shared_data) -> sitk.Image:
    """A real right knee with our label values; every second voxel in the slice, to be quick."""
    image = sitk.ReadImage(str(next((shared_data / "knee_meshes").glob("*label.nrrd"))))
    table = np.zeros(256, dtype=np.uint8)
    for theirs, ours in _OURS.items():
        table[theirs] = ours
    image = sitk.Cast(sitk.ChangeLabel(image, dict(_OURS)), sitk.sitkUInt8)
    return image[::2, ::2, :]


@pytest.fixture(scope="session")
def knee_image(knee_labels) -> sitk.Image:
    """A gray image that goes with the labels: tissue contrast and a little noise, int16."""
    labels = sitk.GetArrayFromImage(knee_labels)
    gray = np.vectorize(_GRAY.get, otypes=[np.int16])(np.arange(11))[labels]
    gray = gray + np.random.default_rng(1).normal(0, 8, labels.shape)
    image = sitk.GetImageFromArray(gray.astype(np.int16))
    image.CopyInformation(knee_labels)
    return image


@pytest.fixture(scope="session")
def knee_measurement(knee_labels):
    """The real measurement of that knee, with coarse surfaces."""
    names = {s.name: s.label for s in STRUCTURES}
    points = {name: 3000 for name in names}
    return measure_knee(knee_labels, names, "auto", MeasureOptions(points=points))


@pytest.fixture(scope="session")
def knee_job(tmp_path_factory, knee_image, knee_labels, knee_measurement) -> Path:
    """The folder of a finished knee job, as the worker leaves it."""
    folder = tmp_path_factory.mktemp("knee")
    sitk.WriteImage(knee_image, str(folder / "knee.nrrd"))
    return write_job(folder / "out", folder / "knee.nrrd", knee_labels, knee_measurement)


def write_job(folder, image_path, labels, measurement, **overrides) -> Path:
    """Write a job folder with job.json, products and result.json."""
    folder.mkdir(parents=True)
    job = Job("knee", {"image": str(image_path)}, {"side": "auto"}, {"id": "test_model"})
    job.write(folder)
    files = {"segmentation": "segmentation.seg.nrrd"}
    write_segmentation(labels, STRUCTURES, folder / files["segmentation"], measurement.side, "test_model 1")
    for name, mesh in measurement.surfaces.items():
        files[f"surface_{name}"] = f"{name}.vtp"
        write_vtp(mesh, folder / f"{name}.vtp")
    measurements = []
    for row in measurement.rows:
        row = dict(row)
        sd = row.pop("sd", None)
        measurements.append(Measurement(**row))
        if sd is not None:
            measurements.append(Measurement(**{**row, "name": row["name"] + "_SD", "value": sd}))
    fields = dict(
        files=files, measurements=measurements, warnings=list(measurement.warnings), task="knee",
        model={"id": "test_model", "version": "1", "sha256": "ab" * 32},
        parameters={"side": "auto", "side_found": measurement.side},
        inputs=[{"role": "image", "file": str(image_path), "sha256": "cd" * 32}],
    )
    Result(**(fields | overrides)).write(folder)
    return folder
