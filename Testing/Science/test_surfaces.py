"""Surfaces of masks: closed, not shrunken, a set number of points, outward, the same every time."""

import numpy as np
import pytest
from knee_phantoms import OAI, Cap, voxels

from MRISegSuiteLib.meshes.polydata import (
    get_point_data,
    read_vtp,
    to_arrays,
    to_polydata,
    transform_mesh,
    write_vtp,
)
from MRISegSuiteLib.meshes.surface_fields import (
    Smoother,
    components,
    enclosed_volume,
    fraction_above,
    point_areas,
    point_normals,
    triangle_areas,
)
from MRISegSuiteLib.meshes.surfaces import sheet_surface, solid_surface


def edges(triangles):
    """How many triangles meet at each edge."""
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)[1]


def ball(radius, spacing=OAI, shift=(0.1, 0.2, -0.15)):
    bone, _, centre, _ = voxels(Cap(spacing=spacing, radius=radius, thickness=1.0, shift=shift))
    return bone, centre


@pytest.mark.parametrize("spacing", [OAI, (0.365, 0.7, 0.365)])
@pytest.mark.parametrize("radius, points", [(5.0, 1000), (10.0, 3000), (20.0, 10000)])
def test_a_ball_keeps_its_radius(spacing, radius, points):
    mask, centre = ball(radius, spacing)
    vertices, triangles = solid_surface(mask, np.array(spacing), points)
    assert len(vertices) == points
    distance = np.linalg.norm(vertices - centre, axis=1)
    weight = point_areas(vertices, triangles)
    assert abs(np.average(distance, weights=weight) - radius) < 0.1
    assert np.sqrt(np.average((distance - radius) ** 2, weights=weight)) < 0.1
    assert (edges(triangles) == 2).all()
    assert len(vertices) - len(edges(triangles)) + len(triangles) == 2
    assert (np.einsum("ij,ij->i", point_normals(vertices, triangles), vertices - centre) > 0).all()


def test_the_same_surface_every_time():
    mask, _ = ball(10.0)
    first, second = (solid_surface(mask, np.array(OAI), 2500) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_solid_at_the_border_of_the_image_is_closed_there():
    mask, _ = ball(10.0)
    half = mask[:, :, mask.shape[2] // 2 :]
    vertices, triangles = solid_surface(half, np.array(OAI), 2500)
    assert (edges(triangles) == 2).all()
    # The sharp rim of the cut is rounded: 2 % of the volume of so small a piece.
    assert enclosed_volume(vertices, triangles) == pytest.approx(np.count_nonzero(half) * np.prod(OAI), rel=0.03)


@pytest.mark.parametrize("thickness", [0.75, 1.0, 2.0])
def test_a_thin_layer_survives(thickness):
    _, cartilage, centre, _ = voxels(Cap(thickness=thickness, shift=(0.1, 0.2, 0.0)))
    vertices, triangles = sheet_surface(cartilage, np.array(OAI), 6000)
    assert len(vertices) == pytest.approx(6000, abs=20)
    assert (edges(triangles) == 2).mean() > 0.999
    voxel_volume = np.count_nonzero(cartilage) * np.prod(OAI)
    assert enclosed_volume(vertices, triangles) == pytest.approx(voxel_volume, rel=0.05)
    out = vertices - centre
    radius = np.linalg.norm(out, axis=1)
    inner = out[:, 2] / radius > np.cos(np.radians(50))
    outside = inner & (radius > 20 + thickness / 2)
    assert abs(radius[outside].mean() - (20 + thickness)) < 0.1
    assert abs(radius[inner & ~outside].mean() - 20) < 0.1


def test_an_empty_mask_is_refused():
    for make in (solid_surface, sheet_surface):
        with pytest.raises(ValueError, match="empty"):
            make(np.zeros((5, 5, 5), bool), np.array(OAI), 100)


def test_a_mirroring_matrix_keeps_outside_outside():
    mask, _ = ball(5.0)
    vertices, triangles = solid_surface(mask, np.array(OAI), 500)
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    moved, cells = transform_mesh(vertices, triangles, matrix)
    assert enclosed_volume(moved, cells) == pytest.approx(enclosed_volume(vertices, triangles))


def test_vtp_files_keep_mesh_and_point_data(tmp_path):
    mask, _ = ball(5.0)
    vertices, triangles = solid_surface(mask, np.array(OAI), 500)
    data = {"thickness_mm": np.arange(500, dtype=np.float32), "covered": np.arange(500) % 2 == 0}
    write_vtp(to_polydata(vertices, triangles, data), tmp_path / "ball.vtp")
    mesh = read_vtp(tmp_path / "ball.vtp")
    points, cells = to_arrays(mesh)
    assert np.allclose(points, vertices, atol=1e-4) and np.array_equal(cells, triangles)
    assert np.array_equal(get_point_data(mesh, "thickness_mm"), data["thickness_mm"])
    assert np.array_equal(get_point_data(mesh, "covered"), data["covered"])
    assert [p.name for p in tmp_path.iterdir()] == ["ball.vtp"]
    with pytest.raises(KeyError, match="thickness_mm"):
        get_point_data(mesh, "t2")
    with pytest.raises(OSError):
        read_vtp(tmp_path / "absent.vtp")
    with pytest.raises(OSError):
        write_vtp(mesh, tmp_path / "no" / "folder.vtp")


def test_smoothing_keeps_the_mean_and_flattens():
    mask, _ = ball(10.0)
    vertices, triangles = solid_surface(mask, np.array(OAI), 2500)
    area = point_areas(vertices, triangles)
    values = np.random.default_rng(0).normal(size=len(vertices))
    smooth = Smoother(vertices, triangles, 1.5)(values)
    assert np.average(smooth, weights=area) == pytest.approx(np.average(values, weights=area), abs=1e-5)
    assert smooth.std() < 0.3 * values.std()
    assert np.allclose(Smoother(vertices, triangles, 1.5)(np.full(len(vertices), 3.0)), 3.0)


def test_fraction_of_a_triangle_above_a_level():
    triangles = np.array([[0, 1, 2]])
    cases = {(0, 0, 0): 0.0, (1, 1, 1): 1.0, (0, 0, 1): 0.25, (0, 1, 1): 0.75, (0.5, 0.5, 1): 1.0}
    for values, part in cases.items():
        assert fraction_above(np.array(values, dtype=float), triangles, 0.5)[0] == pytest.approx(part)


def test_components_are_parts_joined_by_edges():
    triangles = np.array([[0, 1, 2], [2, 1, 3], [4, 5, 6]])
    parts = components(triangles, 7)
    assert len(set(parts[:4])) == 1 and len(set(parts[4:])) == 1 and parts[0] != parts[4]
    assert components(triangles, 7, np.array([1, 0, 0, 1, 0, 0, 0], bool)).tolist() == [0, -1, -1, 1, -1, -1, -1]
    assert triangle_areas(np.eye(7)[:, :3], triangles).shape == (3,)
