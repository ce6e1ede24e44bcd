"""The report as a PDF that can be printed, signed by hand, or signed with a key (:mod:`.signing`)."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

from MRISegSuiteLib import __version__
from MRISegSuiteLib.errors import error_from_write
from MRISegSuiteLib.files import replace
from MRISegSuiteLib.reports.html_report import NOT_A_DEVICE, Report, Table

_WIDTH_MM = 174.0
#: A bold character of a table is at most about this wide, and a cell has this much room beside its text.
_CHARACTER_MM, _PADDING_MM = 1.75, 2.0
_STATEMENT = (
    "I have looked at the scans, the outlines and the numbers above, and I judge the change as follows "
    "(agree with the change category / another category / not evaluable), because:"
)


def write_pdf(path, result: Mapping, report: Report, signer_name: str = "") -> Path:
    """Write the report as PDF: aside, then renamed.

    Args:
        path: the file.
        result: record of the result as far as it is known; ``warnings``, ``inputs``, ``model``, ``software`` and
            ``parameters`` are shown.
        report: title, facts, tables and pictures as for the HTML report. Measurements are shown by ``tables`` only.
        signer_name: printed under the signature line, when it is known who will sign.

    Raises:
        DiskFull, UnwritableOutput
    """
    path = Path(path)
    content = _document(result, report, signer_name)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(content)
        replace(aside, path)
    except OSError as exception:
        aside.unlink(missing_ok=True)
        raise error_from_write(exception, path) from exception
    return path


def _document(result: Mapping, report: Report, signer_name: str) -> bytes:
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer

    styles = _styles()
    story = [Paragraph(escape(report.title), styles["title"]), Paragraph(escape(NOT_A_DEVICE), styles["small"])]
    warnings = [Paragraph("• " + escape(str(text)), styles["body"]) for text in result.get("warnings") or []]
    if warnings:
        story += [Paragraph("Please note", styles["heading"]), *warnings]
    story += [Spacer(1, 3 * mm), _grid([(k, v) for k, v in _facts(result, report)], styles, (45, _WIDTH_MM - 45))]
    for table in report.tables:
        story += _table(table, styles)
    for picture in report.pictures:
        parts = [_image(picture.figure), Paragraph(escape(picture.caption), styles["small"])]
        if picture.legend:
            parts.append(Paragraph(_legend(picture.legend), styles["small"]))
        story.append(KeepTogether([Spacer(1, 3 * mm), *parts]))
    story.append(KeepTogether(_signature(styles, signer_name)))
    story += _provenance(result, styles)

    stream = io.BytesIO()
    document = SimpleDocTemplate(
        stream, pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, topMargin=16 * mm, bottomMargin=18 * mm,
        title=report.title, author=f"MRI Seg Suite {__version__}",
    )  # fmt: skip
    made = f"MRI Seg Suite {__version__} · {datetime.now().astimezone():%Y-%m-%d %H:%M}"

    def footer(canvas, doc):
        canvas.saveState()
        canvas.setFont("MRISeg", 7)
        canvas.drawString(18 * mm, 10 * mm, made)
        canvas.drawRightString(A4[0] - 18 * mm, 10 * mm, f"page {doc.page}")
        canvas.restoreState()

    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return stream.getvalue()


def _styles() -> dict:
    """Paragraph styles in DejaVu Sans, which comes with matplotlib and has every sign that a report uses."""
    import matplotlib
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    if "MRISeg" not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont("MRISeg", str(fonts / "DejaVuSans.ttf")))
        pdfmetrics.registerFont(TTFont("MRISeg-Bold", str(fonts / "DejaVuSans-Bold.ttf")))
    body = ParagraphStyle("body", fontName="MRISeg", fontSize=8.5, leading=11.5)
    gray = HexColor("#4d585f")
    return {
        "body": body,
        "cell": ParagraphStyle("cell", parent=body, fontSize=7, leading=8.8),
        "head": ParagraphStyle("head", parent=body, fontName="MRISeg-Bold", fontSize=7, leading=8.8),
        "small": ParagraphStyle("small", parent=body, fontSize=7, leading=9, textColor=gray, spaceAfter=2),
        "title": ParagraphStyle("title", parent=body, fontName="MRISeg-Bold", fontSize=15, leading=19),
        "heading": ParagraphStyle(
            "heading", parent=body, fontName="MRISeg-Bold", fontSize=10.5, leading=14, spaceBefore=9, spaceAfter=3
        ),
    }


def _facts(result: Mapping, report: Report) -> list[tuple[str, str]]:
    facts = []
    for entry in result.get("inputs") or []:
        name = Path(str(entry.get("file", ""))).name  # the folder's name may name a person
        digest = str(entry.get("sha256") or "")
        facts.append(
            (
                str(entry.get("role", "input")).replace("_", " ").capitalize(),
                name + (f" (sha256 {digest[:16]}…)" if digest else ""),
            )
        )
    facts += [(str(key), str(value)) for key, value in report.facts.items()]
    model = result.get("model")
    if model:
        digest = str(model.get("sha256") or "")
        facts.append(("Model", f"{model.get('id', '')} {model.get('version', '')} (sha256 {digest[:16]}…)"))
    return facts


def _table(table: Table, styles) -> list:
    from reportlab.platypus import Paragraph

    rows = [tuple(_text(cell) for cell in row) for row in table.rows]
    widths = _widths([table.columns, *rows])
    parts = [Paragraph(escape(table.title), styles["heading"]), _grid(rows, styles, widths, table.columns)]
    if table.note:
        parts.append(Paragraph(escape(table.note), styles["small"]))
    return parts


def _grid(rows: Sequence[Sequence[str]], styles, widths_mm, head: Sequence[str] = ()):
    from reportlab.lib.colors import HexColor
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, Table, TableStyle

    cells = [[Paragraph(escape(str(text)), styles["head"]) for text in head]] if any(head) else []
    lines = [[Paragraph(escape(str(text)), styles["cell"]) for text in row] for row in rows]
    if not cells and not lines:
        return Paragraph("–", styles["cell"])
    made = Table(cells + lines, colWidths=[w * mm for w in widths_mm], repeatRows=len(cells), hAlign="LEFT")
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor("#d5dadd")),
                ("TOPPADDING", (0, 0), (-1, -1), 1.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
                ("RIGHTPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )
    return made


def _widths(rows: Sequence[Sequence[str]]) -> list[float]:
    """Widths (mm) of the columns by their longest text, but no narrower than their longest word where that fits."""
    count = max(len(row) for row in rows)
    texts = [[str(row[n]) for row in rows if n < len(row)] for n in range(count)]
    words = [max((len(word) for text in column for word in text.split()), default=1) for column in texts]
    least = [_PADDING_MM + _CHARACTER_MM * word for word in words]
    room = _WIDTH_MM - sum(least)
    if room <= 0:
        return [_WIDTH_MM * width / sum(least) for width in least]
    more = [min(max(map(len, column), default=1), 60) - word + 1 for column, word in zip(texts, words)]
    return [width + room * length / sum(more) for width, length in zip(least, more)]


def _text(value) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.0f}" if float(value) == int(value) else f"{value:.2f}"


def _image(figure):
    from reportlab.lib.units import mm
    from reportlab.platypus import Image

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, facecolor=figure.get_facecolor())
    stream.seek(0)
    wide, tall = figure.get_size_inches()
    height = min(_WIDTH_MM * tall / wide, 205.0)
    return Image(stream, width=height * wide / tall * mm, height=height * mm)


def _legend(entries) -> str:
    parts = []
    for text, color in entries:
        code = "#" + "".join(f"{round(255 * c):02x}" for c in color)
        parts.append(f'<font color="{code}">■</font> {escape(text)}')
    return " &nbsp; ".join(parts)


def _signature(styles, signer_name: str) -> list:
    from reportlab.lib.units import mm
    from reportlab.platypus import HRFlowable, Paragraph, Spacer

    line = HRFlowable(width="100%", thickness=0.5, spaceBefore=7 * mm, spaceAfter=1)
    who = escape(signer_name) if signer_name else "Name, role"
    return [
        Paragraph("Read and decided by a person", styles["heading"]),
        Paragraph(escape(_STATEMENT), styles["body"]),
        Spacer(1, 10 * mm),
        line,
        Paragraph(f"{who} &nbsp;&nbsp;·&nbsp;&nbsp; Date &nbsp;&nbsp;·&nbsp;&nbsp; Signature", styles["small"]),
    ]


def _provenance(result: Mapping, styles) -> list:
    from reportlab.platypus import Paragraph

    parts = []
    for title, key in (("Software", "software"), ("Parameters", "parameters")):
        content = result.get(key)
        if content:
            parts.append(Paragraph(title, styles["heading"]))
            rows = [(str(name), str(value)) for name, value in content.items()]
            parts.append(_grid(rows, styles, (45, _WIDTH_MM - 45)))
    return parts
