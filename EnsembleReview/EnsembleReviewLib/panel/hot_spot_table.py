"""The table of hot spots: largest first, what the experts say, what was decided."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from MRISegSuiteLib.images.structures import structure_of

from .case import DROP, KEEP, ReviewCase


class HotSpotTable:
    """Works a QTableWidget.

    Args:
        widget: the QTableWidget.
        onChosen: called with the hot spot when a person chose one.
    """

    def __init__(self, widget, onChosen: Callable):
        self._widget, self._onChosen = widget, onChosen
        self._case: ReviewCase | None = None
        self._filling = False
        widget.setColumnCount(4)
        widget.setHorizontalHeaderLabels([_("ml"), _("Structure"), _("Yes / no"), _("Decision")])
        widget.verticalHeader().setVisible(False)
        header = widget.horizontalHeader()
        for column in (0, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        for column in (1, 3):
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch)
        widget.connect("itemSelectionChanged()", self._selected)
        widget.connect("cellClicked(int,int)", lambda _row, _column: self._selected())

    def show(self, case: ReviewCase | None) -> None:
        """Show the hot spots of a case; None: an empty table."""
        self._filling = True
        self._case = case
        spots = case.spots if case is not None else []
        self._widget.setRowCount(len(spots))
        self._widget.clearSelection()
        self._widget.setCurrentCell(-1, -1)  # a place of the case before is not one of this
        for row, spot in enumerate(spots):
            yes, no = ([case.title_of(expert) for expert in side] for side in (spot.in_favor, spot.against))
            texts = [f"{spot.volume_mm3 / 1000:.2f}", structure_of(spot.structure, 0).title,
                     _("{yes} / {no}").format(yes=len(yes), no=len(no)), ""]
            toolTip = _("Yes: {yes}. No: {no}.").format(yes=", ".join(yes) or _("nobody"),
                                                        no=", ".join(no) or _("nobody"))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(toolTip)
                self._widget.setItem(row, column, item)
        self._filling = False
        self.showDecisions()

    def showDecisions(self) -> None:
        """Bring the column of decisions up to date."""
        if self._case is None:
            return
        decisions = self._case.decisions()
        for row, spot in enumerate(self._case.spots):
            text = self._text(decisions.get(spot.number))
            self._widget.item(row, 3).setText(text)
            self._widget.item(row, 3).setToolTip(text)

    @property
    def chosen(self):
        """The chosen hot spot, or None."""
        row = self._widget.currentRow()
        spots = self._case.spots if self._case is not None else []
        return spots[row] if 0 <= row < len(spots) else None

    def choose(self, row: int) -> None:
        """Choose a hot spot by its row, as a person does; beyond either end nothing happens."""
        if self._case is not None and 0 <= row < len(self._case.spots):
            self._widget.setCurrentCell(row, 0)
            self._widget.selectRow(row)

    def step(self, by: int) -> None:
        """Choose the next (1) or previous (-1) one."""
        self.choose(max(self._widget.currentRow(), -1) + by)

    def chooseNextOpen(self) -> None:
        """Choose the next one that is not decided, after the chosen one or from the top."""
        decided = self._case.decisions() if self._case is not None else {}
        spots = self._case.spots if self._case is not None else []
        start = self._widget.currentRow() + 1
        for row in [*range(start, len(spots)), *range(start)]:
            if spots[row].number not in decided:
                self.choose(row)
                return

    def _selected(self) -> None:
        if not self._filling and self.chosen is not None:
            self._onChosen(self.chosen)

    def _text(self, entry) -> str:
        if entry is None:
            return ""
        if entry["decision"] == KEEP:
            return _("kept")
        if entry["decision"] == DROP:
            return _("dropped")
        return _("from {expert}").format(expert=self._case.title_of(entry["expert"]))
