"""Two timepoints of one knee: registration of the bones, change that is known, change that is none, real pairs."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from knee_phantoms import NAMES, knee, mirrored, rotated
from scipy.spatial.transform import Rotation

from KneeSegLib.followup.change import compare_knees, read_repeatability, smallest_detectable_change
from KneeSegLib.measure import MeasureOptions, measure_knee
from KneeSegLib.registration import register_bone
from MRISegSuiteLib.meshes.surface_fields import point_normals

SMALL = MeasureOptions(points={"femur": 6000, "tibia": 5000, "patella": 2500}, only_measure=True)
EXPERT_NAMES = {
    "femur": [1, 7], "femoral_cartilage": 2, "tibia": [3, 8], "tibial_cartilage": 4, "patella": [5, 9],
    "patellar_cartilage": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def baseline():
    return measure_knee(knee(), NAMES, options=SMALL)


def changes(result, name="ThCtAB"):
    return {(r["structure"], r["region"]): r["value"] for r in result.rows if r["name"] == f"{name}_change"}


def later(change) -> sitk.Image:
    """The knee at follow-up: changed, and lying otherwise in the scanner."""
    array = sitk.GetArrayFromImage(knee())
    change(array)
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(knee())
    return rotated(image)


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.floats(-8, 8)] * 3), st.tuples(*[st.floats(-15, 15)] * 3))
def test_a_moved_bone_is_laid_back(baseline, angles, shift):
    femur = baseline.bones["femur"]
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    moved = femur.points @ turn.T + shift
    fit = register_bone(moved, femur.points, point_normals(femur.points, femur.triangles))
    assert np.abs(fit(moved) - femur.points).max() < 0.05
    assert fit.residual < 0.05


def test_the_same_knee_has_not_changed(baseline):
    same = measure_knee(rotated(knee()), NAMES, options=SMALL)
    found = compare_knees(baseline, same)
    assert len(changes(found)) == 29
    assert np.abs(list(changes(found).values())).max() < 0.005
    for matched in found.bones.values():
        assert np.nanmax(np.abs(matched.change)) < 0.02


def test_a_left_knee_changes_as_its_mirror_image_does(baseline):
    def thinner(array):
        array[(array == 5) & (np.roll(array, -1, 0) == 0)] = 0

    right = compare_knees(baseline, measure_knee(later(thinner), NAMES, options=SMALL))
    left = compare_knees(
        measure_knee(mirrored(knee()), NAMES, options=SMALL),
        measure_knee(mirrored(later(thinner)), NAMES, options=SMALL),
    )
    for key, value in changes(right).items():
        assert changes(left)[key] == pytest.approx(value, abs=0.01), key


def test_a_layer_lost_from_one_plateau_is_found_there_and_nowhere_else(baseline):
    def thinner(array):  # one voxel of 0.6 mm off the medial plateau
        top = (array == NAMES["medial_tibial_cartilage"]) & (np.roll(array, -1, 0) != NAMES["medial_tibial_cartilage"])
        array[top] = 0

    found = changes(compare_knees(baseline, measure_knee(later(thinner), NAMES, options=SMALL)))
    for region in ("whole", "aMTC", "eMTC", "pMTC", "iMTC", "cMTC"):
        assert found["medial_tibial_cartilage", region] == pytest.approx(-0.6, abs=0.08), region
    others = [abs(v) for (structure, _), v in found.items() if structure != "medial_tibial_cartilage"]
    assert max(others) < 0.03


def test_cartilage_lost_to_the_border_counts_as_denuded(baseline):
    def worn(array):  # the outer third of the medial plateau: alone, the follow-up shows no bare bone there
        plate = np.argwhere(array == NAMES["medial_tibial_cartilage"])
        outside = np.percentile(plate[:, 2], 33)  # x grows to the patient's right, which is lateral here
        z, y, x = plate[plate[:, 2] < outside].T
        array[z, y, x] = 0

    after = measure_knee(later(worn), NAMES, options=SMALL)
    wanted = ("medial_tibial_cartilage", "whole", "dABp")
    alone = next(r["value"] for r in after.rows if (r["structure"], r["region"], r["name"]) == wanted)
    found = compare_knees(baseline, after)
    assert alone < 10 and changes(found, "dABp")["medial_tibial_cartilage", "whole"] > 20
    assert changes(found)["medial_tibial_cartilage", "eMTC"] < -1.2
    assert changes(found)["medial_tibial_cartilage", "iMTC"] == pytest.approx(0, abs=0.1)


def test_a_cartilage_that_is_gone_has_lost_all_of_it(baseline):
    gone = measure_knee(
        later(lambda a: np.place(a, a == NAMES["lateral_tibial_cartilage"], 0)), NAMES, options=SMALL
    )
    found = compare_knees(baseline, gone)
    key = ("lateral_tibial_cartilage", "whole")
    value = {r["name"]: r["value"] for r in found.rows if (r["structure"], r["region"]) == key}
    assert value["ThCtAB_followup"] == 0 and value["dABp_followup"] == pytest.approx(100)
    assert value["ThCtAB_change"] == pytest.approx(-value["ThCtAB_baseline"])


def test_other_knees_and_sides_are_noticed(baseline):
    left = measure_knee(mirrored(knee()), NAMES, options=SMALL)
    assert any("same knee" in text for text in compare_knees(baseline, left).warnings)
    only = measure_knee(knee(), {"femur": 1, "femoral_cartilage": 4}, side="right", options=SMALL)
    said = compare_knees(baseline, only).warnings
    assert any("tibia is there at one time only" in text for text in said)


def test_the_smallest_detectable_change_is_on_every_thickness(baseline):
    repeatability = read_repeatability()
    assert smallest_detectable_change(0.1) == pytest.approx(0.277, abs=1e-3)
    rows = compare_knees(baseline, baseline, repeatability).rows
    detectable = [r["sdc"] for r in rows if r["name"] == "ThCtAB_change"]
    assert len(detectable) == 29 and all(0 < value < 0.3 for value in detectable)


@pytest.mark.slow
def test_a_real_pair_of_the_same_knee(shared_data):
    folder = shared_data / "knee_labels"
    pair = [measure_knee(sitk.ReadImage(str(folder / f"akoa_9057479_{t}m_seg.nii.gz")), EXPERT_NAMES, options=SMALL)
            for t in ("00", "36")]  # fmt: skip
    found = compare_knees(*pair)
    assert not [text for text in found.warnings if "same knee" in text]
    assert all(matched.fit.residual < 0.6 for matched in found.bones.values())
    thickness = changes(found)
    assert len(thickness) == 29 and all(abs(value) < 1.5 for value in thickness.values())
