"""Charts of measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Bar:
    """A bar: label, value, standard deviation (NaN or None where there is none) and color."""

    label: str
    value: float
    sd: float | None
    color: tuple[float, float, float]


def bar_chart(bars: Sequence[Bar], axis_title: str, width_inches: float = 8.0) -> Figure:
    """Horizontal bars with the standard deviation as a whisker and the value as text; NaN becomes "not measured"."""
    figure = Figure(figsize=(width_inches, 0.36 * len(bars) + 0.9), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, bar in enumerate(bars):
        if not math.isfinite(bar.value):
            axes.text(0, row, " not measured", va="center", fontsize=9, color="#777777")
            continue
        sd = bar.sd if bar.sd is not None and math.isfinite(bar.sd) else None
        axes.barh(row, bar.value, color=bar.color, edgecolor="#333333", linewidth=0.6, height=0.66)
        if sd is not None:
            axes.errorbar(bar.value, row, xerr=sd, color="#333333", capsize=3, linewidth=1)
        text = f"{bar.value:.2f}" + (f" ± {sd:.2f}" if sd is not None else "")
        axes.annotate(
            text, (bar.value + (sd or 0.0), row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9
        )
    longest = max([bar.value + (bar.sd or 0.0) for bar in bars if math.isfinite(bar.value)], default=1.0)
    axes.set_xlim(0, 1.25 * longest)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars], fontsize=9)
    axes.set_xlabel(axis_title, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    figure.tight_layout()
    return figure


def measurement_bars(
    measurements: Sequence[Mapping],
    name: str,
    titles: Mapping[str, str],
    colors: Mapping[str, tuple[float, float, float]],
) -> list[Bar]:
    """The bars of one outcome: a bar for each structure and region that has it.

    Args:
        measurements: records with ``name``, ``structure``, ``region``, ``value``; see :func:`sd_of` for the SD.
        titles: what a person reads for a structure, or for a region.
        colors: structure -> RGB 0..1.
    """
    bars = []
    for record in measurements:
        if record["name"] == name:
            label = region_title(record, titles)
            value = math.nan if record["value"] is None else float(record["value"])
            bars.append(
                Bar(label, value, sd_of(record, measurements), colors.get(record["structure"], (0.5, 0.5, 0.5)))
            )
    return bars


def region_title(record: Mapping, titles: Mapping[str, str]) -> str:
    """``Femoral cartilage, medial weight bearing``; the structure alone for its whole."""
    structure = titles.get(record["structure"], str(record["structure"]).replace("_", " "))
    region = str(record.get("region") or "whole")
    return structure if region == "whole" else f"{structure}, {titles.get(region, region.replace('_', ' '))}"


def sd_of(record: Mapping, measurements: Sequence[Mapping]) -> float | None:
    """Standard deviation of a measurement: its own ``sd``, or the measurement of the same name with ``_SD``."""
    if record.get("sd") is not None:
        return float(record["sd"])
    for other in measurements:
        if (
            other["name"] == record["name"] + "_SD"
            and other["structure"] == record["structure"]
            and other.get("region") == record.get("region")
        ):
            return None if other["value"] is None else float(other["value"])
    return None
