"""The list of lesions in the panel: what became of each, with its diameters as their lines lie now."""

from __future__ import annotations

from slicer.i18n import tr as _


def entries_of(record: dict, diameters: list[dict], pair: int) -> list[dict]:
    """What the list shows of a follow-up.

    Args:
        record: see ``results.lesion_record``. diameters: see ``scene.diameters_of``. pair: index of the follow-up.

    Returns:
        For each lesion {text, timepoint, point (LPS, mm, in that timepoint's scan)}: the later place where there is
        one.
    """
    lengths = {(one["timepoint"], one["lesion"], one["which"]): one for one in diameters}
    found = record["pairs"][pair]
    later = found["timepoint"]
    entries = []
    for lesion in found["lesions"]:
        before, after = _labels(lesion, "baseline"), _labels(lesion, "followup")
        timepoint, label = (later, after[0]) if after else (1, before[0])
        entries.append({
            "text": _text(lesion, lengths, later), "timepoint": timepoint,
            "point": record["timepoints"][timepoint - 1]["lesions"][label - 1]["point"],
        })  # fmt: skip
    if not entries:  # nothing could be matched: the lesions of each scan for themselves
        for number, timepoint in ((1, record["timepoints"][0]), (later, record["timepoints"][later - 1])):
            for one in timepoint["lesions"]:
                text = _("{when} {number}: {volume} cm³").format(
                    when=timepoint["label"], number=one["label"], volume=f"{one['volume_mm3'] / 1000:.2f}")
                entries.append({"text": text, "timepoint": number, "point": one["point"]})
    return entries


def _labels(lesion: dict, when: str) -> list[int]:
    return sorted(lesion[when])


def _text(lesion: dict, lengths: dict, later: int) -> str:
    statuses = {"matched": _("matched"), "new": _("new"), "resolved": _("resolved"), "merged": _("merged"),
                "split": _("split"), "regrouped": _("regrouped")}
    text = _("{number}: {status}, {before} → {after} cm³").format(
        number=lesion["number"], status=statuses[lesion["status"]], before=f"{lesion['baseline_mm3'] / 1000:.2f}",
        after=f"{lesion['followup_mm3'] / 1000:.2f}")
    if lesion["percent"] is not None and lesion["status"] not in ("new", "resolved"):
        text += f" ({lesion['percent']:+.0f} %)"
    sizes = [_size(lesion[when], timepoint, lengths) for when, timepoint in (("baseline", 1), ("followup", later))]
    if any(sizes):
        text += _("; {before} → {after} mm").format(before=sizes[0] or "–", after=sizes[1] or "–")
    return text


def _size(labels: list[int], timepoint: int, lengths: dict) -> str:
    """Longest × perpendicular of the lesion with the longest diameter; a star where a person has set it."""
    best = max((lengths[key] for key in ((timepoint, n, "longest") for n in labels) if key in lengths),
               key=lambda one: one["length_mm"], default=None)
    if best is None:
        return ""
    across = lengths.get((timepoint, best["lesion"], "perpendicular"))
    text = f"{best['length_mm']:.1f}" + (f" × {across['length_mm']:.1f}" if across else "")
    return text + ("*" if best["moved"] or (across or {}).get("moved") else "")
