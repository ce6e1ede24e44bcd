"""Clicks and boxes: the equation against a dense solution, phantoms with a known answer, the geometry of the grid."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from EnsembleReviewLib.refinement.local_region import BlockGrid
from EnsembleReviewLib.refinement.prompts import REACH_MM, Box, Click, Grid, Task, box_between, plan, refine
from EnsembleReviewLib.refinement.random_walker import random_walker
from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.measures.overlap import dice


def test_the_walker_solves_its_equation():
    rng = np.random.default_rng(0)
    gray, prior, weight = rng.normal(size=(4, 5, 6)), rng.random((4, 5, 6)), rng.uniform(0.05, 1.0, (4, 5, 6))
    spacing, contrast = (3.0, 1.0, 2.0), 0.7
    index = np.arange(gray.size).reshape(gray.shape)
    dense = np.diag(weight.ravel())
    for axis in range(3):
        first, second = (np.moveaxis(index, axis, 0)[part].ravel() for part in (slice(None, -1), slice(1, None)))
        for i, j in zip(first, second, strict=True):
            step = (gray.flat[i] - gray.flat[j]) ** 2
            edge = max(np.exp(-step / (2 * contrast**2)), 1e-3) / spacing[axis] ** 2
            dense[i, i] += edge
            dense[j, j] += edge
            dense[i, j] -= edge
            dense[j, i] -= edge
    exact = np.linalg.solve(dense, (weight * prior).ravel()).reshape(gray.shape)
    assert np.abs(random_walker(gray, prior, weight, spacing, contrast) - exact).max() < 5e-3


def phantom(spacing=(1.0, 1.0, 1.0), direction=None, noise=6.0, size_mm=(64.0, 60.0, 56.0), second_gray=160.0):
    """Two bright balls in a dark noisy body; (image, mask of both, mask of the first alone, center of the second)."""
    size = [round(length / step) for length, step in zip(size_mm, spacing, strict=True)]
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin((-20.0, 35.0, 12.0))
    if direction is not None:
        image.SetDirection(direction)
    k, j, i = np.indices(size[::-1])
    millimeters = np.stack([i, j, k]) * np.reshape(spacing, (3, 1, 1, 1))
    first = ((millimeters - np.reshape((20, 20, 25), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 10**2
    second = ((millimeters - np.reshape((44, 38, 30), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 8**2
    gray = np.where(first, 160.0, np.where(second, second_gray, 100.0))
    gray = gray + np.random.default_rng(1).normal(0, noise, first.shape)
    filled = sitk.GetImageFromArray(gray.astype(np.float32))
    filled.CopyInformation(image)
    return filled, first | second, first, _point(filled, (44, 38, 30))


def _point(image, millimeters):
    """The place in the world of a place in millimeters along the axes of the image."""
    return image.TransformContinuousIndexToPhysicalPoint([m / s for m, s in zip(millimeters, image.GetSpacing(),
                                                                                strict=True)])


def _image(mask, like):
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.CopyInformation(like)
    return image


def _applied(change, mask):
    after = mask.copy()
    after[change.box] = change.mask
    return after


_OBLIQUE = (0.8, -0.6, 0.0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8)
_FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0)])
@pytest.mark.parametrize("direction", [None, _OBLIQUE, _FLIPPED])
def test_one_click_adds_and_another_removes_a_body(spacing, direction):
    image, both, first, center = phantom(spacing, direction)
    added = _applied(refine(image, _image(first, image), Click(center)), first)
    assert dice(added, both) > 0.97
    assert (added | ~first).all(), "adding took something away"
    image, both, first, center = phantom(spacing, direction, second_gray=125.0)
    removed = _applied(refine(image, _image(both, image), Click(center, positive=False)), both)
    assert dice(removed, first) > 0.97
    assert not (removed & ~both).any(), "removing added something"


def test_the_answer_does_not_hang_on_the_orientation_of_the_grid():
    image, both, first, center = phantom()
    plain = refine(image, _image(first, image), Click(center))
    turned, mask = sitk.DICOMOrient(image, "RAS"), sitk.DICOMOrient(_image(first, image), "RAS")
    change = refine(turned, mask, Click(center))
    after = sitk.GetArrayFromImage(mask) > 0
    after[change.box] = change.mask
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(_image(after, turned), "LPS")) > 0
    assert np.array_equal(back, _applied(plain, first))


def test_a_box_finds_what_it_holds():
    image, both, first, _ = phantom(direction=_OBLIQUE)
    corners = (_point(image, (35, 29, 21)), _point(image, (53, 47, 39)))
    added = _applied(refine(image, _image(first, image), Box(corners)), first)
    assert dice(added, both) > 0.95
    image, both, first, _ = phantom(direction=_OBLIQUE, second_gray=125.0)
    removed = _applied(refine(image, _image(both, image), Box(corners, positive=False)), both)
    assert dice(removed, first) > 0.95


def test_where_gray_values_cannot_tell_a_negative_click_takes_what_is_near():
    image, both, first, center = phantom()
    change = refine(image, _image(both, image), Click(center, positive=False))
    removed = both & ~_applied(change, both)
    assert removed.sum() > 50 and not (removed & first).any()


def test_a_box_between_two_places_of_one_slice_is_as_deep_as_it_is_wide():
    image = phantom((0.7, 0.7, 3.0), _OBLIQUE)[0]
    grid = Grid.of(image)
    box = box_between(grid, _point(image, (30, 20, 21)), _point(image, (20, 34, 21)))
    ends = np.sort([grid.index(corner) * grid.spacing for corner in box.corners], axis=0)[:, ::-1]
    assert ends[0] == pytest.approx((20, 20, 15)) and ends[1] == pytest.approx((30, 34, 27))
    box = box_between(grid, _point(image, (30, 20, 12)), _point(image, (20, 34, 30)))
    ends = np.sort([grid.index(corner) * grid.spacing for corner in box.corners], axis=0)[:, ::-1]
    assert ends[:, 2] == pytest.approx((12, 30)), "two slices say how deep"


def test_nothing_changes_where_nobody_looked_and_a_click_is_always_obeyed():
    image, both, first, center = phantom(noise=60.0)
    nothing = np.zeros_like(both)
    change = refine(image, _image(nothing, image), Click(center))
    after = _applied(change, nothing)
    k, j, i = np.nonzero(after)
    far = np.sqrt(((np.stack([i, j, k], axis=1) - (44, 38, 30)) ** 2).sum(axis=1)).max()
    assert after[30, 38, 44] and far <= REACH_MM + 1
    again = refine(image, _image(after, image), Click(_point(image, (20, 20, 25)), positive=False),
                   earlier=[Click(center)])
    assert _applied(again, after)[30, 38, 44], "a later click undid an earlier one"


def test_an_image_of_one_gray_value_is_no_accident():
    image = sitk.Image((30, 30, 30), sitk.sitkInt16)
    change = refine(image, sitk.Image((30, 30, 30), sitk.sitkUInt8), Click((15, 15, 15)))
    assert change.changed > 0 and change.mask.dtype == bool


def test_prompts_outside_the_image_are_refused():
    image, _, first, _ = phantom()
    for prompt in (Click((500, 0, 0)), Box(((500, 0, 0), (510, 9, 9)))):
        with pytest.raises(BadArguments, match="outside of the image"):
            refine(image, _image(first, image), prompt)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 90)] * 3), st.tuples(*[st.floats(0.2, 6.0)] * 3), st.integers(0, 2**16))
def test_blocks_cover_an_array_and_come_back_to_its_size(shape, spacing, seed):
    blocks = BlockGrid.of(shape, spacing)
    array = np.random.default_rng(seed).random(shape)
    coarse = blocks.coarse(array)
    assert coarse.size <= 75_000 and blocks.fine(coarse).shape == shape
    assert coarse.min() >= array.min() - 1e-12 and coarse.max() <= array.max() + 1e-12
    for index in ((0, 0, 0), tuple(n - 1 for n in shape)):
        assert all(0 <= i < n for i, n in zip(blocks.coarse_index(index), coarse.shape, strict=True))


def test_a_task_survives_json():
    import json

    image, _, _, center = phantom()
    task = plan(Grid.of(image), Click(center), [Click(center, False)])
    again = Task.from_record(json.loads(json.dumps(task.to_record())))
    assert again.box == task.box and again.low == pytest.approx(task.low) and len(again.earlier) == 1
