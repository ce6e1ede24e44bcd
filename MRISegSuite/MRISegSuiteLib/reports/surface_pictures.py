"""Pictures of surfaces without a graphics card, driver or display: a depth buffer in numpy.

VTK's renderer ends the process where the machine has no OpenGL, which is usual on clusters and in containers. Surfaces
here are dense triangle meshes, so sampling every triangle finely enough and keeping the nearest sample for each pixel
gives the same picture everywhere, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import vtk
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ..meshes.polydata import get_point_data, to_arrays

#: Colors of points without a value and of exactly zero (bare bone); the same as in the scene.
OUTSIDE_COLOR, ZERO_COLOR = (0.88, 0.82, 0.70), (0.84, 0.11, 0.10)
_RAMP, _CHANGE_RAMP = "viridis", "RdBu"

_RIGHT, _LEFT, _FRONT, _BACK = (-1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 1.0, 0.0)
_ABOVE, _BELOW = (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)

#: Where the viewer stands (LPS), and what is up in the picture.
DIRECTIONS = {
    "anterior": (_FRONT, _ABOVE),
    "posterior": (_BACK, _ABOVE),
    "right": (_RIGHT, _ABOVE),
    "left": (_LEFT, _ABOVE),
    "superior": (_ABOVE, _FRONT),
    "inferior": (_BELOW, _FRONT),
}


@dataclass(frozen=True)
class Surface:
    """A surface to be drawn: points (N, 3) LPS mm, triangles (M, 3), colors (N, 3) RGB 0..1."""

    points: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class View:
    """One picture: its title, the surfaces in it, and the side it is seen from (a key of ``direction_of``)."""

    title: str
    surfaces: Sequence[Surface]
    seen_from: str


def plain_surface(mesh: vtk.vtkPolyData, color) -> Surface:
    """A mesh in one color."""
    points, triangles = to_arrays(mesh)
    return Surface(points, triangles, np.tile(np.asarray(color, float), (len(points), 1)))


def mapped_surface(mesh: vtk.vtkPolyData, scalar: str, highest: float, where: str | None = None) -> Surface:
    """A mesh colored by the point data ``scalar`` from 0 to ``highest``; exactly 0 has a color of its own.

    Args:
        where: point data that is 0 where ``scalar`` means nothing; the bone's color is used there.
    """
    points, triangles = to_arrays(mesh)
    values = get_point_data(mesh, scalar).astype(float)
    colors = colormaps[_RAMP](np.clip(values / highest, 0, 1))[:, :3]
    colors[values == 0] = ZERO_COLOR
    if where is not None:
        colors[get_point_data(mesh, where) == 0] = OUTSIDE_COLOR
    return Surface(points, triangles, colors)


def change_surface(mesh: vtk.vtkPolyData, scalar: str, extreme: float, where: str) -> Surface:
    """A mesh colored by a change, red for loss and blue for gain, from ``-extreme`` to ``extreme``.

    Args:
        where: point data that is 0 where nothing can be compared; the bone's color is used there.
    """
    points, triangles = to_arrays(mesh)
    values = get_point_data(mesh, scalar).astype(float)
    colors = colormaps[_CHANGE_RAMP](np.clip(0.5 + 0.5 * values / extreme, 0, 1))[:, :3]
    colors[get_point_data(mesh, where) == 0] = OUTSIDE_COLOR
    return Surface(points, triangles, colors)


def number_color(number: int) -> tuple[float, float, float]:
    """Color of a number (1, 2 …) on a :func:`numbered_surface`."""
    return tuple(colormaps["tab20"].colors[(number - 1) % 20])


def numbered_surface(mesh: vtk.vtkPolyData, numbers: str) -> Surface:
    """A mesh colored by the point data ``numbers`` (1, 2 …), neighbors in different colors; 0 has the bone's color."""
    points, triangles = to_arrays(mesh)
    values = get_point_data(mesh, numbers).astype(int)
    colors = np.array([number_color(n) for n in range(1, 21)])[(values - 1) % 20]
    colors[values == 0] = OUTSIDE_COLOR
    return Surface(points, triangles, colors)


