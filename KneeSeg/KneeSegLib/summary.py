"""A result in a few lines, from its table node."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from MRISegSuiteLib.scene.tables import REGION, STRUCTURE

_THICKNESS, _VOLUME, _CHANGE, _T2 = "ThCtAB", "VC", "ThCtAB_change", "T2_median"
_SHAPE, _SHAPE_FIT, _BSCORE = "shape_distance", "shape_ASSD", "BScore"


def summary_of_table(tableNode) -> list[str]:
    """Mean thickness, volume, T2 and change of each whole cartilage, and the shape of each bone, a line each."""
    table = tableNode.GetTable()
    lines, shapes = [], []
    for row in range(table.GetNumberOfRows()):
        if _text(table, STRUCTURE, row) and _text(table, REGION, row).lower() == "whole":
            shapes += _shape(table, row)
            thickness, volume = _number(table, _THICKNESS, row), _number(table, _VOLUME, row)
            if thickness is None:
                continue
            line = _("{structure}: {thickness} mm").format(
                structure=_text(table, STRUCTURE, row), thickness=f"{thickness:.2f}")
            if volume is not None:
                line += _(", {volume} cm³").format(volume=f"{volume / 1000:.2f}")
            t2 = _number(table, _T2, row)
            if t2 is not None:
                line += _(", T2 {t2} ms").format(t2=f"{t2:.0f}")
            change = _number(table, _CHANGE, row)
            if change is not None:
                line += _(", change {change} mm").format(change=f"{change:+.2f}")
            lines.append(line)
    if not lines:
        return [_("No cartilage was measured."), *shapes]
    return [_("Mean thickness (ThCtAB) and volume:"), *lines, *shapes]


def _shape(table, row: int) -> list[str]:
    distance, fit, score = (_number(table, name, row) for name in (_SHAPE, _SHAPE_FIT, _BSCORE))
    if fit is None:
        return []
    line = _("Shape of the {bone}: fitted to {fit} mm").format(
        bone=_text(table, STRUCTURE, row).lower(), fit=f"{fit:.2f}")
    if distance is not None:
        line += _(", {distance} SD from the mean").format(distance=f"{distance:.1f}")
    if score is not None:
        line += _(", BScore {score}").format(score=f"{score:.2f}")
    return [line]


def _text(table, name: str, row: int) -> str:
    column = table.GetColumnByName(name)
    return column.GetValue(row) if column is not None else ""


def _number(table, name: str, row: int) -> float | None:
    column = table.GetColumnByName(name)
    value = column.GetValue(row) if column is not None else math.nan
    return value if math.isfinite(value) else None
