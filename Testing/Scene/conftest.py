"""Fixtures for tests with real MRML (slicer-core)."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).parent))  # scene_helpers, scene_rendering
pytest.importorskip("slicer", reason="slicer-core is not installed")

from scene_helpers import write_job

from KneeSegLib.measure import MeasureOptions, measure_knee
from KneeSegLib.structures import STRUCTURES
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
    """A real right knee with our label values; every third voxel in the slice, to be quick."""
    image = sitk.ReadImage(str(next((shared_data / "knee_meshes").glob("*label.nrrd"))))
    table = np.zeros(256, dtype=np.uint8)
    for theirs, ours in _OURS.items():
        table[theirs] = ours
    image = sitk.Cast(sitk.ChangeLabel(image, dict(_OURS)), sitk.sitkUInt8)
    return image[::3, ::3, :]


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
