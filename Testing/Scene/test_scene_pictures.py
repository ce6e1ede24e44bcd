"""What a person sees: slice views with the segments over the image, the bones in 3D with thickness colors."""

import os
from pathlib import Path

import numpy as np
import pytest
from scene_rendering import View, save_png, slice_picture

from KneeSegLib.scene import add_results
from KneeSegLib.structures import BY_NAME
from MRISegSuiteLib.scene.colors import OUTSIDE_COLOR
from MRISegSuiteLib.scene.volumes import new_volume_node


@pytest.fixture
def keep(tmp_path):
    """Where pictures go; MRISEG_TEST_PICTURES names a folder to look at them."""
    folder = Path(os.environ.get("MRISEG_TEST_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def hues_near(picture, color, tolerance=0.12):
    """Part of the colored pixels whose color, brightness apart, is that of ``color``."""
    rgb = picture.reshape(-1, 3).astype(float) / 255
    spread = rgb.max(axis=1) - rgb.min(axis=1)
    colored = rgb[spread > 0.08]
    if not len(colored):
        return 0.0
    wanted = np.array(color) - np.mean(color)
    wanted /= np.linalg.norm(wanted)
    chroma = colored - colored.mean(axis=1, keepdims=True)
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True)
    return float((np.linalg.norm(chroma - wanted, axis=1) < tolerance * 4).mean())


def test_slice_views_show_the_segments_over_the_image(headless, scene, knee_job, knee_image, keep):
    volume = new_volume_node(scene, "knee", knee_image)
    bare = slice_picture(headless, volume, "Sagittal", -50)
    assert bare.std() > 5 and np.ptp(bare, axis=2).max() == 0  # gray
    add_results(scene, knee_job, volume)
    shown = {}
    for orientation, offset in (("Sagittal", -50), ("Coronal", None), ("Axial", None)):
        shown[orientation] = slice_picture(headless, volume, orientation, offset)
        save_png(shown[orientation], keep / f"scene_{orientation.lower()}.png")
    # The medial compartment: femur, tibia, femoral and medial tibial cartilage are cut there, the lateral one is not.
    for name in ("femoral_cartilage", "medial_tibial_cartilage"):
        assert hues_near(shown["Sagittal"], BY_NAME[name].color) > 0.005, name
    assert hues_near(shown["Sagittal"], BY_NAME["lateral_tibial_cartilage"].color) < hues_near(
        shown["Coronal"], BY_NAME["lateral_tibial_cartilage"].color)


def test_the_3d_view_shows_bones_thickness_and_legend(headless, scene, knee_job, knee_image, keep):
    view = View(headless)
    volume = new_volume_node(scene, "knee", knee_image)
    nodes = add_results(scene, knee_job, volume)
    front, behind = view.picture((0.2, 1, -0.3)), view.picture((0.3, -1, -0.5))
    save_png(front, keep / "scene_3d_front.png")
    save_png(behind, keep / "scene_3d_behind.png")
    for picture in (front, behind):
        assert hues_near(picture, OUTSIDE_COLOR) > 0.2  # bone
        assert hues_near(picture, (0.13, 0.57, 0.55)) > 0.02  # cartilage of about 2 mm
    for model in nodes.models.values():
        model.SetDisplayVisibility(False)
    empty = view.picture((0.2, 1, -0.3))
    # The legend is on the right, only while its model is shown.
    right = np.s_[60:-60, -120:]
    assert np.abs(front[right].astype(int) - empty[right]).max() > 100
    assert np.ptp(empty[right].astype(int), axis=1).max() <= 3
