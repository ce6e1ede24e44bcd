"""Twenty subregions, depth layers and menisci on shapes whose answers are known, and on real maps."""

import numpy as np
import pytest
import SimpleITK as sitk
from knee_phantoms import NAMES, knee, mirrored, rotated

from KneeSegLib.layers import layer_names
from KneeSegLib.measure import MeasureOptions, measure_knee
from KneeSegLib.results import layer_labels
from KneeSegLib.structures import BY_NAME
from KneeSegLib.subregions import SUBREGIONS, subregions_of
from KneeSegLib.t2.stage import map_t2
from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.reading import Volume

POINTS = {"femur": 6000, "tibia": 5000, "patella": 2500}
SMALL = MeasureOptions(points=POINTS, only_measure=True)


@pytest.fixture(scope="module")
def measured():
    return measure_knee(knee(), NAMES, options=SMALL)


def table(measurement):
    return {(r["structure"], r["region"], r["name"]): r["value"] for r in measurement.rows}


def centre_of(measurement, bone, name):
    found = measurement.bones[bone]
    number = next(n for n, text in SUBREGIONS.items() if text == name)
    return found.points[found.point_data["subregion"] == number].mean(axis=0)


def test_all_twenty_are_there_and_lie_where_their_names_say(measured):
    regions = {region for (_, region, name) in table(measured) if name == "ThCtAB"}
    assert set(SUBREGIONS.values()) <= regions and len(SUBREGIONS) == 20
    for side, outwards in (("MFC", -1), ("LFC", 1)):  # canonical axis 0 is lateral
        external, central, internal = (centre_of(measured, "femur", p + side)[0] for p in ("ec", "cc", "ic"))
        assert outwards * external > outwards * central > outwards * internal
        front, middle, back = (centre_of(measured, "femur", p + side)[1] for p in ("a", "cc", "p"))
        assert front > middle > back
    for side, outwards in (("MTC", -1), ("LTC", 1)):
        place = {p: centre_of(measured, "tibia", p + side) for p in "aepic"}
        assert outwards * place["e"][0] > outwards * place["c"][0] > outwards * place["i"][0]
        assert place["a"][1] > place["c"][1] > place["p"][1]


def test_subregions_add_up_to_their_composites(measured):
    value = table(measured)
    composites = {
        ("femoral_cartilage", "anterior"): ("aMFC", "aLFC"),
        ("femoral_cartilage", "medial_weight_bearing"): ("ecMFC", "ccMFC", "icMFC"),
        ("femoral_cartilage", "lateral_weight_bearing"): ("ecLFC", "ccLFC", "icLFC"),
        ("femoral_cartilage", "medial_posterior"): ("pMFC",),
        ("medial_tibial_cartilage", "whole"): tuple(subregions_of("medial_tibial_cartilage").values()),
        ("lateral_tibial_cartilage", "whole"): tuple(subregions_of("lateral_tibial_cartilage").values()),
    }
    for (structure, whole), parts in composites.items():
        for outcome in ("tAB", "cAB", "VC", "VC_deep"):
            total = sum(value[structure, part, outcome] for part in parts)
            assert total == pytest.approx(value[structure, whole, outcome], rel=1e-6)


def test_the_centre_is_a_fifth_and_the_thirds_are_thirds(measured):
    value = table(measured)
    for side, cartilage in (("M", "medial_tibial_cartilage"), ("L", "lateral_tibial_cartilage")):
        areas = [value[cartilage, f"{p}{side}TC", "tAB"] / value[cartilage, "whole", "tAB"] for p in "caepi"]
        assert areas[0] == pytest.approx(0.2, abs=0.04)  # a flat plate has few and large triangles
        assert all(0.12 < area < 0.3 for area in areas), areas
    femur = measured.bones["femur"]
    joint, numbers = femur.point_data["subchondral"], femur.point_data["subregion"]
    for first in (2, 7):  # seen along the shaft, at the middle of the weight-bearing part
        ahead = femur.points[joint & (numbers == first + 1), 1]
        band = joint & (np.abs(femur.points[:, 1] - ahead.mean()) < 3)
        widths = [np.ptp(femur.points[band & (numbers == first + n), 0]) for n in range(3)]
        assert np.array(widths) / sum(widths) == pytest.approx([1 / 3] * 3, abs=0.1)


