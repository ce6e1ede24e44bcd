"""Bringing arrays to a model's grid and back: weights, places, intensities, the box around the body."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MRISegSuiteLib.errors import WrongContent
from MRISegSuiteLib.models.preprocessing import (
    foreground_box,
    grids_for,
    is_cut_out,
    normalized,
    padding_value,
    to_model_grid,
)
from MRISegSuiteLib.models.resampling import AxisGrid
from MRISegSuiteLib.models.windows import WindowSettings, slabs, window_starts

GRIDS = st.builds(
    lambda count, spacing, target: grids_for((count,) * 3, (spacing,) * 3, [target] * 3, lambda text: None)[0],
    st.integers(1, 90),
    st.floats(0.2, 5),
    st.floats(0.2, 5),
)


@settings(max_examples=150, deadline=None)
@given(GRIDS)
def test_weights_are_shares(grid):
    """Probabilities that sum to 1 must still do so, and none may become negative."""
    for weights in (grid.to_model(), grid.to_image(0, grid.count, 0, grid.model_count)):
        assert (weights.weight >= 0).all()
        assert np.allclose(weights.weight.sum(1), 1, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(GRIDS)
def test_both_ends_of_an_axis_are_treated_alike(grid):
    values = np.random.default_rng(0).random(grid.count)
    there = grid.to_model().apply(values, 0)
    assert np.allclose(grid.to_model().apply(values[::-1], 0), there[::-1], atol=1e-5)


@settings(max_examples=150, deadline=None)
@given(GRIDS)
def test_a_ramp_stays_a_ramp_in_its_place(grid):
    """Away from the ends a linear function of the place is reproduced exactly, finer and coarser."""
    places = (np.arange(grid.count) - (grid.count - 1) / 2) * grid.spacing
    model_places = (np.arange(grid.model_count) - (grid.model_count - 1) / 2) * grid.model_spacing
    there = grid.to_model().apply(places, 0)
    inside = np.abs(model_places) < (grid.count - 1) / 2 * grid.spacing - grid.model_spacing
    if max(grid.step, 1) == 1 or float(grid.step).is_integer():
        assert np.allclose(there[inside], model_places[inside], atol=1e-3)
    else:
        assert np.abs(there[inside] - model_places[inside]).max(initial=0) < 0.13 * grid.spacing


def test_coarser_is_the_mean_and_not_a_sample():
    stripes = np.tile([0.0, 1.0], 30).astype(np.float32)
    grid = AxisGrid(60, 0.4, 20, 1.2)
    assert np.allclose(grid.to_model().apply(stripes, 0), stripes.reshape(20, 3).mean(1), atol=1e-6)


def test_fine_slices_form_whole_groups():
    grid = grids_for((12, 5, 5), (0.35, 1, 1), [{"min": 0.6, "max": 4.5}, None, 1.0], pytest.fail)
    assert (grid[0].model_count, grid[0].model_spacing) == (6, 0.7)
    assert (grid[1].model_count, grid[2].model_count) == (5, 5)
    volume = np.random.default_rng(0).random((12, 5, 5)).astype(np.float32)
    assert np.allclose(to_model_grid(volume, grid), volume.reshape(6, 2, 5, 5).mean(1), atol=1e-6)


def test_a_coarser_image_than_the_model_expects_is_told():
    told = []
    grids_for((10, 10, 10), (6.0, 1.0, 1.0), [{"min": 0.6, "max": 4.5}, 0.4, 1.0], told.append)
    assert len(told) == 2 and "6.00 mm" in told[0] and "0.4 mm" in told[1]


@settings(max_examples=100, deadline=None)
@given(GRIDS, st.data())
def test_a_box_of_the_image_lies_within_its_box_of_the_model(grid, data):
    first = data.draw(st.integers(0, grid.count - 1))
    last = data.draw(st.integers(first + 1, grid.count))
    low, high = grid.model_range(first, last)
    assert 0 <= low < high <= grid.model_count
    there = grid.image_range(low, high)
    assert there[0] <= first and there[1] >= last


def test_normalizations():
    values = np.concatenate([np.zeros(50), np.linspace(10, 110, 101)]).astype(np.float32)
    scaled = normalized(values, {"kind": "percentile", "low": 0, "high": 100})
    assert scaled.min() == 0 and scaled.max() == 1
    upper = normalized(values, {"kind": "upper_percentile", "high": 50, "over": "nonzero"})
    assert upper[100] == pytest.approx(1) and upper.max() == 1
    free = normalized(values, {"kind": "upper_percentile", "high": 50, "over": "nonzero", "clip": False})
    assert free.max() == pytest.approx(110 / 60)
    window = normalized(values, {"kind": "window", "low": 10, "high": 60, "out_low": -1, "out_high": 1})
    assert window[0] == -1 and window[75] == pytest.approx(0) and window[-1] == 1
    body = normalized(values, {"kind": "zscore", "over": "nonzero"})
    assert body[50:].mean() == pytest.approx(0, abs=1e-5) and body[50:].std() == pytest.approx(1, abs=1e-4)
    with pytest.raises(WrongContent):
        normalized(np.zeros(5, np.float32), {"kind": "zscore", "over": "nonzero"})
    with pytest.raises(WrongContent):
        normalized(np.ones(5, np.float32), {"kind": "percentile", "low": 1, "high": 99})


@pytest.mark.parametrize("padding", [0.0, -3.6, 90.0])
def test_what_was_cut_away_does_not_count_whatever_its_value(padding):
    """The brain's quartiles go to 3 and 4, also where intensities were z-scored before, also after resampling."""
    brain = np.broadcast_to(np.linspace(50, 150, 40, dtype=np.float32), (40, 40, 40))
    rule = {"kind": "percentile", "low": 25, "high": 75, "out_low": 3, "out_high": 4, "clip": False,
            "over": "foreground"}  # fmt: skip
    values = np.full((60, 60, 60), padding, np.float32)
    values[10:50, 10:50, 10:50] = brain
    assert padding_value(values) == np.float32(padding)
    assert is_cut_out(values) and not is_cut_out(values[8:52, 8:52, 8:52])
    inside = normalized(values, rule)[10:50, 10:50, 10:50]
    assert np.percentile(inside, [25, 75]) == pytest.approx([3, 4], abs=1e-4)
    grids = grids_for(values.shape, (1, 1, 1), [1.7, 1.7, 1.7], lambda text: None)
    coarse = to_model_grid(values, grids)
    assert padding_value(coarse) == pytest.approx(padding, rel=1e-6)
    deep = normalized(coarse, rule)[8:28, 8:28, 8:28]
    assert np.median(deep) == pytest.approx(3.5, abs=0.35)  # voxels at the edge are part padding


