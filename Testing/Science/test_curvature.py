"""Curvature of the articular surface against balls."""

import numpy as np
import pytest
from knee_phantoms import COARSER, OAI, Cap, measure_cap
from scipy.spatial.transform import Rotation

from KneeSegLib.curvature import articular_curvature, curvature_row
from MRISegSuiteLib.meshes.surface_fields import point_normals

TURNED = tuple(map(tuple, Rotation.from_euler("xyz", [23, 41, 67], degrees=True).as_matrix()))


def curvature_of(found):
    normals = point_normals(found.points, found.triangles)
    return articular_curvature(found.points, found.triangles, normals, found.map)


@pytest.mark.parametrize("spacing", [OAI, COARSER])
@pytest.mark.parametrize("pose", [{}, {"axis": 0}, {"rotation": TURNED}])
@pytest.mark.parametrize("radius", [15.0, 20.0])
def test_the_surface_of_a_ball_has_its_curvature(spacing, pose, radius):
    found = measure_cap(Cap(spacing=spacing, radius=radius, thickness=2.0, **pose))
    curvature = curvature_of(found)
    known = np.isfinite(curvature)
    # Well over 5 mm from the border, which lies at 60 degrees.
    assert known[found.angle < 60 - np.degrees(10 / radius)].all() and not known[found.angle > 60].any()
    row = curvature_row("femoral_cartilage", "whole", curvature, found.map, np.ones(len(known), bool))
    assert row["value"] == pytest.approx(1000 / (radius + 2.0), rel=0.025) and row["unit"] == "1/m"


def test_what_is_narrow_has_no_curvature():
    found = measure_cap(Cap(half_angle=10.0))
    curvature = curvature_of(found)
    row = curvature_row("femoral_cartilage", "whole", curvature, found.map, np.ones(len(curvature), bool))
    assert np.isnan(row["value"])
    nothing = curvature_row("femoral_cartilage", "x", curvature, found.map, np.zeros(len(curvature), bool))
    assert np.isnan(nothing["value"])
