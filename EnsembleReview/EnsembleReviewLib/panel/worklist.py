"""The cases to work through, those of a folder and those in the scene: agreement, open hot spots, what was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import qt
from slicer.i18n import tr as _

from MRISegSuiteLib.images.structures import structure_of

from ..scene import hot_spots_of, nodes_of, panel_of
from ..scene.nodes import PANEL_ATTRIBUTE, RESULT_ATTRIBUTE
from ..traffic_light import LIGHTS
from .case import REVIEW_ATTRIBUTE, decisions_of
from .case_folder import CaseFile, CaseFolder

#: Color (Qt name) of each light; the word stands beside it.
COLORS = {"green": "#2e7d32", "yellow": "#b36b00", "red": "#c62828"}


def results_in(scene) -> list:
    """The fusions in a scene, oldest first."""
    nodes = (scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode")
             for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")))
    return [node for node in nodes if node.GetAttribute(PANEL_ATTRIBUTE) is not None]


def light_of_case(panel: dict) -> str:
    """The worst light of a case; "" where there is none."""
    colors = [light["color"] for light in panel.get("lights", []) if light.get("color")]
    return max(colors, key=LIGHTS.index) if colors else ""


def light_text(color: str) -> str:
    """A light as a word."""
    return {"green": _("green"), "yellow": _("yellow"), "red": _("red")}.get(color, _("none"))


@dataclass(frozen=True)
class WorkItem:
    """A case of the list: a fusion in the scene (``node``), a finished job (``file``), or both."""

    name: str
    node: object = None
    file: CaseFile | None = None


class Worklist:
    """Works a QTableWidget.

    Args:
        widget: the QTableWidget. scene: gives the scene. folder: finished jobs that need not be in the scene.
        onChosen: called with the :class:`WorkItem` that a person chose.
    """

    def __init__(self, widget, scene: Callable, folder: CaseFolder, onChosen: Callable[[WorkItem], None]):
        self._widget, self._scene, self._folder, self._onChosen = widget, scene, folder, onChosen
        self._items: list[WorkItem] = []
        self._filling = False
        widget.setColumnCount(4)
        widget.setHorizontalHeaderLabels([_("Case"), _("Agreement"), _("Open"), _("Review")])
        widget.verticalHeader().setVisible(False)
        header = widget.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2, 3):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        widget.connect("itemSelectionChanged()", self._selected)

    def refresh(self, shown, saving: Callable[[object], bool]) -> None:
        """Read the scene again.

        Args:
            shown: the fusion under review, or the :class:`CaseFile` that is being opened.
            saving: tells whether the review of a fusion is being kept.
        """
        self._filling = True
        self._items = self._read()
        if self._widget.rowCount != len(self._items):
            self._widget.setRowCount(len(self._items))
        for row, item in enumerate(self._items):
            light, spots = self._state(item)
            for column, text in enumerate([item.name, light_text(light), spots, self._said(item, saving)]):
                self._write(row, column, text, item.name, COLORS.get(light) if column == 1 else None)
        row = self._row(shown)
        if row >= 0:
            self._widget.selectRow(row)
        self._filling = False

    @property
    def items(self) -> list[WorkItem]:
        """The cases, in the order of the list."""
        return list(self._items)

    def step(self, shown, by: int) -> None:
        """Choose the next (1) or previous (-1) case."""
        row = self._row(shown) + by
        if 0 <= row < len(self._items):
            self._onChosen(self._items[row])

    def nextOpen(self, shown, saving: Callable[[object], bool]) -> WorkItem | None:
        """The next case about which nothing was said, after ``shown`` or from the top; None where all are done."""
        row = self._row(shown)
        for item in self._items[row + 1:] + self._items[:max(row, 0)]:
            if not self._said(item, saving):
                return item
        return None

    def _write(self, row: int, column: int, text: str, toolTip: str, color: str | None) -> None:
        """Fill a cell; one that says the same already is left alone, for every change makes the table measure its
        columns again."""
        cell = self._widget.item(row, column)
        if cell is not None and cell.text() == text and cell.toolTip() == toolTip:
            return
        cell = qt.QTableWidgetItem(text)
        cell.setToolTip(toolTip)
        if color is not None:
            cell.setForeground(qt.QBrush(qt.QColor(color)))
        self._widget.setItem(row, column, cell)

    def _read(self) -> list[WorkItem]:
        loaded = {node.GetAttribute(RESULT_ATTRIBUTE): node for node in results_in(self._scene())}
        items = [WorkItem(file.name, loaded.get(file.result), file) for file in self._folder.cases]
        of_files = [item.node for item in items if item.node is not None]
        return items + [WorkItem(node.GetName().removesuffix(" - Fusion"), node)
                        for node in results_in(self._scene()) if node not in of_files]

    def _row(self, shown) -> int:
        """The row of a fusion or of a :class:`CaseFile`; -1 where it is not listed."""
        return next((row for row, item in enumerate(self._items)
                     if shown is not None and (item.node is shown or item.file is shown)), -1)

    def _selected(self) -> None:
        row = self._widget.currentRow()
        if not self._filling and 0 <= row < len(self._items):
            self._onChosen(self._items[row])

    def _state(self, item: WorkItem) -> tuple[str, str]:
        """The light of a case, and how many of its hot spots are open."""
        if item.node is None:
            return item.file.light, "" if self._folder.word_on(item.file) else str(item.file.spots)
        nodes = nodes_of(self._scene(), item.node)
        spots = {spot.number for spot in hot_spots_of(nodes)}
        return light_of_case(panel_of(nodes)), str(len(spots - set(decisions_of(item.node))))

    def _said(self, item: WorkItem, saving) -> str:
        origin = ""
        if item.node is not None:
            if saving(item.node):
                return _("saving")
            origin = json.loads(item.node.GetAttribute(REVIEW_ATTRIBUTE) or "{}").get("origin", "")
        if not origin and item.file is not None:
            word = self._folder.word_on(item.file)
            origin = word.origin if word is not None else ""
        return {"accepted": _("accepted"), "corrected": _("corrected"), "rejected": _("rejected")}.get(origin, "")


def light_html(panel: dict) -> list[str]:
    """The light of a case and why each structure is not green, a line each, as HTML."""
    color = light_of_case(panel)
    if color:
        lines = [_("Agreement: {light}. A person decides.").format(
            light=f'<span style="color:{COLORS[color]}">● <b>{escape(light_text(color))}</b></span>')]
    else:
        lines = [escape(_("No word on agreement. A person decides."))]
    for light in panel.get("lights", []):
        title = structure_of(light["structure"], 0).title
        reasons = "; ".join(light["reasons"]) or _("within all limits")
        lines.append(f"<b>{escape(title)}</b>: {escape(reasons)}")
    for abstention in panel.get("abstentions", []):
        lines.append(escape(_("{expert} abstained: {why}").format(expert=abstention["title"], why=abstention["why"])))
    return lines
