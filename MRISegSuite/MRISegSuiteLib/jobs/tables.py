"""Measurements as a table of text, for spreadsheets."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from ..errors import error_from_write
from .result import Measurement


def write_table(measurements: Iterable[Measurement], path: Path | str) -> None:
    """The table as CSV: a line for each structure and region, a column for each outcome with its unit.

    What was not measured is an empty cell; so is what is not finite.

    Raises:
        DiskFull, UnwritableOutput
    """
    measurements = list(measurements)
    columns = list(dict.fromkeys((m.name, m.unit) for m in measurements))
    lines: dict[tuple[str, str], dict] = {}
    for m in measurements:
        lines.setdefault((m.structure, m.region), {})[(m.name, m.unit)] = m.value
    try:
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["structure", "region", *(f"{name} ({unit})" for name, unit in columns)])
            for (structure, region), values in lines.items():
                cells = (values.get(column) for column in columns)
                writer.writerow(
                    [structure, region, *("" if v is None or not math.isfinite(v) else f"{v:.6g}" for v in cells)]
                )
    except OSError as exception:
        raise error_from_write(exception, path) from exception
