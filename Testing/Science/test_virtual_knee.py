"""The virtual knee: signals against a Bloch simulation, slices and noise against theory, anatomy against labels."""

import numpy as np
import pytest
import SimpleITK as sitk

from KneeSegLib.demo import make_virtual_knee
from KneeSegLib.virtual_knee import acquisition, contrast
from KneeSegLib.virtual_knee.anatomy_labels import FEMORAL_CARTILAGE, PATELLA, TARGET_NAMES
from KneeSegLib.virtual_knee.deformation import deform
from KneeSegLib.virtual_knee.shape_model import ShapeModel
from KneeSegLib.virtual_knee.tissues import Tissue, TissueMap, build_tissues
from MRISegSuiteLib.images.plausibility import plausible_knee

SPACING = (1.4, 0.8, 0.8)
CARTILAGE = (Tissue.CARTILAGE_DEEP, Tissue.CARTILAGE_MIDDLE, Tissue.CARTILAGE_SUPERFICIAL)


def bloch_dess(t1, t2, tr, flip_deg, spins=400, pulses=1500):
    """Steady state right after and right before the pulse: isochromats that a gradient turns by 0 to 2 pi a TR."""
    turn = 2 * np.pi * (np.arange(spins) + 0.5) / spins
    a, e1, e2 = np.deg2rad(flip_deg), np.exp(-tr / t1), np.exp(-tr / t2)
    m = np.zeros((3, spins))
    m[2] = 1
    pulse = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    for _ in range(pulses):
        after = pulse @ m
        m = np.stack([
            e2 * (np.cos(turn) * after[0] - np.sin(turn) * after[1]),
            e2 * (np.sin(turn) * after[0] + np.cos(turn) * after[1]),
            1 + e1 * (after[2] - 1),
        ])  # fmt: skip
    return abs(np.mean(after[0] + 1j * after[1])), abs(np.mean(m[0] + 1j * m[1]))


@pytest.mark.parametrize("t1, t2, tr, flip", [(1200, 40, 18, 25), (3600, 500, 25, 35), (370, 115, 16, 15)])
def test_dess_signals_are_the_steady_state_of_the_bloch_equations(t1, t2, tr, flip):
    after, before = bloch_dess(t1, t2, tr, flip)
    first, second = contrast.dess_signals(1.0, t1, t2, tr, 0.0, flip)
    assert first == pytest.approx(after, rel=0.01) and second == pytest.approx(before, rel=0.01)
    # and both echoes decay towards, and grow from, the pulse with T2
    early, late = contrast.dess_signals(1.0, t1, t2, tr, 5.0, flip)
    assert early == pytest.approx(first * np.exp(-5 / t2)) and late == pytest.approx(second * np.exp(5 / t2))


def test_a_spoiled_gradient_echo_is_brightest_at_the_ernst_angle():
    angles = np.arange(1.0, 60.0, 0.01)
    signal = contrast.spoiled_gradient_echo_signal(1.0, 1200.0, 30.0, 30.0, 5.0, angles)
    assert angles[signal.argmax()] == pytest.approx(np.rad2deg(np.arccos(np.exp(-30 / 1200))), abs=0.02)


def test_fat_suppression_darkens_marrow_and_nothing_else():
    tables = [
        contrast.brightness(contrast.Protocol("dess", fat_remaining=f), np.random.default_rng(1), spread=0.0)
        for f in (1.0, 0.02)
    ]
    marrow, meniscus, cartilage = (int(t) for t in (Tissue.FEMUR_MARROW, Tissue.MENISCUS, Tissue.CARTILAGE_MIDDLE))
    bright, dark = (t[marrow] / t[cartilage] for t in tables)
    assert dark < 0.3 < 0.9 < bright
    assert tables[0][meniscus] / tables[0][cartilage] == pytest.approx(tables[1][meniscus] / tables[1][cartilage])


