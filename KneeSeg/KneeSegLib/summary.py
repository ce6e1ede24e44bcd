"""A result in a few lines, from its table node."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from MRISegSuiteLib.scene.tables import REGION, STRUCTURE

_THICKNESS, _VOLUME = "ThCtAB", "VC"


def summary_of_table(tableNode) -> list[str]:
    """Mean thickness and volume of each whole cartilage, a line each."""
    table = tableNode.GetTable()
    lines = []
    for row in range(table.GetNumberOfRows()):
        if _text(table, STRUCTURE, row) and _text(table, REGION, row).lower() == "whole":
            thickness, volume = _number(table, _THICKNESS, row), _number(table, _VOLUME, row)
            if thickness is None:
                continue
            line = _("{structure}: {thickness} mm").format(
                structure=_text(table, STRUCTURE, row), thickness=f"{thickness:.2f}")
            if volume is not None:
                line += _(", {volume} cm³").format(volume=f"{volume / 1000:.2f}")
            lines.append(line)
    if not lines:
        return [_("No cartilage was measured.")]
    return [_("Mean thickness (ThCtAB) and volume:"), *lines]


def _text(table, name: str, row: int) -> str:
    column = table.GetColumnByName(name)
    return column.GetValue(row) if column is not None else ""


def _number(table, name: str, row: int) -> float | None:
    column = table.GetColumnByName(name)
    value = column.GetValue(row) if column is not None else math.nan
    return value if math.isfinite(value) else None
