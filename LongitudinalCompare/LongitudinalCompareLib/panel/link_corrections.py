"""A person's corrections of which lesion is which: what "Same lesion" and "Not the same" mean for the chosen rows.

A correction is {text (for the list), links}; a link is what a job takes: two points and the timepoints that they are
in, and whether they are the same lesion. See ``scene.corrections_of`` for where they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from .. import scene as compare_scene
from .lesion_list import lesion_of, lesion_text


@dataclass
class LinkWidgets:
    """The widgets, as they are in the .ui file."""

    sameButton: Any
    notSameButton: Any
    linkLabel: Any
    correctionList: Any
    undoCorrectionButton: Any


class LinkCorrections:
    """Works the buttons and the list of corrections.

    Args:
        widgets: the widgets to work with.
        result: gives the shown CompareNodes, or None. chosen: gives the chosen entries of the lesion list.
        onChanged: called when a correction was made or undone. onPlace: called with (timepoint, point) to go there.
    """

    def __init__(self, widgets: LinkWidgets, result: Callable[[], Any], chosen: Callable[[], list[dict]],
                 onChanged: Callable[[], None], onPlace: Callable[[int, Any], None]):
        self._widgets, self._result, self._chosen = widgets, result, chosen
        self._onChanged, self._onPlace = onChanged, onPlace
        self._shown: list[dict] = []
        self._filling = False
        widgets.sameButton.connect("clicked(bool)", lambda _checked=False: self._add(same))
        widgets.notSameButton.connect("clicked(bool)", lambda _checked=False: self._add(not_same))
        widgets.undoCorrectionButton.connect("clicked(bool)", self._onUndo)
        widgets.correctionList.connect("currentRowChanged(int)", self._onRow)

    def update(self) -> None:
        """Show the corrections of the result, and which buttons make sense for what is chosen."""
        widgets, nodes = self._widgets, self._result()
        corrections = compare_scene.corrections_of(nodes) if nodes is not None else []
        if corrections != self._shown or widgets.correctionList.count != len(corrections):
            self._shown = corrections
            self._filling = True
            widgets.correctionList.clear()
            for one in corrections:
                widgets.correctionList.addItem(one["text"] or _link_text(one["links"]))
            self._filling = False
        for widget in (widgets.correctionList, widgets.undoCorrectionButton):
            widget.setVisible(bool(corrections))
        entries = self._chosen() if nodes is not None else []
        able = [isinstance(what(compare_scene.record_of(nodes), entries), dict) if entries else False
                for what in (same, not_same)]
        there = nodes is not None and any(
            one["lesions"] for one in compare_scene.record_of(nodes)["pairs"])
        for widget in (widgets.sameButton, widgets.notSameButton):
            widget.setVisible(there)
        widgets.sameButton.setEnabled(able[0])
        widgets.notSameButton.setEnabled(able[1])
        widgets.linkLabel.setText(self._hint(nodes, entries, there, any(able)))
        widgets.linkLabel.setVisible(bool(widgets.linkLabel.text))

    def _hint(self, nodes, entries, there: bool, able: bool) -> str:
        if not there or able:
            return ""
        if len(entries) == 2:
            return same(compare_scene.record_of(nodes), entries)
        return _("Is a link wrong? Choose one lesion to part it, or two (with Ctrl) that are the same.")

    def _add(self, what) -> None:
        nodes = self._result()
        correction = what(compare_scene.record_of(nodes), self._chosen())
        if isinstance(correction, dict):
            compare_scene.set_corrections(nodes, [*compare_scene.corrections_of(nodes), correction])
            self._onChanged()

    def _onUndo(self, _checked=False) -> None:
        nodes, row = self._result(), self._widgets.correctionList.currentRow
        corrections = compare_scene.corrections_of(nodes)
        if corrections:
            del corrections[row if 0 <= row < len(corrections) else -1]
            compare_scene.set_corrections(nodes, corrections)
            self._onChanged()

    def _onRow(self, row: int) -> None:
        if not self._filling and 0 <= row < len(self._shown):
            link = self._shown[row]["links"][0]
            self._onPlace(link.get("timepoint", 2), link["followup_point"])


def same(record: dict, chosen: Sequence[dict]) -> dict | str:
    """The correction "these two are the same lesion", or why it makes no sense.

    Args:
        record: see ``results.lesion_record``. chosen: entries of ``lesion_list.entries_of``.
    """
    if len(chosen) != 2 or chosen[0]["pair"] != chosen[1]["pair"]:
        return _("Choose two lesions of the same follow-up.")
    for one, other in (tuple(chosen), tuple(chosen)[::-1]):
        if one["baseline"] and other["followup"]:
            pairs = [(one["baseline"][0], other["followup"][0])]
            return _correction(record, one["pair"], pairs, True)
    return _("Both are at one timepoint: choose one that is there in the baseline, and one in the follow-up.")


def not_same(record: dict, chosen: Sequence[dict]) -> dict | str:
    """The correction "this is not the same lesion at both timepoints", or why it makes no sense.

    One entry: a lesion is no longer linked with anything, or a part of one with the rest. Two parts of one lesion: the
    link between these two.
    """
    if len(chosen) == 1:
        one = chosen[0]
        before, after = one["group"]
        pairs = [(a, b) for a in one["baseline"] or before for b in one["followup"] or after]
    elif len(chosen) == 2 and chosen[0]["pair"] == chosen[1]["pair"] and chosen[0]["group"] == chosen[1]["group"]:
        pairs = [(a, b) for one, other in (tuple(chosen), tuple(chosen)[::-1])
                 for a in one["baseline"] for b in other["followup"]]
    else:
        return _("Choose one lesion, or two parts of one.")
    if not pairs:
        return _("It is linked with nothing.")
    return _correction(record, chosen[0]["pair"], pairs, False)


def _correction(record: dict, pair: int, pairs: Sequence[tuple[int, int]], linked: bool) -> dict:
    later = record["pairs"][pair]["timepoint"]
    links = [_link(record, (1, a), (later, b), linked) for a, b in pairs]
    if later > 2:  # lesions are followed from scan to scan: the last step there is corrected too
        steps = {step for a, b in pairs for step in _last_steps(record, later, a, b, linked)}
        links += [_link(record, (later - 1, m), (later, b), linked) for m, b in sorted(steps)]
    before = ", ".join(lesion_text(record, 1, n) for n in sorted({a for a, _b in pairs}))
    after = ", ".join(lesion_text(record, later, n) for n in sorted({b for _a, b in pairs}))
    text = _("Same lesion: {before} and {after}") if linked else _("Not the same: {before} and {after}")
    return {"text": text.format(before=before, after=after), "links": links}


def _last_steps(record: dict, later: int, baseline: int, followup: int, linked: bool) -> list[tuple[int, int]]:
    """(label at the timepoint before ``later``, label at it) of the last step on the way from one lesion to the other.

    Where the way to it has several lesions nobody knows which of them is meant: none is parted.
    """
    timepoint, label = (1, baseline) if linked else (later, followup)
    for track in record["tracks"]:
        if label in track["members"][timepoint - 1]:
            between = track["members"][later - 2]
            return [(between[0], followup)] if between and (linked or len(between) == 1) else []
    return []


def _link(record: dict, before: tuple[int, int], after: tuple[int, int], linked: bool) -> dict:
    return {"baseline_timepoint": before[0], "baseline_point": lesion_of(record, *before)["point"],
            "timepoint": after[0], "followup_point": lesion_of(record, *after)["point"], "linked": linked}


def _link_text(links: Sequence[dict]) -> str:
    """A correction that a script gave."""
    places = [", ".join(f"{x:.0f}" for x in links[0][name]) for name in ("baseline_point", "followup_point")]
    text = _("Same lesion: at {before} and {after} mm") if links[0]["linked"] else _(
        "Not the same: at {before} and {after} mm")
    return text.format(before=places[0], after=places[1])