def half_fluid() -> TissueMap:
    tissue = np.zeros((20, 40, 40), np.uint8)
    tissue[10:] = Tissue.FLUID
    return TissueMap(tissue, (tissue > 0).astype(np.uint8), SPACING)


@pytest.mark.parametrize("step, width", [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 4), (5, 4)])
def test_a_slice_reaches_equally_far_to_both_sides_of_its_truth(step, width):
    """Flipping the knee flips image and truth alike wherever the slices then fall on the same places."""
    scanner = acquisition.Scanner(0.8, step, width, 0.0, 0.0, 0.0)
    knee = half_fluid()
    image, truth = acquisition.acquire(knee, contrast.Protocol("dess"), scanner, np.random.default_rng(0), spread=0.0)
    middle = step // 2 + step * np.arange(len(truth))
    line = image[:, 20, 20] / image.max()
    for where, value, label in zip(middle, line, truth[:, 20, 20]):
        covered = np.clip((where + width / 2 - 9.5) / width, 0, 1)  # the part of the slice that lies in the fluid
        assert value == pytest.approx(covered, abs=0.02)
        assert label == (where >= 10)


def test_noise_in_air_is_rayleigh_and_far_above_zero_it_is_gaussian():
    knee = half_fluid()
    scanner = acquisition.Scanner(0.8, noise=0.05, shading=0.0, texture=0.0)
    image, truth = acquisition.acquire(knee, contrast.Protocol("dess"), scanner, np.random.default_rng(0), spread=0.0)
    air, fluid = image[:8], image[12:]
    assert air.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.02)
    assert air.std() == pytest.approx(0.05 * np.sqrt(2 - np.pi / 2), rel=0.03)
    assert fluid[:, 2:-2, 2:-2].std() == pytest.approx(0.05, rel=0.03)


def test_shapes_drawn_from_the_model_are_knees():
    for seed in (1, 2, 3):
        array = ShapeModel.read().random_labels(np.random.default_rng(seed), SPACING)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING[::-1])
        image.SetDirection((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
        assert plausible_knee(image, TARGET_NAMES) == []


@pytest.fixture(scope="module")
def grown():
    labels = ShapeModel.read().labels([0.0], SPACING)
    return labels, build_tissues(labels, SPACING, np.random.default_rng(4))


def test_the_truth_is_the_labels_less_lost_cartilage(grown):
    labels, knee = grown
    changed = knee.target != labels
    assert np.all(knee.target[changed] == 0) and np.all(labels[changed] >= FEMORAL_CARTILAGE)
    assert np.all(knee.tissue[changed] == Tissue.FLUID)
    cartilage = knee.target >= FEMORAL_CARTILAGE
    assert np.all(np.isin(knee.tissue[cartilage], CARTILAGE)) and not np.isin(knee.tissue[~cartilage], CARTILAGE).any()
    bone = (knee.target > 0) & (knee.target <= PATELLA)
    marrow = [t for t in Tissue if t.name.endswith("_MARROW") and t != Tissue.FIBULA_MARROW]
    assert np.all(np.isin(knee.tissue[bone], [*marrow, Tissue.MARROW_LESION, Tissue.CORTICAL_BONE]))


def test_no_deformation_only_widens_the_field():
    labels = ShapeModel.read().labels([0.0], SPACING)
    same = deform(labels, SPACING, np.random.default_rng(0), margin_mm=(14.0, 8.0, 8.0), strength=0.0)
    assert same.shape == tuple(n + 20 for n in labels.shape)
    inner = same[10:-10, 10:-10, 10:-10]
    assert np.mean(inner == labels) > 0.999


def test_a_seed_names_one_knee():
    (one, truth), (again, _), (other, _) = (make_virtual_knee(seed, spacing_mm=(2.8, 0.8, 0.8)) for seed in (5, 5, 6))
    first, second, third = (sitk.GetArrayFromImage(image) for image in (one, again, other))
    assert np.array_equal(first, second) and (first.shape != third.shape or not np.array_equal(first, third))
    assert one.GetSize() == truth.labels.GetSize() and first.min() >= 0