def test_side_and_way_of_storing_change_no_subregion(measured):
    for image in (mirrored(knee()), rotated(knee()), sitk.DICOMOrient(knee(), "ASL")):
        other = table(measure_knee(image, NAMES, options=SMALL))
        for key, wanted in table(measured).items():
            assert other[key] == pytest.approx(wanted, abs=max(1e-3, 1e-4 * abs(wanted)), nan_ok=True), key


def test_layers_are_parts_of_the_thickness(measured):
    plate = measured.bones["tibia"].cartilages["medial_tibial_cartilage"].voxels
    height = plate.index[:, 2] * measured.knee.spacing[2]
    assert np.corrcoef(plate.depth, height)[0, 1] > 0.95  # a flat plate: depth is height
    for count in (2, 3):  # it is three voxels thick: layers cannot be finer
        share = np.bincount(plate.layer(count), minlength=count) / len(height)
        assert np.abs(share - 1 / count).max() < 0.17, share
    shell = measured.bones["femur"].cartilages["femoral_cartilage"].voxels
    deep = np.bincount(shell.layer(2)) / len(shell.depth)
    assert deep[0] < deep[1]  # outside of a convex bone there is more room
    assert layer_names(1) == ("full",) and layer_names(3) == ("deep", "middle", "superficial")


def test_layers_as_labels_fill_the_cartilage_exactly(measured):
    image = layer_labels(measured, 2)
    layers, labels = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(measured.labels)
    assert image.GetSize() == knee().GetSize() and image.GetDirection() == pytest.approx(knee().GetDirection())
    assert np.array_equal(layers > 0, np.isin(labels, [4, 5, 6, 7]))
    assert set(np.unique(layers[labels == 4])) == {41, 42}


def with_t2(image, deep=28.0, superficial=48.0):
    """Spin echoes of a knee whose deep cartilage has one T2 and whose superficial cartilage another."""
    measurement = measure_knee(image, NAMES, options=SMALL)
    layers = sitk.GetArrayFromImage(layer_labels(measurement, 2))
    t2 = np.where(layers == 0, 60.0, np.where(layers % 10 == 1, deep, superficial))
    times, echoes = [8.0, 16.0, 24.0, 32.0, 40.0], []
    for te in times:
        echo = sitk.GetImageFromArray((1000 * np.exp(-te / t2)).astype(np.float32))
        echo.CopyInformation(measurement.labels)
        echoes.append(echo)
    return measurement, Volume(echoes[0], echoes, {"kind": "multi_echo_spin_echo", "te_ms": times})


@pytest.mark.parametrize("image", [knee(), rotated(mirrored(knee()))], ids=["right", "oblique left"])
def test_t2_reaches_the_table_the_layers_and_the_surface(image):
    measurement, volume = with_t2(image)
    found = map_t2(volume, measurement, {}, 2)
    value = {(r["structure"], r["region"], r["name"]): r["value"] for r in found.rows}
    for structure in ("femoral_cartilage", "medial_tibial_cartilage", "patellar_cartilage"):
        assert value[structure, "whole", "T2_mean_deep"] == pytest.approx(28.0, abs=0.01)
        assert value[structure, "whole", "T2_mean_superficial"] == pytest.approx(48.0, abs=0.01)
        assert value[structure, "whole", "T2_excluded"] == 0
        assert 28 < value[structure, "whole", "T2_mean"] < 48
    assert value["femoral_cartilage", "ccMFC", "T2_mean_deep"] == pytest.approx(28.0, abs=0.01)
    assert value["femoral_cartilage", "whole", "T2_r2"] == pytest.approx(1.0, abs=1e-6)
    for bone, fields in found.point_data.items():
        covered = measurement.bones[bone].point_data["covered"]
        for name, wanted in (("t2_deep_ms", 28.0), ("t2_superficial_ms", 48.0)):
            there = fields[name] > 0
            assert not there[~covered].any() and there[covered].mean() > 0.95
            assert fields[name][there] == pytest.approx(wanted, abs=0.05)
    assert sitk.GetArrayFromImage(found.image).shape == sitk.GetArrayFromImage(volume.image).shape


