"""The report of a job: one HTML file that needs nothing else, and its pictures as PNG files beside it."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from .. import __version__
from ..errors import error_from_write
from ..files import replace, write_text
from .charts import region_title, sd_of
from .style import STYLE

NOT_A_DEVICE = "For research only. Not a medical device: not for diagnosis, treatment or any decision about a patient."

_UNITS = {"mm2": "mm²", "mm3": "mm³", "1": ""}


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Attributes:
        role: its name in ``files`` of result.json and, with ``.png``, its file, e.g. ``picture_sagittal``.
        caption: what a person reads under it.
        figure: a matplotlib figure.
        wide: False lets two of them stand side by side.
        legend: what the colors mean: (text, RGB 0..1).
    """

    role: str
    caption: str
    figure: Figure
    wide: bool = True
    legend: Sequence[tuple[str, tuple[float, float, float]]] = ()


@dataclass(frozen=True)
class Table:
    """A table of the report: title, column titles, rows (text or numbers; None and NaN become a dash), a note."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence]
    note: str = ""


@dataclass
class Report:
    """What goes into a report, besides the record of the result.

    Attributes:
        title: heading, e.g. ``Knee cartilage``.
        facts: what a person wants to see first (label -> value), e.g. side of the knee, scan.
        titles: structure or region -> what a person reads.
        outcomes: heading of a table -> its columns (outcome name -> explanation), in this order; without any, one
            table shows every outcome.
        pictures, tables: in the order of the page; the tables come after the table of measurements.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def write_report(folder, result: Mapping, report: Report) -> dict[str, str]:
    """Write ``report.html`` and the pictures into ``folder``.

    Args:
        folder: an existing folder.
        result: the record of the result as far as it is known (``Result.to_record()``); every key may be missing.
        report: the rest.

    Returns:
        role -> file name: ``report`` and one role for each picture.

    Raises:
        DiskFull, UnwritableOutput
    """
    folder = Path(folder)
    files, blocks = {}, []
    for picture in report.pictures:
        content = _png(picture.figure)
        files[picture.role] = _write_bytes(folder / f"{picture.role}.png", content)
        blocks.append(_picture_block(picture, content))
    page = _page(result, report, blocks)
    write_text(folder / "report.html", page)
    return {"report": "report.html", **files}


def _page(result: Mapping, report: Report, pictures: Sequence[str]) -> str:
    measurements = result.get("measurements") or []
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f"<p class='device'>{escape(NOT_A_DEVICE)}</p>",
        _warnings(result.get("warnings") or []),
        _facts(result, report),
        *_measurements(measurements, report),
        *[_table(table) for table in report.tables],
        *pictures,
        _details(result),
        f"<footer>MRI Seg Suite {escape(__version__)} · {datetime.now().astimezone():%Y-%m-%d %H:%M}</footer>",
    ]
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(str(text))}</li>" for text in warnings)
    return f"<section class='warnings'><h2>Please note</h2><ul>{items}</ul></section>"


def _facts(result: Mapping, report: Report) -> str:
    facts = []
    for entry in result.get("inputs") or []:
        name = Path(str(entry.get("file", ""))).name  # the folder's name may name a person
        facts.append((str(entry.get("role", "input")).replace("_", " ").capitalize(), name))
    facts += list(report.facts.items())
    model = result.get("model")
    if model:
        digest = str(model.get("sha256") or "")
        facts.append(
            (
                "Model",
                f"{model.get('id', '')} {model.get('version', '')}".strip()
                + (f" (sha256 {digest[:12]}…)" if digest else ""),
            )
        )
    facts.append(("Software", f"MRI Seg Suite {__version__}"))
    rows = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in facts)
    return f"<dl>{rows}</dl>"


def _measurements(measurements: Sequence[Mapping], report: Report) -> list[str]:
    """The tables of measurements that have any."""
    found = {record["name"] for record in measurements}
    groups = report.outcomes or {"Measurements": dict.fromkeys(sorted(found), "")}
    tables = []
    for heading, outcomes in groups.items():
        names = [name for name in outcomes if name in found]
        if names:
            tables.append(_measurement_table(heading, names, outcomes, measurements, report))
    return tables


