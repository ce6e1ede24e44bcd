"""A knee for the tests: drawn from the packaged shape model, so that no scan and no download is needed."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KneeSegLib.structures import STRUCTURES
from KneeSegLib.virtual_knee.anatomy_labels import CANONICAL_DIRECTION, TARGET_NAMES
from KneeSegLib.virtual_knee.shape_model import ShapeModel
from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.jobs.runner import library_folders
from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node
from MRISegSuiteLib.scene.volumes import new_volume_node

SPACING_MM = (1.4, 0.8, 0.8)
_GRAY = {"femur": 40, "tibia": 40, "patella": 40, "femoral_cartilage": 220, "tibial_cartilage": 220,
         "patellar_cartilage": 220}


def label_image(spacing=SPACING_MM) -> sitk.Image:
    """The mean knee (a right one); uint8, values of ``TARGET_NAMES``."""
    image = sitk.GetImageFromArray(ShapeModel.read().labels([0.0], spacing))
    image.SetSpacing(spacing[::-1])
    image.SetDirection(CANONICAL_DIRECTION)
    return image


def gray_image(labels: sitk.Image) -> sitk.Image:
    """Something to look at: a gray value for each tissue and noise; int16 on the grid of ``labels``."""
    table = np.full(256, 110, np.int16)
    for name, value in TARGET_NAMES.items():
        table[value] = _GRAY[name]
    array = table[sitk.GetArrayViewFromImage(labels)]
    array = array + np.random.default_rng(1).normal(0, 8, array.shape).astype(np.int16)
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.CopyInformation(labels)
    return image


def add_virtual_knee(scene):
    """Add a volume node "virtual knee" and a segmentation node "by hand" of it; returns both."""
    labels = label_image()
    volume = new_volume_node(scene, "virtual knee", gray_image(labels))
    colors = {s.name: s for s in STRUCTURES}
    looks = []
    for name in TARGET_NAMES:
        like = colors.get(name) or colors["medial_tibial_cartilage"]  # the tibia's plates are not split yet
        title = name.replace("_", " ").capitalize()
        looks.append(SegmentLook(name, title, like.color,
                                 terminology_entry(like.category, like.code, like.region, None)))
    return volume, new_segmentation_node(scene, "by hand", labels, TARGET_NAMES, looks, volume)


def add_virtual_scan(scene):
    """Add a volume node "virtual scan": a coarse MRI of a virtual knee, as the embedded model knows them."""
    worker = WorkerEnvironment.default()
    environment = worker.environment_variables()
    folders = [*library_folders(), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    script = Path(__file__).with_name("make_virtual_scan.py")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nrrd"
        subprocess.run([str(worker.python), str(script), str(path)], env=environment, check=True)
        return new_volume_node(scene, "virtual scan", sitk.ReadImage(str(path)))
