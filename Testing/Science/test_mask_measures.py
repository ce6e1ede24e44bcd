"""Overlap and surface distances against known answers, MONAI's metrics, and real segmentations."""

import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from MRISegSuiteLib.measures.overlap import dice, jaccard, volume_mm3
from MRISegSuiteLib.measures.surface_distance import Surface, bounding_box, surface_distances, surface_indices


def blobs(seed, shape=(14, 17, 19), threshold=0.62):
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 1.6)
    return smooth > np.quantile(smooth, threshold)


def peer(a, b, spacing, tolerance):
    """MONAI's answers: Dice, HD95, ASSD, surface Dice.

    Of the HD95 the distances are MONAI's; its percentile is taken in single precision, off by up to 2e-5 mm with
    some ten thousand points, so that step is numpy's.
    """
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    x, y = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b))
    distance = dict(include_background=True, spacing=list(spacing))
    hd95 = float(metrics.compute_hausdorff_distance(x, y, percentile=95, **distance))
    _, directed, _ = metrics.utils.get_edge_surface_distance(x[0, 0], y[0, 0], spacing=list(spacing), symmetric=True)
    exact = max(np.percentile(one.double().numpy(), 95) for one in directed)
    assert hd95 == pytest.approx(exact, abs=1e-4)
    return (
        float(metrics.compute_dice(x, y)),
        exact,
        float(metrics.compute_average_surface_distance(x, y, symmetric=True, **distance)),
        float(metrics.compute_surface_dice(x, y, [tolerance], **distance)),
    )


def ours(a, b, spacing, tolerance):
    found = surface_distances(a, b, spacing)
    return dice(a, b), found.hd95, found.assd, found.surface_dice(tolerance)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 0.5, 0.7), (0.365, 0.365, 1.5)])
@pytest.mark.parametrize("seed", range(4))
def test_random_masks_as_monai_measures_them(seed, spacing):
    a, b = blobs(seed), blobs(seed + 100)
    assert ours(a, b, spacing, 1.01) == pytest.approx(peer(a, b, spacing, 1.01), rel=1e-6, abs=1e-6)


def test_real_masks_as_monai_measures_them(shared_data):
    folder = shared_data / "glioma_expert_masks" / "TCGA-FG-6692"
    files = sorted(folder.glob("segmentation_*.nii.gz"))
    maps = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in files]
    assert len(maps) == 5
    box = bounding_box(np.any([labels > 0 for labels in maps], axis=0), margin=3)
    masks = [labels[box] > 0 for labels in maps] + [maps[0][box] == 4]
    for a, b in itertools.combinations(masks, 2):
        for spacing in ((1.0, 1.0, 1.0), (5.0, 0.45, 0.45)):
            assert ours(a, b, spacing, 1.01) == pytest.approx(peer(a, b, spacing, 1.01), rel=1e-6, abs=1e-6)


def test_the_surface_is_what_simpleitk_calls_the_contour():
    mask = blobs(7)
    contour = sitk.BinaryContour(sitk.GetImageFromArray(mask.astype(np.uint8)), fullyConnected=False)
    expected = sitk.GetArrayFromImage(contour) > 0
    inner = (slice(1, -1),) * 3  # at the border of the image SimpleITK sees no outside
    found = np.zeros_like(mask)
    found[tuple(surface_indices(mask).T)] = True
    assert (found[inner] == expected[inner]).all()
    assert (found & ~mask).sum() == 0


def test_every_pair_of_points_by_brute_force():
    a, b, spacing = blobs(1, (6, 7, 8)), blobs(2, (6, 7, 8)), np.array([2.0, 0.3, 0.9])
    one, other = surface_indices(a) * spacing, surface_indices(b) * spacing
    apart = np.linalg.norm(one[:, None] - other[None], axis=-1)
    found = surface_distances(a, b, spacing)
    assert found.forth == pytest.approx(apart.min(axis=1), abs=1e-12)
    assert found.back == pytest.approx(apart.min(axis=0), abs=1e-12)
    assert found.percentile(100) == pytest.approx(max(apart.min(axis=1).max(), apart.min(axis=0).max()))


def test_boxes_that_are_shifted_have_the_distance_of_the_shift():
    a, b = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    a[4:10, 4:10, 4:10] = True
    b[7:13, 4:10, 4:10] = True
    found = surface_distances(a, b, (2.0, 1.0, 1.0))
    assert found.percentile(100) == pytest.approx(6.0) and dice(a, b) == pytest.approx(0.5)
    assert jaccard(a, b) == pytest.approx(1 / 3) and volume_mm3(a, (2.0, 1.0, 1.0)) == pytest.approx(432.0)


def test_hd95_is_the_larger_of_both_directions():
    """A stray part of B is far from A; nothing of A is far from B."""
    a, b = np.zeros((40, 9, 9), bool), np.zeros((40, 9, 9), bool)
    a[2:7, 2:7, 2:7] = b[2:7, 2:7, 2:7] = True
    b[30:34, 3:6, 3:6] = True
    found = surface_distances(a, b, (1.0, 1.0, 1.0))
    assert found.forth.max() == 0.0 and found.hd95 >= 24.0
    assert surface_distances(b, a, (1.0, 1.0, 1.0)).hd95 == found.hd95


def test_a_tolerance_of_whole_voxels_holds_in_spite_of_rounding():
    a, b = np.zeros((1, 1, 30), bool), np.zeros((1, 1, 30), bool)
    a[0, 0, 5], b[0, 0, 8] = True, True
    assert surface_distances(a, b, (1.0, 1.0, 0.3)).surface_dice(0.9) == 1.0


def test_empty_masks_are_defined():
    nothing, something = np.zeros((5, 5, 5), bool), np.zeros((5, 5, 5), bool)
    something[1:3, 1:3, 1:3] = True
    found = surface_distances(nothing, nothing, (1, 1, 1))
    assert (dice(nothing, nothing), jaccard(nothing, nothing)) == (1.0, 1.0)
    assert (found.hd95, found.assd, found.surface_dice(1.0)) == (0.0, 0.0, 1.0)
    for pair in ((nothing, something), (something, nothing)):
        found = surface_distances(*pair, (1, 1, 1))
        assert (dice(*pair), jaccard(*pair)) == (0.0, 0.0)
        assert (found.hd95, found.assd, found.surface_dice(1.0)) == (math.inf, math.inf, 0.0)


def test_what_is_no_mask_is_refused():
    mask = np.zeros((4, 4, 4), bool)
    with pytest.raises(ValueError, match="bool"):
        dice(mask.astype(np.uint8), mask)
    with pytest.raises(ValueError, match="shapes"):
        surface_distances(mask, mask[:2], (1, 1, 1))
    with pytest.raises(ValueError, match="positive"):
        Surface(mask, (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="grids"):
        Surface(mask, (1.0, 1.0, 1.0)).compare(Surface(mask, (1.0, 1.0, 2.0)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3))
def test_flips_and_permuted_axes_change_nothing(seed, order, flips):
    a, b = blobs(seed, (8, 9, 10)), blobs(seed + 1, (8, 9, 10))
    spacing = np.array([3.0, 0.6, 1.1])
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    moved = ours(a.transpose(order)[steps], b.transpose(order)[steps], spacing[list(order)], 1.2)
    assert moved == pytest.approx(ours(a, b, spacing, 1.2), abs=1e-12)
