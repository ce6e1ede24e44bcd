"""Pictures of slices with the outlines of structures, in anatomical axes and radiological convention.

The volume is brought to anatomical order by permutation and flips (nothing is resampled), so that an oblique, flipped
or left-handed volume is drawn the same way as any other: sagittal with anterior on the left, coronal and axial with
the patient's right on the left, as seen from the feet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..images.canonical import same_grid, to_canonical

Color = tuple[float, float, float]


@dataclass(frozen=True)
class _Plane:
    """axes: where columns, rows and slices grow to; letters: what lies left, right, above, below."""

    axes: str
    letters: tuple[str, str, str, str]


PLANES = {
    "sagittal": _Plane("PIL", ("A", "P", "S", "I")),
    "coronal": _Plane("LIP", ("R", "L", "S", "I")),
    "axial": _Plane("LPS", ("R", "L", "A", "P")),
}

_MARGIN_MM = 12.0
#: Room for the color scale under a montage.
_SCALE_INCHES = 0.55
#: Slices that show less than this part of what the fullest slice shows are not drawn.
_SMALLEST_PART = 0.15


def slice_montage(
    image: sitk.Image | None,
    labels: sitk.Image,
    names: Mapping[str, int],
    colors: Mapping[str, Color],
    plane: str = "sagittal",
    count: int = 8,
    width_inches: float = 10.0,
    show: Collection[str] = (),
) -> Figure:
    """``count`` slices through what is labeled, with outlines and a light fill.

    Args:
        image: the scan (LPS, mm); None draws the labels on black. It may have another grid than ``labels``, which then
            are resampled to it (nearest neighbor).
        labels: integer label map.
        names: structure -> value.
        colors: structure -> RGB 0..1; a structure without color is not drawn.
        plane: ``sagittal``, ``coronal`` or ``axial``.
        count: number of slices; with 1 the slice that shows most of the structures.
        show: structures by which slices are chosen; all where none of these is there.

    Raises:
        ValueError: an unknown plane.
    """
    if plane not in PLANES:
        raise ValueError(f"a plane is one of {', '.join(PLANES)}, not {plane!r}")
    view = PLANES[plane]
    gray, values, spacing = _arrays(image, labels, view.axes)
    drawn = {name: value for name, value in names.items() if name in colors}
    important = {name: value for name, value in drawn.items() if name in show and (values == value).any()}
    chosen = _best_slices(values, important or drawn, count)
    rows, columns = _window(values, drawn, spacing)
    low, high = (0.0, 1.0) if gray is None else np.percentile(gray[chosen], (0.5, 99.7))
    figure, cells = _grid(len(chosen), rows, columns, spacing, width_inches)
    for axes, k in zip(cells, chosen, strict=True):
        _draw(
            axes,
            None if gray is None else gray[k, rows, columns],
            values[k, rows, columns],
            drawn,
            colors,
            spacing,
            (low, high),
        )
        _letter(axes, view.letters)
    return figure


def value_montage(
    image: sitk.Image,
    values: sitk.Image,
    labels: sitk.Image,
    names: Mapping[str, int],
    title: str,
    highest: float,
    plane: str = "sagittal",
    count: int = 8,
    width_inches: float = 10.0,
) -> Figure:
    """``count`` slices with a measure in color inside the named structures, and its scale from 0 to ``highest``.

    Args:
        image: the scan. values: the measure on its grid; 0 where there is none, which is not colored.
        labels, names: the structures in which the measure is shown.
    """
    view = PLANES[plane]
    gray, found, spacing = _arrays(image, labels, view.axes)
    measure = sitk.GetArrayFromImage(to_canonical(values, view.axes))
    chosen = _best_slices(found, names, count)
    rows, columns = _window(found, names, spacing)
    low, high = np.percentile(gray[chosen], (0.5, 99.7))
    figure, cells = _grid(len(chosen), rows, columns, spacing, width_inches, _SCALE_INCHES)
    extent = (0, (columns.stop - columns.start) * spacing[2], (rows.stop - rows.start) * spacing[1], 0)
    for axes, k in zip(cells, chosen, strict=True):
        axes.imshow(gray[k, rows, columns], cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
        shown = np.isin(found[k, rows, columns], list(names.values())) & (measure[k, rows, columns] > 0)
        color = np.ma.masked_where(~shown, measure[k, rows, columns])
        drawn = axes.imshow(color, cmap="viridis", vmin=0, vmax=highest, extent=extent, interpolation="nearest")
        axes.axis("off")
        _letter(axes, view.letters)
    share = _SCALE_INCHES / figure.get_figheight()
    bar = figure.add_axes((0.25, 0.42 * share, 0.5, 0.22 * share))
    figure.colorbar(drawn, cax=bar, orientation="horizontal").ax.tick_params(colors="white", labelsize=7)
    bar.set_title(title, color="white", fontsize=8, pad=2)
    return figure


def outline_montage(
    image: sitk.Image | None,
    masks: Mapping[str, sitk.Image],
    colors: Mapping[str, Color],
    plane: str = "axial",
    count: int = 4,
    width_inches: float = 10.0,
    at: Sequence[tuple[float, float, float]] = (),
    titles: Sequence[str] = (),
) -> Figure:
    """``count`` slices with the outlines of masks that may overlap, such as several opinions on one structure.

    Args:
        image: the scan on the grid of the masks; None draws on black.
        masks: name -> mask, all on one grid.
        colors: name -> RGB 0..1.
        plane, count, width_inches: see :func:`slice_montage`.
        at: places (LPS, mm) whose slices are shown instead, each marked with a ring.
        titles: what stands over each slice.
    """
    view = PLANES[plane]
    first = next(iter(masks.values()))
    any_mask = first > 0
    for mask in masks.values():
        any_mask = any_mask | (mask > 0)
    gray, union, spacing = _arrays(image, any_mask, view.axes)
    arrays = {name: sitk.GetArrayFromImage(to_canonical(mask, view.axes)) > 0 for name, mask in masks.items()}
    like = to_canonical(first, view.axes)
    rings = [like.TransformPhysicalPointToIndex(point) for point in at]
    chosen = [ring[2] for ring in rings] or _best_slices(union, {"any": 1}, count)
    rows, columns = _window(union, {"any": 1}, spacing)
    low, high = (0.0, 1.0) if gray is None else np.percentile(gray[chosen], (0.5, 99.7))
    figure, cells = _grid(len(chosen), rows, columns, spacing, width_inches)
    for number, (axes, k) in enumerate(zip(cells, chosen, strict=True)):
        shown = None if gray is None else gray[k, rows, columns]
        _draw_outlines(axes, shown, {n: a[k, rows, columns] for n, a in arrays.items()}, colors, spacing, (low, high))
        if rings:
            across, down, _ = rings[number]
            place = ((across - columns.start + 0.5) * spacing[2], (down - rows.start + 0.5) * spacing[1])
            axes.plot(*place, marker="o", markersize=16, markerfacecolor="none", markeredgecolor="white")
        _letter(axes, view.letters)
        if number < len(titles):
            axes.text(0.03, 0.965, titles[number], transform=axes.transAxes, color="white", fontsize=8, va="top")
    return figure


def _draw_outlines(axes, gray, masks, colors, spacing, limits) -> None:
    """Outlines over a slice: the first solid, the others dashed in turn, so that coinciding ones all stay visible."""
    height, width = next(iter(masks.values())).shape
    extent = (0, width * spacing[2], height * spacing[1], 0)
    background = np.zeros((height, width)) if gray is None else gray
    axes.imshow(background, cmap="gray", vmin=limits[0], vmax=limits[1], extent=extent, interpolation="bilinear")
    x = (np.arange(-1, width + 1) + 0.5) * spacing[2]
    y = (np.arange(-1, height + 1) + 0.5) * spacing[1]
    for number, (name, mask) in enumerate(masks.items()):
        if mask.any():
            padded = np.pad(mask, 1).astype(float)
            style = (3 * number, (3, 3 * max(1, len(masks) - 2))) if number else "solid"
            axes.contour(x, y, padded, levels=[0.5], colors=[colors[name]], linewidths=1.1, linestyles=[style])
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_aspect("equal")
    axes.axis("off")


def _grid(count: int, rows: slice, columns: slice, spacing, width_inches: float, below_inches: float = 0.0):
    """A black figure with ``count`` cells of the window's shape, four a row, and room below; figure and axes."""
    across = min(count, 4)
    down = -(-count // across)
    shape = (rows.stop - rows.start) * spacing[1] / ((columns.stop - columns.start) * spacing[2])
    tall = width_inches / across * shape * down
    figure = Figure(figsize=(width_inches, tall + below_inches), facecolor="black")
    FigureCanvasAgg(figure)
    height = tall / (tall + below_inches) / down
    places = [(n % across / across, 1 - (n // across + 1) * height, 1 / across, height) for n in range(count)]
    return figure, [figure.add_axes(place) for place in places]


def _arrays(image, labels, axes):
    """Gray values (or None), label values [slice, row, column] and spacing (slice, row, column) in mm."""
    if image is not None and not same_grid(image, labels):
        labels = sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    ordered = to_canonical(labels, axes)
    values = sitk.GetArrayFromImage(ordered)
    gray = None if image is None else sitk.GetArrayFromImage(to_canonical(image, axes))
    return gray, values, ordered.GetSpacing()[::-1]


def _best_slices(values: np.ndarray, drawn: Mapping[str, int], count: int) -> list[int]:
    """Slices spread evenly over what is labeled; for one slice that where most of every structure is seen."""
    areas = np.array([[np.count_nonzero(plane == value) for value in drawn.values()] for plane in values], float)
    largest = areas.max(axis=0, initial=0.0)
    parts = areas[:, largest > 0] / largest[largest > 0]
    if not parts.size:
        return sorted({int(k) for k in np.linspace(0, len(values) - 1, count + 2)[1:-1]})
    if count == 1:
        return [int(np.argmax(np.sqrt(parts).sum(axis=1)))]
    seen = parts.sum(axis=1)
    there = np.flatnonzero(seen > _SMALLEST_PART * seen.max())
    return sorted({int(round(k)) for k in np.linspace(there[0], there[-1], count)})


def _window(values: np.ndarray, drawn: Mapping[str, int], spacing) -> tuple[slice, slice]:
    """Rows and columns around what is labeled, with a margin."""
    seen = np.isin(values, list(drawn.values()))
    window = []
    for axis in (1, 2):
        there = np.flatnonzero(seen.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(_MARGIN_MM / spacing[axis]))
        first, last = (there[0], there[-1]) if there.size else (0, values.shape[axis] - 1)
        window.append(slice(max(0, first - margin), min(values.shape[axis], last + margin + 1)))
    return window[0], window[1]


def _draw(axes, gray, values, drawn, colors, spacing, limits) -> None:
    height, width = values.shape
    extent = (0, width * spacing[2], height * spacing[1], 0)  # mm, row 0 on top
    background = np.zeros(values.shape) if gray is None else gray
    axes.imshow(background, cmap="gray", vmin=limits[0], vmax=limits[1], extent=extent, interpolation="bilinear")
    fill = np.zeros((*values.shape, 4))
    x = (np.arange(width) + 0.5) * spacing[2]
    y = (np.arange(height) + 0.5) * spacing[1]
    for name, value in drawn.items():
        mask = values == value
        if not mask.any():
            continue
        fill[mask] = (*colors[name], 0.9 if gray is None else 0.22)
        if min(mask.shape) > 1:
            # a frame of background closes outlines that reach the border
            padded = np.pad(mask, 1).astype(float)
            axes.contour(
                np.concatenate(([x[0] - spacing[2]], x, [x[-1] + spacing[2]])),
                np.concatenate(([y[0] - spacing[1]], y, [y[-1] + spacing[1]])),
                padded,
                levels=[0.5],
                colors=[colors[name]],
                linewidths=0.9,
            )
    axes.imshow(fill, extent=extent, interpolation="nearest")
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_aspect("equal")
    axes.axis("off")


def _letter(axes, letters: Sequence[str]) -> None:
    places = (
        (0.015, 0.5, "left", "center"),
        (0.985, 0.5, "right", "center"),
        (0.5, 0.985, "center", "top"),
        (0.5, 0.015, "center", "bottom"),
    )
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="#ffd84d",
            ha=horizontal,
            va=vertical,
            fontsize=8,
            fontweight="bold",
        )
