"""Pictures of a comparison: the same slices of both timepoints, the change map, volumes over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.canonical import to_canonical

BASELINE_COLOR, FOLLOWUP_COLOR = (0.30, 0.65, 1.0), (1.0, 0.62, 0.15)
_MARGIN_MM = 20.0


def side_by_side(
    baseline: sitk.Image,
    followup: sitk.Image,
    baseline_mask: sitk.Image,
    followup_mask: sitk.Image,
    count: int = 4,
    width_inches: float = 10.0,
):
    """Axial slices through the lesions, baseline above and follow-up below, each with both outlines.

    Args:
        all four on one grid of the common space.

    Returns:
        matplotlib figure.
    """
    images = [_axial(image) for image in (baseline, followup)]
    masks = [_axial(mask) != 0 for mask in (baseline_mask, followup_mask)]
    spacing = to_canonical(baseline, "LPS").GetSpacing()
    chosen, rows, columns = _window(masks[0] | masks[1], spacing, count)
    figure, cells = _cells(2, len(chosen), rows, columns, spacing, width_inches)
    for row, image in enumerate(images):
        low, high = np.percentile(image[:, rows, columns][image[:, rows, columns] != 0], (1, 99.8))
        for column, k in enumerate(chosen):
            axes = cells[row][column]
            axes.imshow(image[k, rows, columns], cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0])
            for mask, color in zip(masks, (BASELINE_COLOR, FOLLOWUP_COLOR)):
                part = mask[k, rows, columns]
                if part.any() and not part.all():
                    axes.contour(part, levels=[0.5], colors=[color], linewidths=0.9)
            axes.axis("off")
        first = cells[row][0]
        title = ("baseline", "follow-up")[row]
        first.text(0.02, 0.97, title, transform=first.transAxes, color="white", va="top", fontsize=9)
    _letters(cells[0][0])
    return figure


def change_map(background: sitk.Image, z: sitk.Image, around: sitk.Image, count: int = 4, width_inches: float = 10.0):
    """Axial slices with the intensity change in color (orange brighter, blue darker), from 3 to 8 times the noise.

    Args:
        around: mask by which slices are chosen, e.g. both lesion masks together; all on one grid.
    """
    from matplotlib.colors import ListedColormap

    image, values, mask = _axial(background), _axial(z), _axial(around) != 0
    spacing = to_canonical(background, "LPS").GetSpacing()
    chosen, rows, columns = _window(mask if mask.any() else np.abs(values) > 3, spacing, count)
    figure, cells = _cells(1, len(chosen), rows, columns, spacing, width_inches)
    inside = image[:, rows, columns][image[:, rows, columns] != 0]
    low, high = np.percentile(inside if inside.size else [0, 1], (1, 99.8))
    for axes, k in zip(cells[0], chosen, strict=True):
        axes.imshow(image[k, rows, columns], cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0])
        part = values[k, rows, columns]
        for sign, color in ((1, (1.0, 0.55, 0.1)), (-1, (0.2, 0.6, 1.0))):
            strength = np.clip((sign * part - 3) / 5, 0, 1)
            shown = np.ma.masked_where(strength <= 0, strength)
            ramp = ListedColormap([(*color, a) for a in np.linspace(0.25, 1, 64)])
            axes.imshow(shown, cmap=ramp, vmin=0, vmax=1, aspect=spacing[1] / spacing[0], interpolation="nearest")
        if mask[k, rows, columns].any():
            axes.contour(mask[k, rows, columns], levels=[0.5], colors=["#ffffff"], linewidths=0.5)
        axes.axis("off")
    _letters(cells[0][0])
    return figure


def expansion_map(background: sitk.Image, percent: sitk.Image, spread: float, around: sitk.Image | None):
    """The local expansion (percent, any grid of the same space) as :func:`change_map` draws it: from 3 to 8 times
    ``spread``.

    Args:
        around: mask by which slices are chosen, on the background's grid; None takes those that changed the most.
    """
    there = sitk.Resample(percent, background, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    times = sitk.GetImageFromArray(np.nan_to_num(sitk.GetArrayFromImage(there)) / max(spread, 1e-6))
    times.CopyInformation(background)
    if around is None:
        around = sitk.Cast(sitk.Abs(times) > 3, sitk.sitkUInt8)
    return change_map(background, times, around)


def timeline(days: Sequence[float], volumes_ml: dict[str, Sequence[float]], half_widths: Sequence[float] = ()):
    """Volumes over time, a line a lesion; the first one with the 95 % interval of each timepoint against the first.

    Args:
        days: of each timepoint. volumes_ml: name -> volume at each of them.
        half_widths: on ln(V / V of the first timepoint), 0 for the first.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(volumes_ml.items()):
        line = axes.plot(days, values, marker="o", linewidth=2 if number == 0 else 1, label=name)[0]
        if number == 0 and len(half_widths):
            factor = np.exp(np.asarray(half_widths))
            axes.fill_between(days, values / factor, values * factor, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("days", fontsize=9)
    axes.set_ylabel("volume, ml", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    if len(volumes_ml) > 1:
        axes.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    return figure


def _axial(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(to_canonical(image, "LPS"))


def _window(mask: np.ndarray, spacing, count: int):
    """Slices spread over the mask by its area, and rows and columns around it with a margin."""
    areas = mask.sum(axis=(1, 2)).astype(float)
    if not areas.any():
        middle = np.linspace(0, len(mask) - 1, count + 2)[1:-1]
        return [int(k) for k in middle], slice(0, mask.shape[1]), slice(0, mask.shape[2])
    share = np.cumsum(areas) / areas.sum()
    chosen = sorted({int(np.searchsorted(share, (n + 0.5) / count)) for n in range(count)})
    window = []
    for axis in (1, 2):
        there = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(round(_MARGIN_MM / spacing[2 - axis]))
        window.append(slice(max(0, there[0] - margin), min(mask.shape[axis], there[-1] + margin + 1)))
    return chosen, window[0], window[1]


def _cells(down: int, across: int, rows: slice, columns: slice, spacing, width_inches: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shape = (rows.stop - rows.start) * spacing[1] / ((columns.stop - columns.start) * spacing[0])
    figure = Figure(figsize=(width_inches, width_inches / across * shape * down), facecolor="black")
    FigureCanvasAgg(figure)
    cells = [
        [figure.add_axes((c / across, 1 - (r + 1) / down, 1 / across, 1 / down)) for c in range(across)]
        for r in range(down)
    ]
    return figure, cells


def _letters(axes) -> None:
    for letter, x, y in (("R", 0.02, 0.5), ("L", 0.94, 0.5), ("A", 0.48, 0.92), ("P", 0.48, 0.03)):
        axes.text(x, y, letter, transform=axes.transAxes, color="#ffd84d", fontsize=8, fontweight="bold")
