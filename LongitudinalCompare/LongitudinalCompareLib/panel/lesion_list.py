"""The list of lesions in the panel: what became of each, with its diameters as their lines lie now."""

from __future__ import annotations

from slicer.i18n import tr as _


def entries_of(record: dict, diameters: list[dict], pair: int) -> list[dict]:
    """What the list shows of a follow-up.

    Args:
        record: see ``results.lesion_record``. diameters: see ``scene.diameters_of``. pair: index of the follow-up.

    Returns:
        For each lesion, and for each part of one that merged or split, {text, timepoint, point (LPS, mm, in that
        timepoint's scan): the later place where there is one; pair, baseline, followup: labels of what it is at both
        timepoints; group: (baseline, followup) of the lesion that it is a part of; isPart}.
    """
    lengths = {(one["timepoint"], one["lesion"], one["which"]): one for one in diameters}
    found = record["pairs"][pair]
    later = found["timepoint"]
    entries = []
    for lesion in found["lesions"]:
        group = sorted(lesion["baseline"]), sorted(lesion["followup"])
        entries.append(_entry(record, pair, _text(lesion, lengths, later), *group, group))
        if max(map(len, group)) > 1:
            entries += [_entry(record, pair, _part_text(record, 1, n), [n], [], group) for n in group[0]]
            entries += [_entry(record, pair, _part_text(record, later, n), [], [n], group) for n in group[1]]
    if not entries:  # nothing could be matched: the lesions of each scan for themselves
        for number, timepoint in ((1, record["timepoints"][0]), (later, record["timepoints"][later - 1])):
            for one in timepoint["lesions"]:
                entries.append({"text": lesion_text(record, number, one["label"]), "timepoint": number,
                                "point": one["point"], "pair": pair, "baseline": [], "followup": [],
                                "group": ([], []), "isPart": False})  # fmt: skip
    return entries


def lesion_of(record: dict, timepoint: int, label: int) -> dict:
    """A lesion of a timepoint (both from 1)."""
    return record["timepoints"][timepoint - 1]["lesions"][label - 1]


def lesion_text(record: dict, timepoint: int, label: int) -> str:
    """A lesion of one timepoint, e.g. "baseline, no. 2: 0.42 cm³"."""
    return _("{when}, no. {number}: {volume} cm³").format(
        when=record["timepoints"][timepoint - 1]["label"], number=label,
        volume=f"{lesion_of(record, timepoint, label)['volume_mm3'] / 1000:.2f}")


def _entry(record: dict, pair: int, text: str, baseline: list[int], followup: list[int], group) -> dict:
    later = record["pairs"][pair]["timepoint"]
    timepoint, label = (later, followup[0]) if followup else (1, baseline[0])
    return {"text": text, "timepoint": timepoint, "point": lesion_of(record, timepoint, label)["point"], "pair": pair,
            "baseline": baseline, "followup": followup, "group": group, "isPart": (baseline, followup) != group}


def _part_text(record: dict, timepoint: int, label: int) -> str:
    return "      – " + lesion_text(record, timepoint, label)


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
