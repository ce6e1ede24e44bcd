"""Rigid registration of virtual heads in known poses: error, symmetry, gate. Real scans: Testing/Benchmarks."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from LongitudinalCompareLib.registration.alignment import align_pair
from LongitudinalCompareLib.registration.common_space import common_grid, into_common_space
from LongitudinalCompareLib.registration.engines import EngineMissing, find_engine
from LongitudinalCompareLib.registration.gate import CHECK, FAILED, GOOD, Judged, judge
from LongitudinalCompareLib.registration.masks import find_mask
from LongitudinalCompareLib.registration.preparation import prepare, without
from LongitudinalCompareLib.registration.rigid import (
    displacement_mm,
    matrix_of,
    mean,
    moved,
    power,
    transform_of,
    write_transform,
)
from LongitudinalCompareLib.registration.similarity import Similarity
from MRISegSuiteLib.errors import BadArguments

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "InSlicer"))
from virtual_heads import BRAIN_MM, head, pose  # noqa: E402

angles = st.floats(-60, 60)
shifts = st.floats(-40, 40)
axes = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


@settings(max_examples=25, deadline=None)
@given(angles, shifts, axes, angles, shifts, axes)
def test_means_and_powers_treat_both_alike(angle, shift, axis, angle_2, shift_2, axis_2):
    a, b = pose(angle, shift, axis), pose(angle_2, shift_2, axis_2)
    half = power(a, 0.5)
    assert np.allclose(half @ half, a, atol=1e-9)
    assert np.allclose(power(np.linalg.inv(a), 0.5), np.linalg.inv(half), atol=1e-9)
    middle = mean([a, b])
    assert np.allclose(middle[:3, :3] @ middle[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.allclose(mean([np.linalg.inv(a), np.linalg.inv(b)]), np.linalg.inv(middle), atol=1e-8)
    assert np.allclose(mean([a, b, a @ power(np.linalg.inv(a) @ b, 0.5)]), middle, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(angles, shifts, axes)
def test_transforms_and_files_hold_the_matrix(tmp_path_factory, angle, shift, axis):
    matrix = pose(angle, shift, axis)
    transform = transform_of(matrix, (3.0, -20.0, 11.0))
    assert np.allclose(matrix_of(transform), matrix, atol=1e-9)
    path = tmp_path_factory.mktemp("transform") / "t.tfm"
    write_transform(transform, path)
    assert np.allclose(matrix_of(sitk.ReadTransform(str(path))), matrix, atol=1e-8)


def test_a_moved_image_lies_where_the_matrix_takes_it():
    image = sitk.Image(4, 5, 6, sitk.sitkInt16)
    image.SetSpacing((1, 2, 3))
    matrix = pose(33, 25)
    index = (1, 2, 3)
    expected = matrix @ (*image.TransformIndexToPhysicalPoint(index), 1)
    assert np.allclose(moved(image, matrix).TransformIndexToPhysicalPoint(index), expected[:3])


def test_the_common_grid_and_its_images_do_not_depend_on_the_order():
    first, second = head(pose(5, 4), spacing=(4, 4, 6))[0], head(pose(-9, 7), spacing=(5, 4, 4))[0]
    way = [pose(5, 4), pose(-9, 7)]
    to_native = [np.linalg.inv(matrix) for matrix in way]
    grid, other = common_grid([first, second], to_native), common_grid([second, first], to_native[::-1])
    assert grid.GetSize() == other.GetSize() and np.allclose(grid.GetOrigin(), other.GetOrigin(), atol=1e-9)
    assert np.allclose(grid.GetSpacing(), (4, 4, 4))
    images = [sitk.GetArrayFromImage(into_common_space(i, grid, m)) for i, m in zip((first, second), to_native)]
    inside = (images[0] > 100) & (images[1] > 100)
    assert np.corrcoef(images[0][inside], images[1][inside])[0, 1] > 0.65


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
    return find_engine("greedy")


@pytest.fixture(scope="module")
def baseline():
    return prepare(head()[0])


@pytest.fixture(scope="module")
def aligned(engine, baseline):
    """A head turned by 12 degrees and moved by 9 mm, in thick slices: (pair, truth, prepared)."""
    way = pose(12, 9)
    later = prepare(head(way, spacing=(2.5, 2.5, 4.5), seed=2)[0])
    return align_pair(baseline, later, engine), np.linalg.inv(way), later


def test_the_brain_is_found_and_its_mask_fits(baseline):
    assert baseline.found.kind == "brain"
    mask = sitk.GetArrayFromImage(baseline.found.image) > 0
    index = np.argwhere(mask)[:, ::-1]
    image = baseline.found.image
    points = index * image.GetSpacing() + np.array(image.GetOrigin())
    truth_ml = 4 / 3 * np.pi * np.prod(BRAIN_MM) / 1000
    inside = (np.linalg.norm(points / np.array(BRAIN_MM), axis=1) < 1).sum() * np.prod(image.GetSpacing()) / 1000
    assert 2 * inside / (truth_ml + baseline.found.volume_ml) > 0.93


def test_what_is_no_head_gets_a_mask_of_the_body():
    box = sitk.Image(60, 60, 40, sitk.sitkInt16)
    box.SetSpacing((2, 2, 4))
    array = np.random.default_rng(1).normal(10, 3, (40, 60, 60))
    array[:, 15:45, 20:40] += 300
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.CopyInformation(box)
    found = find_mask(image)
    assert found.kind == "body" and found.volume_ml == pytest.approx(40 * 30 * 20 * 16 / 1000, rel=0.25)
    with pytest.raises(ValueError, match="constant"):
        find_mask(box)


def test_a_known_pose_is_found(aligned, baseline):
    pair, truth, _ = aligned
    error = displacement_mm(pair.matrix, truth, baseline.points).mean()
    print(f"\nerror {error:.3f} mm, {pair.gate.numbers}")
    assert error < 0.1
    assert pair.gate.state == GOOD and not pair.gate.reasons
    assert pair.gate.numbers["inverse_consistency_mm"] < 0.1 and abs(pair.volume_ratio - 1) < 0.03


def test_scans_on_nearly_one_grid_are_not_drawn_onto_it(engine):
    """Half a millimeter aside, in voxels that lie along each other: mutual information has a false peak at none."""
    way = pose(0.4, 0.5)
    first = prepare(head(spacing=(2.0, 2.0, 2.0))[0])
    later = prepare(head(way, spacing=(2.0, 2.0, 2.0), seed=2)[0])
    pair = align_pair(first, later, engine)
    error = displacement_mm(pair.matrix, np.linalg.inv(way), first.points).mean()
    print(f"\nerror {error:.3f} mm, {pair.gate.numbers['inverse_consistency_mm']:.3f} mm")
    assert error < 0.08 and pair.gate.numbers["inverse_consistency_mm"] < 0.1 and pair.gate.state == GOOD


def test_a_scan_and_its_own_copy_are_good(engine, baseline):
    found = align_pair(baseline, baseline, engine)
    assert found.gate.state == GOOD, found.gate.reasons
    assert found.gate.numbers["moved_mm"] < 0.05


def test_exchanging_the_scans_gives_the_inverse(aligned, baseline, engine):
    pair, _, later = aligned
    back = align_pair(later, baseline, engine)
    # One order of the two is computed; greedy's local correlation, which finds the start, repeats to some micrometers.
    assert displacement_mm(back.matrix @ pair.matrix, np.eye(4), baseline.points).max() < 1e-3
    assert back.volume_ratio == pytest.approx(1 / pair.volume_ratio, abs=1e-4)
    assert back.gate.state == pair.gate.state
    assert back.gate.numbers["inverse_consistency_mm"] == pytest.approx(
        pair.gate.numbers["inverse_consistency_mm"], abs=1e-3)


def test_another_person_a_wrong_turn_and_half_a_head_fail(engine, baseline):
    other = align_pair(baseline, prepare(head(pose(4, 3), subject=7)[0]), engine)
    assert other.gate.state == FAILED and not other.gate.allows_comparison and other.gate.reasons
    turned = align_pair(baseline, prepare(head(pose(60, 5))[0]), engine)
    assert turned.gate.state == FAILED and not turned.gate.allows_comparison
    whole = head(seed=3)[0]
    half = align_pair(baseline, prepare(whole[:, :, whole.GetSize()[2] // 2:]), engine)
    assert half.gate.state == FAILED and "share too little" in " ".join(half.gate.reasons)


def test_simpleitk_finds_the_pose_too(baseline):
    way = pose(5, 4)
    later = prepare(head(way, seed=2)[0])
    found = find_engine("simpleitk").register(baseline, later, np.eye(4))
    assert displacement_mm(found, np.linalg.inv(way), baseline.points).mean() < 0.2


def test_an_engine_that_is_not_there_abstains(monkeypatch):
    monkeypatch.delenv("MRISEG_ANTS_PYTHON", raising=False)
    with pytest.raises(EngineMissing, match="MRISEG_ANTS_PYTHON"):
        find_engine("ants")
    with pytest.raises(BadArguments, match="no registration engine"):
        find_engine("magic")


def test_a_jacobian_map_without_greedy_says_what_to_do(monkeypatch):
    from LongitudinalCompareLib import pipeline
    from LongitudinalCompareLib.registration.engines import greedy
    from MRISegSuiteLib.jobs import Job, JobContext

    monkeypatch.setattr(greedy.importlib.util, "find_spec", lambda name: None)
    job = Job("compare", {"images": ["a.nrrd", "b.nrrd"]}, {"jacobian": True, "engine": "simpleitk"})
    with pytest.raises(EngineMissing, match="Jacobian map needs the package picsl-greedy") as error:
        pipeline.run(job, JobContext("nowhere"))
    assert "leave the Jacobian map out" in error.value.hint


def test_lesions_do_not_steer():
    mask = sitk.Image(20, 20, 20, sitk.sitkUInt8) + 1
    lesion = sitk.Image(20, 20, 20, sitk.sitkUInt8)
    lesion[10, 10, 10] = 1
    kept = sitk.GetArrayFromImage(without(mask, lesion, 2.0))
    assert kept[10, 10, 10] == 0 and kept[10, 10, 8] == 0 and kept[0, 0, 0] == 1
    assert sitk.GetArrayFromImage(without(mask, mask)).all(), "nothing would be left to steer"


def _judged(**changed):
    good = Similarity(0.95, 1.25, 0.95, 0.97)
    values = {
        "found": (good, good), "identity": (Similarity(0.4, 1.02, 0.8, 0.9),) * 2,
        "shifted": [Similarity(0.7, 1.06, 0.9, 0.95)] * 6, "inconsistency_mm": 0.03, "determinant": 1.0,
        "scales": (1.0, 1.0, 1.0), "scale_noise": 0.003, "matrix": np.eye(4), "center": np.zeros(3),
        "moved_mm": 5.0, "fields": (0.99, 0.99),
    }  # fmt: skip
    return judge(Judged(**(values | changed)))


@pytest.mark.parametrize("changed, state, word", [
    ({}, GOOD, ""),
    ({"inconsistency_mm": 0.7}, CHECK, "disagree"),
    ({"inconsistency_mm": 2.5}, FAILED, "disagree"),
    ({"inconsistency_mm": float("nan")}, FAILED, "disagree"),
    ({"scales": (1.0, 1.012, 1.0)}, CHECK, "scale"),
    ({"scales": (1.0, 1.012, 1.0), "scale_noise": 0.008}, GOOD, ""),
    ({"scales": (1.0, 1.03, 1.0), "scale_noise": 0.008}, CHECK, "known to 1.6 %"),
    ({"scales": (1.0, 1.07, 1.0), "scale_noise": 0.008}, FAILED, "scale"),
    ({"identity": (Similarity(0.99, 1.3, 0.95, 0.97),) * 2}, FAILED, "less alike than before"),
    ({"identity": (Similarity(0.99, 1.3, 0.95, 0.97),) * 2, "moved_mm": 0.2}, GOOD, ""),
    ({"fields": (0.99, 0.5)}, FAILED, "share too little"),
    ({"shifted": [Similarity(0.9, 1.22, 0.9, 0.95)] * 6}, FAILED, "same patient"),
    ({"found": (Similarity(0.92, 1.22, 0.77, 0.97),) * 2}, GOOD, ""),
    ({"found": (Similarity(0.92, 1.22, 0.77, 0.87),) * 2}, CHECK, "lie apart"),
    ({"matrix": pose(40, 0)}, CHECK, "turned by 40"),
    ({"matrix": pose(60, 0)}, FAILED, "turned by 60"),
])  # fmt: skip
def test_the_gate_says_why(changed, state, word):
    gate = _judged(**changed)
    assert gate.state == state and word in " ".join(gate.reasons)
    assert bool(gate.reasons) == (state != GOOD)


def test_a_deformation_that_was_put_in_is_found_in_place_and_sign():
    """A part of the brain shrinks smoothly by a known amount; the head lies turned in the second scan."""
    pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
    from LongitudinalCompareLib.change.jacobian import log_jacobian
    from LongitudinalCompareLib.registration.deformable import deformation

    first, _ = head(spacing=(3.0, 3.0, 3.0), noise=1.0)
    center, width, turn = np.array([20.0, -10.0, 15.0]), 15.0, pose(8, 4)
    i, j, k = np.meshgrid(*[np.arange(n) for n in first.GetSize()], indexing="ij")
    away = np.stack([i, j, k], axis=-1) * first.GetSpacing() + first.GetOrigin() - center
    moved = -0.15 * away * np.exp(-(away**2).sum(axis=-1, keepdims=True) / (2 * width**2))
    field = sitk.GetImageFromArray(moved.transpose(2, 1, 0, 3).copy(), isVector=True)
    field.CopyInformation(first)
    truth = log_jacobian(field)
    first = sitk.Cast(first, sitk.sitkFloat32)
    grown = sitk.Resample(first, first, sitk.DisplacementFieldTransform(sitk.Image(field)), sitk.sitkBSpline, 0.0)
    lying = sitk.Resample(first, first, transform_of(turn), sitk.sitkBSpline, 0.0)  # lying(y) = first(turn y)
    found, back, inside = deformation([prepare(grown), prepare(lying)], [np.eye(4), np.linalg.inv(turn)])
    mask = sitk.GetArrayFromImage(inside) > 0
    values, opposite = (sitk.GetArrayFromImage(log_jacobian(field)) for field in (found, back))
    assert np.corrcoef(values[mask], -opposite[mask])[0, 1] > 0.8  # the way back is the other way round
    expected = sitk.GetArrayFromImage(sitk.Resample(truth, found))
    core = mask & (expected < -0.3)
    assert expected[core].mean() < values[core].mean() < 0.3 * expected[core].mean()  # regularized: it understates
    assert np.abs(values[mask & (np.abs(expected) < 0.005)]).mean() < 0.02
    assert np.corrcoef(values[mask], expected[mask])[0, 1] > 0.65
