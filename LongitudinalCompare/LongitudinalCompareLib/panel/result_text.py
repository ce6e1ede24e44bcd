"""What the panel says of a result in words: the alignment, the whole change, the category."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from slicer.i18n import tr as _

_GATE_COLORS = {"good": "#2e7d32", "check": "#b26a00", "failed": "#c62828"}


def gate_html(record: dict) -> str:
    """Whether each alignment may be trusted, and why; ``record``: see ``results.lesion_record``."""
    states = {"good": _("good"), "check": _("check: look before you believe it"), "failed": _("failed")}
    lines = []
    for pair in record["pairs"]:
        state = f"<b style='color:{_GATE_COLORS[pair['state']]}'>{escape(states[pair['state']])}</b>"
        lines.append(_("Registration of the {name}: {state}").format(name=escape(_name(record, pair)), state=state))
        lines += ["• " + escape(reason) for reason in pair["reasons"]]
    return "<br>".join(lines)


def summary_html(record: dict, old: Sequence[str], notes: Sequence[str]) -> str:
    """Volumes and categories; ``old``: why the numbers are not those of what is there now; ``notes``: warnings."""
    lines = []
    for pair in record["pairs"]:
        if "total" in pair:
            lines.append(escape(_total(pair["total"], _name(record, pair).capitalize())))
        if "category" in pair:
            c = pair["category"]
            lines.append(_("Change category: {text} ({certainty}; {title}). A person decides.").format(
                text="<b>" + escape(c["text"]) + "</b>", certainty=escape(c["certainty"]), title=escape(c["title"])))
    lines += ["<b>" + escape(text) + "</b>" for text in old]
    if notes:
        lines.append("<b>" + escape(_("Please note:")) + "</b>")
        lines += ["• " + escape(text) for text in notes]
    return "<br>".join(lines) or _("The scans were aligned; nothing was measured.")


def _name(record: dict, pair: dict) -> str:
    return record["timepoints"][pair["timepoint"] - 1]["label"]


def _total(total: dict, name: str) -> str:
    line = _("{name}: {before} → {after} cm³").format(
        name=name, before=f"{total['baseline_mm3'] / 1000:.2f}", after=f"{total['followup_mm3'] / 1000:.2f}")
    if total.get("percent_interval") and total["percent"] is not None:
        low, high = total["percent_interval"]
        line += _(", {percent} % ({low} to {high} %)").format(
            percent=f"{total['percent']:+.0f}", low=f"{low:+.0f}", high=f"{high:+.0f}")
        line += "" if total["is_real"] else _(": within what measuring alone may do")
    return line
