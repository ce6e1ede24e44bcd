"""The report of a comparison: pictures of both timepoints, what changed and how sure that is, the registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.canonical import to_canonical
from MRISegSuiteLib.reports.html_report import Picture, Report, write_report

from .change.calibration import Calibration
from .comparison import Comparison
from .reporting.pdf import write_pdf
from .reporting.pictures import BASELINE_COLOR, FOLLOWUP_COLOR, change_map, expansion_map, side_by_side, timeline
from .reporting.tables import (
    OUTCOMES,
    calibration_table,
    category_table,
    contrast_table,
    gate_table,
    lesion_table,
    reason_table,
    uncertainty_table,
)

_STATES = {"good": "good", "check": "check: look at the alignment before you believe it", "failed": "failed"}
_TILE_MM = 28.0


def write_compare_report(
    folder: Path, result: Mapping, found: Comparison, calibrations: Sequence[Calibration]
) -> dict[str, str]:
    """Write ``report.html``, ``report.pdf`` and the pictures; returns role -> file name."""
    facts = {"Timepoints": str(len(found.timepoints))}
    if found.timepoints[0].days is not None:
        facts["Days since the baseline"] = ", ".join(str(one.days) for one in found.timepoints[1:])
    if any(one.channels for one in found.timepoints):
        facts["Contrasts"] = "; ".join(
            f"{one.label}: {', '.join([f'{one.name} (registered)', *(c.name for c in one.channels)])}"
            for one in found.timepoints
        )
    for pair, aligned in zip(found.pairs, found.alignment.pairs, strict=True):
        name = found.timepoints[pair.number].label
        facts[f"Registration of the {name}"] = _STATES[aligned.gate.state]
        if pair.category is not None:
            c = pair.category
            facts[f"Change category, {name}"] = f"{c.text} ({c.certainty}; {c.criterion.title})"
    titles = {"lesion": "Lesions"}
    report = Report("Change over time", facts, titles, OUTCOMES, _pictures(found), _tables(found, calibrations))
    files = write_report(folder, result, report)
    files["report_pdf"] = write_pdf(folder / "report.pdf", result, report).name
    return files


def _tables(found: Comparison, calibrations: Sequence[Calibration]) -> list:
    categories = [pair.category for pair in found.pairs if pair.category is not None]
    tables = [category_table(categories), reason_table(categories)]
    for pair in found.pairs:
        if pair.change is not None:
            tables += [lesion_table(pair.change) if pair.change.lesions else None, uncertainty_table(pair.change)]
    tables.append(calibration_table(calibrations))
    for aligned in found.alignment.pairs:
        n = aligned.gate.numbers
        values = {
            "correlation inside the masks": f"{n['pearson']:.3f}",
            "normalized mutual information (as the images lie)": f"{n['nmi']:.3f} ({n['nmi_identity']:.3f})",
            "shared information lost 4 mm beside": f"{100 * n['sharpness']:.0f} %",
            "inverse consistency": f"{n['inverse_consistency_mm']:.3f} mm",
            "turned by": f"{n['rotation_deg']:.1f}°",
            "determinant of the affine (diagnosis only)": f"{n['determinant']:.4f}",
            "largest drift of scale": f"{100 * n['scale_drift']:.2f} % (noise of it: {100 * n['scale_noise']:.2f} %)",
            "shared field of view": f"{100 * n['field_overlap']:.0f} %",
            "engine": found.alignment.engine,
        }
        tables.append(gate_table(aligned.gate.state, aligned.gate.reasons, values))
    tables.append(contrast_table(found.timepoints))
    return [table for table in tables if table is not None]


def _pictures(found: Comparison) -> list[Picture]:
    pictures = []
    if found.timepoints[0].days is not None and found.lesions:
        volumes = {"all lesions": [one.volume_mm3 / 1000 for one in found.lesions]}
        intervals = [pair.change.total.interval for pair in found.pairs]
        widths = [0.0] + [one.half_width if one else np.nan for one in intervals]
        figure = timeline([one.days for one in found.timepoints], volumes, widths)
        caption = "Volume over time, with the 95 % interval against the baseline."
        pictures.append(Picture("picture_timeline", caption, figure))
    several = len(found.pairs) > 1
    for pair in found.pairs:
        n = pair.number
        if found.images[n] is None:
            continue
        suffix, name = (f"_{n + 1}", found.timepoints[n].label) if several else ("", "follow-up")
        first, second = found.images[0], found.images[n]
        pictures.append(Picture(
            f"picture_checkerboard{suffix}",
            f"Checkerboard of the baseline and the {name} in the space halfway: borders run on from tile to tile "
            "where the alignment is right.",
            checkerboard(first, second),
        ))  # fmt: skip
        masks = found.masks[0], found.masks[n]
        marked = masks[0] is not None and any(np.any(sitk.GetArrayViewFromImage(mask)) for mask in masks)
        if marked:
            pictures.append(Picture(
                f"picture_lesions{suffix}", f"Baseline above, {name} below, both outlines on both.",
                side_by_side(first, second, *masks), legend=(("baseline", BASELINE_COLOR), (name, FOLLOWUP_COLOR)),
            ))  # fmt: skip
        if pair.intensity is not None:
            around = masks[0] | masks[1] if marked else sitk.Cast(sitk.Abs(pair.intensity.z) > 5, sitk.sitkUInt8)
            pictures.append(Picture(
                f"picture_change{suffix}",
                f"Gray value of the {name} minus the baseline, from 3 to 8 times the noise: orange brighter, blue "
                "darker.",
                change_map(second, pair.intensity.z, around),
            ))  # fmt: skip
        for contrast, change in pair.contrasts.items():
            if change is None:
                continue
            around = masks[0] | masks[1] if marked else sitk.Cast(sitk.Abs(change.z) > 5, sitk.sitkUInt8)
            pictures.append(Picture(
                f"picture_change_{contrast}{suffix}",
                f"The same of {contrast}: {name} minus the baseline.",
                change_map(found.contrasts[contrast][n], change.z, around),
            ))  # fmt: skip
        if pair.expansion is not None:
            around = masks[0] | masks[1] if marked else None
            pictures.append(Picture(
                f"picture_jacobian{suffix}",
                f"Local expansion from the baseline to the {name}, from 3 to 8 times the spread of this map "
                f"({pair.expansion_spread:.1f} %): orange larger, blue smaller. To look at: no volume comes from it.",
                expansion_map(second, pair.expansion, pair.expansion_spread, around),
            ))  # fmt: skip
    return pictures


def checkerboard(first: sitk.Image, second: sitk.Image, width_inches: float = 10.0):
    """An axial, a coronal and a sagittal slice in tiles that are of one image and the other in turn (one grid)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    a, b = (sitk.GetArrayFromImage(to_canonical(image, "LPS")) for image in (first, second))
    spacing = np.array(to_canonical(first, "LPS").GetSpacing()[::-1])
    a, b = _even(a), _even(b)
    there = np.argwhere((a > 0.1) & (b > 0.1))
    middle = np.median(there, axis=0).astype(int) if len(there) else np.array(a.shape) // 2
    low, high = (there.min(axis=0), there.max(axis=0) + 1) if len(there) else (np.zeros(3, int), np.array(a.shape))
    figure = Figure(figsize=(width_inches, 0.42 * width_inches), facecolor="black")
    FigureCanvasAgg(figure)
    for column, axis in enumerate((0, 1, 2)):
        rest = [other for other in range(3) if other != axis]
        window = tuple(slice(low[d], high[d]) if d != axis else middle[d] for d in range(3))
        one, other = a[window], b[window]
        steps = [np.arange(size) * spacing[d] // _TILE_MM for size, d in zip(one.shape, rest)]
        tiles = (steps[0][:, None] + steps[1][None, :]) % 2 == 0
        mixed = np.where(tiles, one, other)
        axes = figure.add_axes((column / 3, 0, 1 / 3, 1))
        origin = "upper" if axis == 0 else "lower"
        axes.imshow(mixed, cmap="gray", vmin=0, vmax=1, aspect=spacing[rest[0]] / spacing[rest[1]], origin=origin)
        axes.axis("off")
    return figure


def _even(array: np.ndarray) -> np.ndarray:
    inside = array[array > array.min()]
    low, high = np.percentile(inside, (2, 99.5)) if inside.size else (0, 1)
    return np.clip((array - low) / max(high - low, 1e-9), 0, 1)
