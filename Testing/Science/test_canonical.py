"""Axis reordering moves no voxel in space and is undone exactly, whatever the geometry."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from MRISegSuiteLib.images.canonical import from_canonical, nearest_axes, same_grid, to_canonical

ALL_AXES = [
    "".join(letters)
    for order in ("xyz", "xzy", "yxz", "yzx", "zxy", "zyx")
    for letters in product(*({"x": "LR", "y": "AP", "z": "IS"}[axis] for axis in order))
]

# whole thousandths: with subnormal direction cosines (1e-300) ITK's own inverse of the direction becomes NaN
numbers = st.integers(-1000, 1000).map(lambda n: n / 1000)
quaternions = st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 0.1)


def rotation(quaternion) -> np.ndarray:
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def images(draw):
    size = [draw(st.integers(1, 5)) for _ in range(3)]
    array = np.arange(np.prod(size), dtype=np.int16).reshape(size)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([draw(st.floats(0.2, 4.0)) for _ in range(3)])
    image.SetOrigin([draw(st.floats(-300, 300)) for _ in range(3)])
    flips = np.diag([draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)])
    image.SetDirection((rotation(draw(quaternions)) @ flips).ravel().tolist())
    return image


def margin(image) -> float:
    """By how much the best assignment of the axes beats the second best."""
    cosines = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    sums = sorted(sum(cosines[row, axis] for axis, row in enumerate(rows)) for rows in permutations(range(3)))
    return sums[-1] - sums[-2]


@settings(max_examples=150, deadline=None)
@given(images(), st.sampled_from(ALL_AXES))
def test_voxels_stay_in_place_and_come_back(image, axes):
    canonical = to_canonical(image, axes)
    if margin(image) > 1e-6:  # where two namings of the axes are equally good, either is right
        assert nearest_axes(canonical) == axes
    assert sorted(sitk.GetArrayViewFromImage(canonical).ravel()) == sorted(sitk.GetArrayViewFromImage(image).ravel())
    for index in np.ndindex(*image.GetSize()):
        index = [int(i) for i in index]
        point = image.TransformIndexToPhysicalPoint(index)
        there = canonical.TransformPhysicalPointToContinuousIndex(point)
        assert np.allclose(there, np.rint(there), atol=1e-6)
        assert canonical[[int(i) for i in np.rint(there)]] == image[index]
    back = from_canonical(canonical, image)
    assert np.array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(image))
    assert back.GetOrigin() == image.GetOrigin()
    assert back.GetSpacing() == image.GetSpacing()
    assert back.GetDirection() == image.GetDirection()


@settings(max_examples=60, deadline=None)
@given(quaternions, st.booleans())
def test_the_assignment_is_the_best_of_all_permutations(quaternion, mirrored):
    """The chosen letters agree at least as well with the directions as any other use of the three axes."""
    direction = rotation(quaternion) @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    image = sitk.Image(2, 2, 2, sitk.sitkUInt8)
    image.SetDirection(direction.ravel().tolist())
    letters = nearest_axes(image)
    towards = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}

    def agreement(axes):
        return sum(float(np.dot(direction[:, k], towards[letter])) for k, letter in enumerate(axes))

    assert agreement(letters) >= max(agreement(axes) for axes in ALL_AXES) - 1e-9


def test_exactly_45_degrees_is_decided_and_undone():
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    c = np.sqrt(0.5)
    image.SetDirection([c, -c, 0, c, c, 0, 0, 0, 1])
    canonical = to_canonical(image, "RIA")
    assert same_grid(from_canonical(canonical, image), image)


def test_vector_images_keep_their_components():
    array = np.random.default_rng(0).random((3, 4, 5, 2))
    image = sitk.GetImageFromArray(array, isVector=True)
    canonical = to_canonical(image, "SAR")
    assert canonical.GetNumberOfComponentsPerPixel() == 2
    assert np.array_equal(sitk.GetArrayFromImage(from_canonical(canonical, image)), array)


def test_a_grid_of_other_voxels_is_refused():
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    shifted = to_canonical(image, "RAS")
    shifted.SetOrigin([value + 0.5 for value in shifted.GetOrigin()])
    with pytest.raises(ValueError, match="same voxels"):
        from_canonical(shifted, image)


@pytest.mark.parametrize("axes", ["LLS", "LP", "XYZ", "LPSR"])
def test_impossible_axes_are_refused(axes):
    with pytest.raises(ValueError, match="three letters"):
        to_canonical(sitk.Image(2, 2, 2, sitk.sitkUInt8), axes)