def direction_of(seen_from: str, side: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Unit vector towards the viewer and the vector that is up in the picture (LPS).

    ``medial`` and ``lateral`` depend on ``side`` (``left`` or ``right``): lateral is away from the body's middle.

    Raises:
        ValueError: an unknown name, or medial/lateral of an unknown side.
    """
    if seen_from in ("medial", "lateral"):
        if side not in ("left", "right"):
            raise ValueError(f"{seen_from} needs a side, left or right")
        other = {"left": "right", "right": "left"}
        seen_from = side if seen_from == "lateral" else other[side]
    if seen_from not in DIRECTIONS:
        raise ValueError(f"a view is one of {', '.join([*DIRECTIONS, 'medial', 'lateral'])}, not {seen_from!r}")
    towards, up = DIRECTIONS[seen_from]
    return np.array(towards), np.array(up)


def render(surfaces: Sequence[Surface], seen_from: str, side: str | None = None, width: int = 420) -> np.ndarray:
    """Parallel projection with soft shading on white.

    Returns:
        (height, width, 3) uint8; the surfaces fill it but for a margin.
    """
    towards, up = direction_of(seen_from, side)
    right = np.cross(up, towards)
    frame = np.array([right, -up, towards])
    placed = [surface.points @ frame.T for surface in surfaces]
    low = np.min([p.min(axis=0) for p in placed], axis=0)
    high = np.max([p.max(axis=0) for p in placed], axis=0)
    margin = 0.04 * (high - low)[:2].max()
    scale = (width - 1) / ((high - low)[0] + 2 * margin)
    height = int(np.ceil(((high - low)[1] + 2 * margin) * scale)) + 1
    pixels, depths, painters = [], [], []
    for surface, points in zip(surfaces, placed, strict=True):
        flat = np.column_stack([(points[:, :2] - low[:2] + margin) * scale, points[:, 2]]).astype(np.float32)
        # normals are made before the projection: its frame is left-handed (rows grow downwards)
        colors = _shaded(surface.colors, _normals(surface.points, surface.triangles) @ frame.T)
        for triangles, weights in _samples(flat, surface.triangles):
            at = np.matmul(weights, flat[triangles])  # [triangle, sample, (column, row, depth)]
            column, row = (np.clip(at[..., n].astype(np.int32), 0, most - 1) for n, most in ((0, width), (1, height)))
            pixels.append((row * width + column).ravel())
            depths.append(at[..., 2].ravel())
            painters.append((triangles, weights, colors))
    shown, sample = _nearest(np.concatenate(pixels), np.concatenate(depths), height * width)
    picture = np.full((height * width, 3), 255, dtype=np.uint8)
    first = 0
    for group, (triangles, weights, colors) in zip(pixels, painters, strict=True):
        mine = (sample >= first) & (sample < first + len(group))
        triangle, place = np.divmod(sample[mine] - first, len(weights))
        picture[shown[mine]] = np.einsum("nk,nkc->nc", weights[place], colors[triangles[triangle]])
        first += len(group)
    return picture.reshape(height, width, 3)


def _nearest(pixels: np.ndarray, depths: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that samples fall on, and of each the number of its nearest sample."""
    # in 16 bits (some micrometers) numpy sorts by radix, ten times faster than floats
    steps = ((depths - depths.min()) * (65535 / max(float(np.ptp(depths)), 1e-6))).astype(np.uint16)
    order = np.argsort(steps, kind="stable").astype(np.int32)
    winner = np.full(count, -1, dtype=np.int32)
    winner[pixels[order]] = order  # nearest last: of repeated indices numpy keeps the last value
    shown = np.flatnonzero(winner >= 0)
    return shown, winner[shown]


def _normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals of the points, the mean of their triangles' weighted by area."""
    a, b, c = (points[triangles[:, n]] for n in range(3))
    of_faces = np.cross(b - a, c - a)
    normals = np.stack(
        [sum(np.bincount(triangles[:, n], of_faces[:, axis], len(points)) for n in range(3)) for axis in range(3)],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _samples(flat: np.ndarray, triangles: np.ndarray):
    """All triangles that face us, in groups of like size, and weights of their corners for samples less than a pixel
    apart."""
    corners = flat[triangles]  # [triangle, corner, (column, row, depth)]
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    # rows grow downwards, so a triangle that turns counter-clockwise to its viewer has a negative area here
    facing = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    triangles, corners = triangles[facing], corners[facing, :, :2]
    longest = np.max([np.linalg.norm(corners[:, n] - corners[:, n - 1], axis=1) for n in range(3)], axis=0)
    steps = np.clip(np.ceil(1.2 * longest).astype(int), 1, 400)
    for step in np.unique(steps):
        i, j = np.meshgrid(np.arange(step + 1), np.arange(step + 1), indexing="ij")
        inside = i + j <= step
        weights = np.column_stack([i[inside], j[inside], step - i[inside] - j[inside]]).astype(np.float32) / step
        yield triangles[steps == step], weights


def _shaded(color: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Colors 0..255 (float32) in light from the upper left in front of the picture, and some from everywhere."""
    light = np.array([-0.35, -0.45, 0.82])
    light /= np.linalg.norm(light)
    brightness = 0.5 + 0.52 * np.clip(normal @ light, 0, 1)
    return (255 * np.clip(color * brightness[:, None], 0, 1)).astype(np.float32)


def surface_figure(
    views: Sequence[View],
    side: str | None = None,
    scale: tuple[str, float] | None = None,
    columns: int = 3,
    width_inches: float = 10.0,
    of_change: bool = False,
) -> Figure:
    """Several views side by side, each with its title; a legend where ``scale`` (title, highest value) is given.

    ``of_change``: the scale is that of :func:`change_surface`, from minus to plus the highest value.
    """
    columns = min(columns, len(views))
    rows = -(-len(views) // columns)
    figure = Figure(figsize=(width_inches, 3.3 * rows + (0.9 if scale else 0.0)), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.01,
        right=0.99,
        top=1 - 0.28 / figure.get_figheight(),
        bottom=(0.95 if scale else 0.05) / figure.get_figheight(),
        hspace=0.12,
        wspace=0.04,
    )
    for number, view in enumerate(views):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        axes.imshow(render(view.surfaces, view.seen_from, side), interpolation="antialiased")
        axes.axis("off")
        # a title of the axes would have matplotlib lay out their hidden ticks, which takes longer than all else
        axes.text(0.5, 1.02, view.title, transform=axes.transAxes, ha="center", va="bottom", fontsize=10)
    if scale:
        _legend(figure, *scale, of_change)
    return figure


def _legend(figure: Figure, title: str, highest: float, of_change: bool) -> None:
    """A color bar, and the colors beside it: bare bone (not of a change) and not measured."""
    height = figure.get_figheight()
    axes = figure.add_axes((0.08, 0.5 / height, 0.5, 0.16 / height))
    ramp = colormaps[_CHANGE_RAMP] if of_change else ListedColormap(colormaps[_RAMP].colors)
    bar = ScalarMappable(Normalize(-highest if of_change else 0, highest), ramp)
    figure.colorbar(bar, cax=axes, orientation="horizontal").set_label(title, fontsize=9)
    keys = ((0.64, ZERO_COLOR, "none (0)"), (0.81, OUTSIDE_COLOR, "not measured"))
    for x, color, text in keys[1:] if of_change else keys:
        box = figure.add_axes((x, 0.5 / height, 0.025, 0.16 / height), facecolor=color)
        box.set_xticks([])
        box.set_yticks([])
        figure.text(x + 0.033, 0.58 / height, text, va="center", fontsize=9)
