"""The same knee gives the same numbers however it is stored, and twice the same."""

import numpy as np
import pytest
import SimpleITK as sitk
from knee_phantoms import NAMES, knee, mirrored, rotated

from KneeSegLib.measure import MeasureOptions, measure_knee
from MRISegSuiteLib.meshes.polydata import get_point_data, to_arrays
from MRISegSuiteLib.meshes.surface_fields import enclosed_volume

POINTS = {"femur": 6000, "tibia": 5000, "patella": 2500}
SMALL = MeasureOptions(points=POINTS, only_measure=True)
#: The 50 expert maps: bones come in two labels, with lesions apart.
EXPERT_NAMES = {
    "femur": [1, 7],
    "femoral_cartilage": 2,
    "tibia": [3, 8],
    "tibial_cartilage": 4,
    "patella": [5, 9],
    "patellar_cartilage": 6,
}


def table(measurement):
    return {(r["structure"], r["region"], r["name"]): r["value"] for r in measurement.rows}


def assert_same(first, second, within):
    one, two = table(first), table(second)
    assert set(one) == set(two)
    for key, value in one.items():
        bar = within if key[2].startswith("Th") else max(within, 1e-4 * abs(value))
        assert two[key] == pytest.approx(value, abs=bar, nan_ok=True), key


@pytest.fixture(scope="module")
def phantom():
    return measure_knee(knee(), NAMES, options=SMALL)


WAYS = {
    "LPS": lambda image: sitk.DICOMOrient(image, "LPS"),
    "ASL": lambda image: sitk.DICOMOrient(image, "ASL"),
    "PIR": lambda image: sitk.DICOMOrient(image, "PIR"),
    "oblique": rotated,
    "upside down": lambda image: rotated(image, (1, 0, 0), 170.0),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_way_of_storing_changes_nothing(phantom, way):
    stored = WAYS[way](knee())
    found = measure_knee(stored, NAMES, options=SMALL)
    assert found.side == "right"
    assert_same(phantom, found, 0.001)


def test_a_reflecting_direction_matrix_is_the_other_knee(phantom):
    # NRRD can store a left-handed matrix: the same array is then the mirror image, a left knee.
    image = knee()
    direction = np.array(image.GetDirection()).reshape(3, 3)
    direction[:, 0] *= -1
    image.SetDirection(direction.ravel())
    found = measure_knee(image, NAMES, options=SMALL)
    assert found.side == "left"
    assert_same(phantom, found, 0.001)


def test_a_left_knee_is_its_mirror_image(phantom):
    found = measure_knee(mirrored(knee()), NAMES, options=SMALL)
    assert (phantom.side, found.side) == ("right", "left")
    assert_same(phantom, found, 0.001)
    for name, mesh in found.surfaces.items():
        points, triangles = to_arrays(mesh)
        right, cells = to_arrays(phantom.surfaces[name])
        assert np.allclose(points * [-1, 1, 1], right, atol=1e-3)
        assert enclosed_volume(points, triangles) > 0 and enclosed_volume(right, cells) > 0
        for array in ("region", "thickness_mm"):
            assert np.array_equal(get_point_data(mesh, array), get_point_data(phantom.surfaces[name], array))


def test_surfaces_lie_on_the_voxels_they_come_from(phantom):
    for image in (knee(), rotated(knee())):
        found = measure_knee(image, NAMES, options=SMALL)
        for name in ("femur", "patella"):
            points, _ = to_arrays(found.surfaces[name])
            index = np.argwhere(sitk.GetArrayViewFromImage(image).transpose(2, 1, 0) == NAMES[name])
            matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
            voxels = index @ matrix.T + np.array(image.GetOrigin())
            assert np.allclose(points.min(axis=0), voxels.min(axis=0), atol=1.0)
            assert np.allclose(points.max(axis=0), voxels.max(axis=0), atol=1.0)


def test_two_runs_are_identical(phantom):
    again = measure_knee(knee(), NAMES, options=SMALL)
    assert again.rows == phantom.rows
    for name, mesh in again.surfaces.items():
        assert np.array_equal(to_arrays(mesh)[0], to_arrays(phantom.surfaces[name])[0])
        assert np.array_equal(
            get_point_data(mesh, "thickness_mm"), get_point_data(phantom.surfaces[name], "thickness_mm")
        )


def test_the_file_format_changes_nothing(tmp_path):
    image = rotated(knee())
    found = []
    for suffix in (".nrrd", ".nii.gz"):
        sitk.WriteImage(image, str(tmp_path / f"knee{suffix}"))
        found.append(measure_knee(sitk.ReadImage(str(tmp_path / f"knee{suffix}")), NAMES, options=SMALL))
    assert_same(*found, 0.001)


def test_label_numbers_and_types_change_nothing(phantom):
    array = sitk.GetArrayFromImage(knee()).astype(np.int32)
    other = sitk.GetImageFromArray(np.where(array > 0, 300 - 7 * array, 0))
    other.CopyInformation(knee())
    found = measure_knee(other, {name: 300 - 7 * value for name, value in NAMES.items()}, options=SMALL)
    assert found.rows == phantom.rows


@pytest.mark.slow
def test_a_real_knee_however_stored(shared_data):
    image = sitk.ReadImage(str(shared_data / "knee_labels" / "akoa_9378288_00m_seg.nii.gz"))
    options = MeasureOptions(points={"femur": 12000, "tibia": 10000, "patella": 4000}, only_measure=True)
    first = measure_knee(image, EXPERT_NAMES, options=options)
    assert first.side == "right"
    ways = {
        "ASL": sitk.DICOMOrient(image, "ASL"),
        "oblique": rotated(image),
        "mirrored": mirrored(image),
    }
    for way, stored in ways.items():
        found = measure_knee(stored, EXPERT_NAMES, options=options)
        assert found.side == ("left" if way == "mirrored" else "right")
        assert_same(first, found, 0.01)
    thickness = {key: value for key, value in table(first).items() if key[2] == "ThCtAB"}
    assert len(thickness) == 1 + 5 + 10 + 2 * (1 + 5) + 1
    assert all(1.0 < value < 3.5 for value in thickness.values()), thickness
