"""Thickness against analytic truth, at the bars of the project; shifted and turned grids too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knee_phantoms import COARSER, OAI, Cap, measure_cap, voxels
from scipy.spatial.transform import Rotation

from KneeSegLib.outcomes import region_outcomes
from KneeSegLib.thickness import measure_thickness
from MRISegSuiteLib.meshes.surfaces import solid_surface

TURNED = tuple(map(tuple, Rotation.from_euler("xyz", [23, 41, 67], degrees=True).as_matrix()))
SHIFT = (0.21, -0.13, 0.08)
#: The pole across the slices: surfaces there are terraces as wide as a finger, and borders run along a slice.
ACROSS = ({"axis": 0}, {"axis": 0, "shift": (0.35, 0.1, 0.2)})


@pytest.mark.parametrize("spacing", [OAI, COARSER])
@pytest.mark.parametrize(
    "thickness, bar", [(0.5, 0.05), (0.75, 0.05), (1.0, 0.05), (1.25, 0.02), (1.5, 0.02), (2.0, 0.02), (3.0, 0.02)]
)
def test_a_spherical_cap_has_its_thickness(spacing, thickness, bar):
    bias, _ = measure_cap(Cap(spacing=spacing, thickness=thickness)).error()
    assert abs(bias) <= bar


@pytest.mark.parametrize("thickness, bar", [(0.75, 0.05), (2.0, 0.02)])
@pytest.mark.parametrize("pose", [{"axis": 0}, {"rotation": TURNED, "shift": SHIFT}])
def test_thickness_does_not_depend_on_how_the_grid_lies(thickness, bar, pose):
    bias, _ = measure_cap(Cap(thickness=thickness, **pose)).error()
    assert abs(bias) <= bar


@pytest.mark.parametrize("spacing", [OAI, COARSER])
@pytest.mark.parametrize("pose", [{}, *ACROSS])
def test_offset_spheres_are_followed_point_by_point(spacing, pose):
    bias, rmse = measure_cap(Cap(spacing=spacing, offset=1.0, **pose)).error()
    assert rmse <= 0.03
    assert abs(bias) <= 0.02


def test_offset_spheres_in_any_pose():
    assert measure_cap(Cap(offset=1.0, rotation=TURNED, shift=SHIFT)).error()[1] <= 0.03


@pytest.mark.parametrize("spacing", [OAI, COARSER])
@pytest.mark.parametrize("pose", [{}, *ACROSS, {"rotation": TURNED, "shift": SHIFT}])
def test_a_hole_is_denuded_bone(spacing, pose):
    found = measure_cap(Cap(spacing=spacing, hole=15.0, **pose)).map
    rows = region_outcomes("femoral_cartilage", "whole", found, np.ones(len(found.thickness), bool), 0.0)
    value = {row["name"]: row["value"] for row in rows}
    assert value["dABp"] == pytest.approx(6.81, abs=0.5)
    assert value["ThCtAB"] == pytest.approx(1.864, abs=0.02)
    assert value["ThCcAB"] == pytest.approx(2.0, abs=0.03)
    assert value["tAB"] == pytest.approx(np.pi * 400.0, rel=0.02)
    assert value["cAB"] + value["dAB"] == pytest.approx(value["tAB"])


def test_a_strongly_curved_bone():
    bias, _ = measure_cap(Cap(radius=10.0, thickness=1.5), points=4000).error(45.0)
    assert abs(bias) <= 0.03


def test_a_tilted_plane():
    spacing = np.array(OAI)
    at = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip((43, 82, 82), spacing, strict=True)],
                              indexing="ij"), -1)
    normal = np.array([0.35, 0.2, 0.9])
    normal /= np.linalg.norm(normal)
    height = (at - at.mean(axis=(0, 1, 2))) @ normal
    core = np.ones(height.shape, bool)
    core[:4], core[-4:], core[:, :6], core[:, -6:], core[:, :, :6], core[:, :, -6:] = (False,) * 6
    bone = (height <= 0) & core
    cartilage = (height > 0) & (height <= 1.5) & core
    points, triangles = solid_surface(bone, spacing, 4000)
    found = measure_thickness(points, triangles, bone, cartilage, spacing)
    middle = np.linalg.norm(points - at.mean(axis=(0, 1, 2)), axis=1) < 7
    assert found.thickness[middle].mean() == pytest.approx(1.5, abs=0.02)


def test_an_unlabelled_gap_is_bridged_and_not_counted():
    found = measure_cap(Cap(thickness=2.5, gap=0.5))
    bias, _ = found.error()
    assert abs(bias) <= 0.03
    assert found.map.gap_area > 0.5 * found.map.covered_area.sum()
    assert measure_cap(Cap()).map.gap_area < 0.02 * np.pi * 400


def test_no_cartilage_nothing_covered():
    bone = np.zeros((30, 60, 60), bool)
    bone[5:25, 10:50, 10:50] = True
    points, triangles = solid_surface(bone, np.array(OAI), 2000)
    found = measure_thickness(points, triangles, bone, np.zeros_like(bone), np.array(OAI))
    assert not found.covered.any() and not found.subchondral.any()
    assert found.thickness.max() == 0.0 and found.subchondral_area.sum() == 0.0


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    thickness=st.floats(0.8, 3.5),
    radius=st.floats(14.0, 22.0),
    angles=st.tuples(*[st.floats(0, 360)] * 3),
    shift=st.tuples(*[st.floats(-0.35, 0.35)] * 3),
)
def test_any_cap_in_any_pose(thickness, radius, angles, shift):
    rotation = tuple(map(tuple, Rotation.from_euler("xyz", angles, degrees=True).as_matrix()))
    cap = Cap(spacing=COARSER, thickness=thickness, radius=radius, rotation=rotation, shift=shift)
    bias, rmse = measure_cap(cap, points=5000).error()
    assert abs(bias) <= 0.04
    assert rmse <= 0.1


def test_crumbs_of_cartilage_do_not_blow_up():
    # Single voxels on the bone beside the cap: pieces of a few points once had a thickness of hundreds of millimeters.
    cap = Cap()
    bone, cartilage, centre, _ = voxels(cap)
    spacing = np.array(cap.spacing)
    for turn in np.linspace(0, 2 * np.pi, 40, endpoint=False):
        tilt = 1.6 + 0.3 * np.sin(5 * turn)
        at = centre + 20.5 * np.array([np.cos(turn) * np.sin(tilt), np.sin(turn) * np.sin(tilt), np.cos(tilt)])
        i, j, k = np.rint(at / spacing).astype(int)
        cartilage[i, j - 1 : j + 2, k - 1 : k + 2] = True
    cartilage &= ~bone
    points, triangles = solid_surface(bone, spacing, 8000)
    found = measure_thickness(points, triangles, bone, cartilage, spacing)
    assert found.thickness.max() < 2.6
    assert (found.thickness * found.covered_area).sum() / found.covered_area.sum() == pytest.approx(1.97, abs=0.06)
