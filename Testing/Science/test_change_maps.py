"""Intensity change, Jacobian map, and calibration with known growth."""

import math

import lesion_phantoms as phantoms
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from LongitudinalCompareLib.change.calibration import calibrate_images, calibrate_masks
from LongitudinalCompareLib.change.injection import Pose, Reach, noise_sd, simulated
from LongitudinalCompareLib.change.intensity import intensity_change, match_intensities
from LongitudinalCompareLib.change.jacobian import log_jacobian
from LongitudinalCompareLib.change.masks import cut_mask
from MRISegSuiteLib.errors import BadInput


def made_scan(grid, lesions, seed, noise=10.0, gain=1.0, offset=0.0):
    """Smooth tissue with a border, lesions brighter by 200, noise; another gain and offset."""
    random = np.random.default_rng(seed)
    points = phantoms.points_of(grid)
    head = (((points / (28, 32, 22)) ** 2).sum(axis=-1) <= 1).astype(float)
    tissue = head * (500 + 60 * np.sin(points[..., 0] / 4) * np.cos(points[..., 1] / 5))
    tissue += 200 * sitk.GetArrayFromImage(phantoms.draw(grid, *lesions)) if lesions else 0
    scan = head * (ndimage.gaussian_filter(tissue, 0.7) + random.normal(0, noise, head.shape))
    values = gain * scan + offset * head
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.CopyInformation(grid)
    mask = sitk.GetImageFromArray((ndimage.binary_erosion(head, iterations=2)).astype(np.uint8))
    mask.CopyInformation(grid)
    return image, mask


GRID = phantoms.grid((64, 72, 50), (1, 1, 1))
NEW = phantoms.ball((8, -6, 4), 4)


def test_a_new_lesion_lights_up_and_nothing_else_whatever_the_scanner_scaling():
    first, mask = made_scan(GRID, [phantoms.ball((-10, 5, 0), 5)], 1)
    second, _ = made_scan(GRID, [phantoms.ball((-10, 5, 0), 5), NEW], 2, gain=2.4, offset=130)
    change = intensity_change(first, second, mask)
    z = sitk.GetArrayFromImage(change.z)
    lesion = sitk.GetArrayFromImage(phantoms.draw(GRID, (NEW[0], 3 * np.eye(3)))) > 0
    away = (sitk.GetArrayFromImage(mask) > 0) & ~(
        sitk.GetArrayFromImage(phantoms.draw(GRID, (NEW[0], 7 * np.eye(3)))) > 0
    )
    assert (z[lesion] > 6).all()
    assert np.std(z[away]) == pytest.approx(1, abs=0.1) and abs(np.median(z[away])) < 0.05
    assert (np.abs(z[away]) > 5).sum() == 0
    ratio = (change.match.followup_scale / change.match.baseline_scale)
    assert ratio == pytest.approx(2.4, rel=0.02)


def test_swapping_the_scans_negates_the_map():
    first, mask = made_scan(GRID, [], 1)
    second, _ = made_scan(GRID, [NEW], 2, gain=0.7)
    forth = sitk.GetArrayFromImage(intensity_change(first, second, mask, 0.2).z)
    back = sitk.GetArrayFromImage(intensity_change(second, first, mask, 0.2).z)
    assert np.allclose(forth, -back, atol=1e-3)


def test_borders_of_a_shifted_scan_count_as_registration_noise():
    first, mask = made_scan(GRID, [phantoms.ball((0, 0, 0), 12)], 1)
    second, _ = made_scan(GRID, [phantoms.ball((0.4, 0, 0), 12)], 2)
    plain = np.abs(sitk.GetArrayFromImage(intensity_change(first, second, mask, 0.0).z))
    known = np.abs(sitk.GetArrayFromImage(intensity_change(first, second, mask, 0.4).z))
    assert plain.max() > 5.5 and known.max() < 5


def test_identical_scans_do_not_differ_and_bad_input_is_told():
    first, mask = made_scan(GRID, [], 1)
    assert not sitk.GetArrayViewFromImage(intensity_change(first, first, mask).z).any()
    with pytest.raises(BadInput, match="not on one grid"):
        intensity_change(first, first[1:, :, :], mask)
    with pytest.raises(BadInput, match="voxels only"):
        intensity_change(first, first, mask * 0)
    with pytest.raises(BadInput, match="constant"):
        match_intensities(np.ones(2000), np.arange(2000.0))


def test_log_jacobian_of_a_linear_map_on_an_oblique_anisotropic_grid():
    grid = phantoms.grid((9, 8, 7), (1.0, 1.5, 4.0), phantoms.turned((20, 40, -35)), center=(5, 6, 7))
    matrix = np.array([[1.1, 0.05, 0.0], [0.02, 0.9, 0.1], [0.0, -0.03, 1.2]])
    points = phantoms.points_of(grid)
    field = sitk.GetImageFromArray(points @ (matrix - np.eye(3)).T, isVector=True)
    field.CopyInformation(grid)
    assert np.allclose(sitk.GetArrayFromImage(log_jacobian(field)), math.log(np.linalg.det(matrix)), atol=1e-5)
    folded = sitk.GetImageFromArray(points @ (-2 * np.eye(3)).T, isVector=True)
    folded.CopyInformation(grid)
    assert np.isnan(sitk.GetArrayFromImage(log_jacobian(folded))).all()