def test_t2_on_another_grid_than_the_segmentation():
    measurement, volume = with_t2(knee())
    finer = [sitk.Resample(e, [2 * n for n in e.GetSize()], sitk.Transform(), sitk.sitkNearestNeighbor, e.GetOrigin(),
                           [s / 2 for s in e.GetSpacing()], e.GetDirection()) for e in volume.echoes]  # fmt: skip
    found = map_t2(Volume(finer[0], finer, volume.info), measurement, {}, 2)
    value = {(r["structure"], r["region"], r["name"]): r["value"] for r in found.rows}
    assert value["femoral_cartilage", "whole", "T2_mean_deep"] == pytest.approx(28.0, abs=0.01)


def test_missing_and_wrong_t2_parameters_are_said(measured):
    echoes = [knee(), knee()]
    told = map_t2(Volume(knee(), echoes, {"kind": "qdess", "te_ms": [7.0, 43.0]}), measured, {}, 2)
    assert "tr_ms, flip_deg" in told
    assert "one echo" in map_t2(Volume(knee(), [knee()], {}), measured, {}, 2)
    assert "neither" in map_t2(Volume(knee(), echoes, {"kind": "multi_echo"}), measured, {}, 2)
    for wrong in ({"tr": 20}, {"tr_ms": -1}, {"method": "magic"}, {"te_ms": 5.0}, {"kind": "dwi"}):
        with pytest.raises(BadArguments):
            map_t2(Volume(knee(), echoes, {"kind": "qdess"}), measured, wrong, 2)
    with pytest.raises(BadArguments, match="not for qDESS"):
        protocol = {"tr_ms": 20.0, "flip_deg": 20.0, "te_ms": [7.0, 33.0], "method": "nonlinear"}
        map_t2(Volume(knee(), echoes, {"kind": "qdess"}), measured, protocol, 2)


def with_meniscus(shift_mm: float = 0.0):
    """The knee with a medial meniscus: half a ring over the outer half of the medial plateau, moved outwards.

    Returns:
        the label map, and the part of the plateau that has meniscus straight above it.
    """
    image = knee()
    array = sitk.GetArrayFromImage(image)
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(array.shape, image.GetSpacing()[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    outward = -(x + 21)
    ring = (np.abs(y + 5) < 17) & (outward > shift_mm) & (outward < 13 + shift_mm) & (z >= -19.2) & (z < -16.5)
    array[ring & (array == 0)] = BY_NAME["medial_meniscus"].label
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    plateau = (array == NAMES["medial_tibial_cartilage"]).any(0)
    return result, 100 * (plateau & (array == BY_NAME["medial_meniscus"].label).any(0)).sum() / plateau.sum()


def test_meniscal_extrusion_and_coverage():
    names, found = NAMES | {"medial_meniscus": 8}, {}
    for shift in (0.0, 3.6):
        image, covered = with_meniscus(shift)
        value = table(measure_knee(image, names, options=SMALL))
        found[shift] = {n: value["medial_meniscus", "whole", n] for n in ("extrusion", "coverage")}
        assert found[shift]["coverage"] == pytest.approx(covered, abs=4)
    assert found[0.0]["extrusion"] == pytest.approx(0.0, abs=1.0)
    assert found[3.6]["extrusion"] - found[0.0]["extrusion"] == pytest.approx(3.6, abs=0.5)
    assert found[3.6]["coverage"] < found[0.0]["coverage"] - 6


def test_a_real_knee_with_menisci(shared_data):
    image = sitk.ReadImage(str(next((shared_data / "knee_meshes").glob("*label.nrrd"))))
    theirs = {
        "femoral_cartilage": 1, "medial_tibial_cartilage": 2, "lateral_tibial_cartilage": 3, "femur": 5, "tibia": 6,
        "lateral_meniscus": 9, "medial_meniscus": 10,
    }  # fmt: skip
    value = table(measure_knee(image, theirs, options=SMALL))
    for side in ("medial", "lateral"):
        assert -3 < value[f"{side}_meniscus", "whole", "extrusion"] < 6
        assert 30 < value[f"{side}_meniscus", "whole", "coverage"] < 80