def _measurement_table(
    heading: str, names: Sequence[str], outcomes: Mapping[str, str], measurements: Sequence[Mapping], report: Report
) -> str:
    """One row for each structure and region, one column for each outcome; SD behind the mean."""
    units = {record["name"]: _UNITS.get(record["unit"], record["unit"]) for record in measurements}
    rows: dict[tuple, dict] = {}
    for record in measurements:
        rows.setdefault((record["structure"], record.get("region")), {})[record["name"]] = record
    cells = []
    for by_name in rows.values():
        if not set(by_name) & set(names):
            continue
        title = region_title(next(iter(by_name.values())), report.titles)
        whole = next(iter(by_name.values())).get("region") in (None, "whole")
        line = f"<th scope='row'>{escape(title)}</th>"
        for name in names:
            record = by_name.get(name)
            text = _number(record["value"], name) if record else "–"
            sd = sd_of(record, measurements) if record else None
            if sd is not None and math.isfinite(sd) and text != "–":
                text += f" ± {sd:.2f}"
            interval = record.get("interval") if record else None
            if interval and text != "–":
                text += f" ({_number(interval[0], name)} to {_number(interval[1], name)})"
            line += f"<td>{text}</td>"
        cells.append(f"<tr{' class=whole' if whole else ''}>{line}</tr>")
    head = "".join(
        f"<th title='{escape(outcomes.get(name, ''))}'>{escape(name)}"
        + (f"<br><small>{escape(units[name])}</small>" if units[name] else "")
        + "</th>"
        for name in names
    )
    legend = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(outcomes[name])}</dd>" for name in names if outcomes.get(name)
    )
    return (
        f"<section><h2>{escape(heading)}</h2><div class='scroll'><table><thead><tr><th>Region</th>"
        + head
        + "</tr></thead><tbody>"
        + "".join(cells)
        + "</tbody></table></div>"
        + (f"<details><summary>What the columns mean</summary><dl>{legend}</dl></details>" if legend else "")
        + "</section>"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(str(column))}</th>" for column in table.columns)
    body = ""
    for row in table.rows:
        first, *rest = row
        body += (
            f"<tr><th scope='row'>{escape(str(first))}</th>" + "".join(f"<td>{_cell(v)}</td>" for v in rest) + "</tr>"
        )
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<section><h2>{escape(table.title)}</h2><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{note}</section>"
    )


def _cell(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return escape(str(value))
    return _number(value)


def _number(value, name: str = "") -> str:
    """A number as a person reads it: large ones whole, small ones with two decimals; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1000 or float(value) == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    if name.endswith("p"):  # a percentage
        return f"{value:.1f}"
    return f"{value:.{1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3}f}"


def _picture_block(picture: Picture, content: bytes) -> str:
    data = base64.b64encode(content).decode("ascii")
    kind = "wide" if picture.wide else "half"
    keys = "".join(
        f"<span class='key'><i style='background:rgb({','.join(str(round(255 * c)) for c in color)})'></i>"
        f"{escape(text)}</span>"
        for text, color in picture.legend
    )
    return (
        f"<figure class='{kind}'><img alt='{escape(picture.caption, quote=True)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{escape(picture.caption)}{f'<div>{keys}</div>' if keys else ''}</figcaption></figure>"
    )


def _details(result: Mapping) -> str:
    blocks = ""
    for title, key in (
        ("Inputs", "inputs"),
        ("Model", "model"),
        ("Software", "software"),
        ("Parameters", "parameters"),
        ("Time (s)", "timings_s"),
    ):
        content = result.get(key)
        if key == "inputs":  # the folder's name may name a person
            content = [{**entry, "file": Path(str(entry.get("file", ""))).name} for entry in content or []]
        if content:
            blocks += (
                f"<h3>{title}</h3><pre>{escape(json.dumps(content, indent=2, ensure_ascii=False, default=str))}</pre>"
            )
    methods = {
        str(record["name"]): str(record["method"])
        for record in result.get("measurements") or []
        if record.get("method")
    }
    if methods:
        blocks += (
            "<h3>Methods</h3><dl>"
            + "".join(f"<dt>{escape(name)}</dt><dd>{escape(method)}</dd>" for name, method in methods.items())
            + "</dl>"
        )
    return f"<details class='provenance'><summary>How this was made</summary>{blocks}</details>" if blocks else ""


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()


def _write_bytes(path: Path, content: bytes) -> str:
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(content)
        replace(aside, path)
    except OSError as exception:
        aside.unlink(missing_ok=True)
        raise error_from_write(exception, path) from exception
    return path.name