def test_calibration_of_a_mask_has_no_bias_and_the_spread_of_partial_volume():
    fine = phantoms.draw(phantoms.grid((40, 40, 40), (1, 1, 1)), (np.zeros(3), np.diag([9, 7, 8])))
    found = calibrate_masks(fine, trials=20)
    assert abs(found.bias) < 0.01 and found.spread < 0.02 and found.missed == 0
    thick = calibrate_masks(fine, phantoms.grid((40, 40, 9), (0.8, 0.8, 6)), trials=20)
    assert thick.spread > 2 * found.spread and abs(thick.bias) < 0.05
    assert calibrate_masks(fine, trials=4) == calibrate_masks(fine, trials=4)
    with pytest.raises(BadInput, match="empty"):
        calibrate_masks(fine * 0)


def test_calibration_of_a_segmentation_finds_its_bias():
    """One threshold measures growth as it is; another one misses the rim of what it calls lesion, and small ones."""
    image, _ = made_scan(GRID, [phantoms.ball((8, -6, 4), 7)], 1)
    mask = phantoms.draw(GRID, phantoms.ball((8, -6, 4), 7))
    told = []

    def above(limit):
        def segment(scans, number):
            told.append(number)
            return sitk.Cast(sitk.DiscreteGaussian(scans[0], 0.5) > limit, sitk.sitkUInt8)

        return segment

    honest = calibrate_images([image], mask, above(620), trials=3, factors=(0.6, 1.6, 1.0))
    assert honest.missed == 0 and abs(honest.bias) < 0.05 and honest.spread < 0.06 and honest.seconds > 0
    assert told == list(range(6))
    blind = calibrate_images([image], mask, above(5000), trials=2)
    assert blind.missed == 2 and math.isnan(blind.bias) and "missed 2 times" in blind.sentence


def test_an_uneven_lesion_grows_by_the_factor_and_the_rest_of_the_head_stays():
    """Two balls that touch, far from round, at the border of a brain that was cut out; oblique voxels."""
    grid = phantoms.grid((64, 72, 40), (1, 1, 1.5), phantoms.turned((8, -12, 20)))
    lesion = [phantoms.ball((-14, -2, 0), 7), phantoms.ball((-3, 4, 3), 5)]
    image, _ = made_scan(grid, lesion, 1, noise=3.0)
    reach = Reach.of(cut_mask(phantoms.draw(grid, *lesion)))
    away = phantoms.points_of(grid) - reach.center
    inside = sitk.GetArrayFromImage(phantoms.draw(grid, *lesion)) > 0
    assert (np.linalg.norm(away[inside], axis=1) <= reach.along(away[inside])).all()
    factor = reach.possible(1.5)
    assert factor == pytest.approx(1.5) and reach.possible(50.0) < 6
    still = Pose(np.eye(3), reach.center)
    noise = noise_sd(sitk.GetArrayViewFromImage(image))
    before, array = (
        sitk.GetArrayFromImage(simulated(image, reach, f, still, noise, np.random.default_rng(1)))
        for f in (1.0, factor)
    )
    scale = factor ** (1 / 3)
    grown = [(reach.center + scale * (center - reach.center), scale * matrix) for center, matrix in lesion]
    truth = sitk.GetArrayFromImage(phantoms.draw(grid, *grown)) > 0
    assert truth.sum() / inside.sum() == pytest.approx(factor, rel=0.05)
    found = [ndimage.gaussian_filter(one, 0.7) > 600 for one in (before, array)]
    assert found[1].sum() / found[0].sum() == pytest.approx(factor, rel=0.06)
    assert 2 * (found[1] & truth).sum() / (found[1].sum() + truth.sum()) > 0.88  # where it should be
    far = np.linalg.norm(away, axis=-1) > 40
    assert np.abs(array - sitk.GetArrayFromImage(image))[far].max() < 20  # noise that was put back, no more
    sizes = [np.count_nonzero(one) for one in (before, array)]
    assert sizes[0] == pytest.approx(np.count_nonzero(sitk.GetArrayFromImage(image)), rel=1e-3)
    assert abs(sizes[1] / sizes[0] - 1) < 0.05 and (array[0, 0] == 0).all()


def test_noise_is_estimated_where_there_is_tissue():
    image, _ = made_scan(GRID, [], 5, noise=14.0)
    assert noise_sd(sitk.GetArrayViewFromImage(image)) == pytest.approx(14, rel=0.12)
