"""The results in the scene as a list to work through: agreement, open hot spots, what was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape

import qt
from slicer.i18n import tr as _

from MRISegSuiteLib.images.structures import structure_of

from ..scene import hot_spots_of, nodes_of, panel_of
from ..scene.nodes import PANEL_ATTRIBUTE
from ..traffic_light import LIGHTS
from .case import REVIEW_ATTRIBUTE, decisions_of

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


class Worklist:
    """Works a QTableWidget.

    Args:
        widget: the QTableWidget. scene: gives the scene.
        onChosen: called with the fusion that a person chose.
    """

    def __init__(self, widget, scene: Callable, onChosen: Callable):
        self._widget, self._scene, self._onChosen = widget, scene, onChosen
        self._nodes: list = []
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
        """Read the scene again; ``shown`` is the fusion under review, ``saving`` tells whose review is being kept."""
        self._filling = True
        self._nodes = results_in(self._scene())
        self._widget.setRowCount(len(self._nodes))
        for row, node in enumerate(self._nodes):
            light = light_of_case(panel_of(nodes_of(self._scene(), node)))
            spots = hot_spots_of(nodes_of(self._scene(), node))
            open_spots = len({spot.number for spot in spots} - set(decisions_of(node)))
            name = node.GetName().removesuffix(" - Fusion")
            for column, text in enumerate([name, light_text(light), str(open_spots), self._said(node, saving)]):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(name)
                if column == 1 and light:
                    item.setForeground(qt.QBrush(qt.QColor(COLORS[light])))
                self._widget.setItem(row, column, item)
        if shown in self._nodes:
            self._widget.selectRow(self._nodes.index(shown))
        self._filling = False

    @property
    def nodes(self) -> list:
        """The fusions, in the order of the list."""
        return list(self._nodes)

    def step(self, shown, by: int) -> None:
        """Choose the next (1) or previous (-1) case."""
        row = (self._nodes.index(shown) if shown in self._nodes else -1) + by
        if 0 <= row < len(self._nodes):
            self._onChosen(self._nodes[row])

    def nextOpen(self, shown, saving: Callable[[object], bool]):
        """The next case about which nothing was said, after ``shown`` or from the top; None where all are done."""
        start = self._nodes.index(shown) + 1 if shown in self._nodes else 0
        for node in self._nodes[start:] + self._nodes[:start]:
            if node is not shown and not node.GetAttribute(REVIEW_ATTRIBUTE) and not saving(node):
                return node
        return None

    def _selected(self) -> None:
        row = self._widget.currentRow()
        if not self._filling and 0 <= row < len(self._nodes):
            self._onChosen(self._nodes[row])

    def _said(self, node, saving) -> str:
        if saving(node):
            return _("saving")
        origin = json.loads(node.GetAttribute(REVIEW_ATTRIBUTE) or "{}").get("origin", "")
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
