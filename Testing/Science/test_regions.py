"""Sides, plateaus, regions and the table of a knee whose anatomy is known; cleaning; what is absent is said."""

import numpy as np
import pytest
import SimpleITK as sitk
from knee_phantoms import NAMES, knee, mirrored

from KneeSegLib.cleaning import clean_labels
from KneeSegLib.measure import MeasureOptions, measure_knee
from KneeSegLib.plateaus import lateral_part
from KneeSegLib.regions import FEMORAL_REGIONS, REGIONS
from MRISegSuiteLib.errors import BadArguments, WrongContent
from MRISegSuiteLib.meshes.polydata import get_point_data, to_arrays

SMALL = MeasureOptions(points={"femur": 6000, "tibia": 5000, "patella": 2500}, only_measure=True)


def changed(change) -> sitk.Image:
    array = sitk.GetArrayFromImage(knee())
    change(array)
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(knee())
    return image


@pytest.fixture(scope="module")
def measured():
    return measure_knee(knee(), NAMES, options=SMALL)


def test_regions_lie_where_their_names_say(measured):
    points, _ = to_arrays(measured.surfaces["femur"])
    region = get_point_data(measured.surfaces["femur"], "region")
    centre = {name: points[region == number].mean(axis=0) for number, name in REGIONS.items() if number < 20}
    # LPS of a right knee: medial is +x, anterior is -y.
    for part in ("weight_bearing", "posterior"):
        assert centre[f"medial_{part}"][0] > centre[f"lateral_{part}"][0] + 15
    assert centre["anterior"][1] < centre["medial_weight_bearing"][1] < centre["medial_posterior"][1]
    assert set(np.unique(region)) == {0, *FEMORAL_REGIONS}


def test_regions_add_up_to_the_whole(measured):
    value = {(r["structure"], r["region"], r["name"]): r["value"] for r in measured.rows}
    names = [REGIONS[number] for number in FEMORAL_REGIONS]
    for outcome in ("VC", "tAB", "cAB"):
        parts = sum(value["femoral_cartilage", name, outcome] for name in names)
        assert parts == pytest.approx(value["femoral_cartilage", "whole", outcome], rel=1e-6)
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(knee()) == NAMES["femoral_cartilage"])
    assert value["femoral_cartilage", "whole", "VC"] == pytest.approx(voxels * 0.9 * 0.6 * 0.6)


def test_known_thickness_of_the_plateaus(measured):
    whole = [r for r in measured.rows if r["region"] == "whole"]
    value = {r["structure"]: r["value"] for r in whole if r["name"] == "ThCcAB"}
    assert value["medial_tibial_cartilage"] == pytest.approx(1.8, abs=0.15)
    assert value["lateral_tibial_cartilage"] == pytest.approx(2.4, abs=0.15)


def test_unsplit_tibial_cartilage_is_split_by_anatomy(measured):
    names = {n: v for n, v in NAMES.items() if not n.endswith("tibial_cartilage")} | {"tibial_cartilage": [5, 6]}
    for image, side in ((knee(), "right"), (mirrored(knee()), "left")):
        found = measure_knee(image, names, options=SMALL)
        assert (found.side, found.side_source) == (side, "fibula")
        assert found.rows == measured.rows


def test_touching_plateaus_are_parted_at_the_narrowest_place():
    mask = np.zeros((80, 50, 4), bool)
    mask[5:30, 5:45], mask[50:75, 5:45] = True, True
    mask[30:50, 24:26] = True
    part = lateral_part(mask, np.ones(3))
    assert not part[5:30][mask[5:30]].any() and part[50:75][mask[50:75]].all()
    mask[30:] = False
    assert not lateral_part(mask, np.ones(3)).any()


def test_the_side_a_person_gives_wins_with_a_warning():
    found = measure_knee(knee(), NAMES, side="left", options=SMALL)
    assert found.side == "left"
    assert any("looks like a right one" in warning for warning in found.warnings)


@pytest.mark.slow
def test_the_side_of_real_knees_from_their_bones(shared_data):
    bones = {"femur": [1, 7], "femoral_cartilage": 2, "tibia": [3, 8], "tibial_cartilage": 4, "patella": [5, 9]}
    from KneeSegLib.anatomy import canonical_knee

    # The last of these is the least clear of the 50.
    for name in ("akoa_9086407_96m", "zibuq_9036771", "akoa_9302260_00m"):
        image = sitk.ReadImage(str(shared_data / "knee_labels" / f"{name}_seg.nii.gz"))
        right, left = canonical_knee(image, bones), canonical_knee(mirrored(image), bones)
        assert (right.side, left.side) == ("right", "left")
        assert np.array_equal(right.labels, left.labels)
        assert left.side_finding.margin == pytest.approx(-right.side_finding.margin)


def test_what_is_absent_is_said_and_not_measured():
    without = changed(lambda a: np.place(a, a == NAMES["patellar_cartilage"], 0))
    found = measure_knee(without, NAMES, options=SMALL)
    assert any("no patellar cartilage" in warning for warning in found.warnings)
    assert not any(row["structure"] == "patellar_cartilage" for row in found.rows)
    only = measure_knee(knee(), {"femur": 1}, side="right", options=SMALL)
    assert only.rows == [] and set(only.surfaces) == {"femur"}


def test_holes_islands_and_cut_cartilage_do_not_stop_it():
    def spoil(array):
        array[90:93, 60:63, 50:53] = NAMES["femoral_cartilage"]
        array[80, 70, 45] = 0
        array[0, :6, :6] = NAMES["medial_tibial_cartilage"]

    found = measure_knee(changed(spoil), NAMES, options=SMALL)
    assert any("touches the border" in warning for warning in found.warnings)
    regions = 1 + 5 + 10 + 2 * (1 + 5) + 1
    assert len(found.rows) == regions * (7 + 1 + 2)  # outcomes, curvature, volumes of two layers


def test_wrong_arguments_are_refused():
    with pytest.raises(BadArguments, match="Unknown structure"):
        measure_knee(knee(), {"femurr": 1})
    with pytest.raises(BadArguments, match="side"):
        measure_knee(knee(), NAMES, side="both")
    with pytest.raises(WrongContent):
        measure_knee(knee(), {"femur": 77})


def test_cleaning_keeps_bones_whole_and_single():
    def spoil(array):
        femur = np.argwhere(array == 1)
        k, j, i = femur[len(femur) // 2]
        array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2] = 0
        array[-6:-1, 2:7, 2:7] = 1
        array[-6:-1, 2:7, -8:-4] = NAMES["femoral_cartilage"]

    cleaned, warnings = clean_labels(changed(spoil), NAMES)
    array, before = sitk.GetArrayFromImage(cleaned), sitk.GetArrayFromImage(knee())
    for value in (1, NAMES["femoral_cartilage"]):
        assert np.array_equal(array == value, before == value)
    assert isinstance(warnings, list)
    assert np.array_equal(sitk.GetArrayFromImage(clean_labels(knee(), NAMES)[0]), before)