def test_without_padding_every_voxel_counts():
    values = np.random.default_rng(0).uniform(0, 1, (9, 9, 9)).astype(np.float32)
    assert padding_value(values) is None and not is_cut_out(values)
    rule = {"kind": "zscore"}
    assert np.array_equal(normalized(values, rule | {"over": "foreground"}), normalized(values, rule))


def test_the_box_around_the_body_leaves_air_and_noise_out():
    rng = np.random.default_rng(0)
    values = np.abs(rng.normal(0, 15, (20, 120, 110))).astype(np.float32)
    values[6:14, 40:90, 30:80] += 400
    box = foreground_box(values, (4.0, 1.0, 1.0))
    assert [low <= a and high >= b for (low, high), (a, b) in zip(box, [(6, 14), (40, 90), (30, 80)])] == [True] * 3
    assert [high - low for low, high in box] <= [14, 78, 78]
    assert foreground_box(np.ones((5, 6, 7), np.float32), (1, 1, 1)) == [(0, 5), (0, 6), (0, 7)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.floats(0, 0.9), st.integers(1, 40))
def test_slabs_hold_the_windows_of_the_whole(depth, patch, overlap, planes):
    """Each plane belongs to one slab, whose windows are exactly the whole volume's that touch it."""
    settings_ = WindowSettings(
        (patch, 1, 1), (overlap, 0, 0), "gaussian", 1, (), "cpu", "softmax", 2, slab_bytes=planes * 16
    )
    starts = window_starts(depth, patch, overlap)
    covered = []
    for first, last, core_first, core_last in slabs((depth, 1, 1), settings_):
        covered += range(core_first, core_last)
        mine = [first + start for start in window_starts(last - first, patch, overlap)]
        touching = [start for start in starts if start < core_last and start + patch > core_first]
        assert mine == touching
    assert covered == list(range(depth))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 80), st.integers(1, 20), st.floats(0, 0.9))
def test_windows_lie_where_monai_lays_them(size, patch, overlap):
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    whole = max(size, patch)
    interval = _get_scan_interval((whole,), (patch,), 1, (overlap,))
    theirs = [one[0].start for one in dense_patch_slices((whole,), (patch,), interval)]
    assert window_starts(size, patch, overlap) == theirs
