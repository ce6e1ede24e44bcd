"""A list with check boxes in which what was checked stays checked when the list is filled anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import qt


@dataclass(frozen=True)
class Entry:
    """One line: its key, what a person reads, a tool tip, a color (RGB 0..1) or None."""

    key: str
    title: str
    toolTip: str = ""
    color: tuple[float, float, float] | None = None


class CheckList:
    """Works a QListWidget.

    Args:
        widget: the QListWidget.
        onChanged: called with the checked keys, in the order of the list, when a person checked or unchecked one.
    """

    def __init__(self, widget, onChanged: Callable[[list[str]], None]):
        self._widget, self._onChanged = widget, onChanged
        self._keys: list[str] = []
        self._filling = False
        widget.connect("itemChanged(QListWidgetItem*)", self._changed)

    def fill(self, entries: Iterable[Entry], checked: Iterable[str]) -> None:
        """Show these entries; ``checked`` are the keys of those that are."""
        entries, checked = list(entries), set(checked)
        self._filling = True
        self._widget.clear()
        self._keys = [entry.key for entry in entries]
        for entry in entries:
            item = qt.QListWidgetItem(entry.title)
            item.setToolTip(entry.toolTip or entry.title)
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if entry.key in checked else qt.Qt.Unchecked)
            if entry.color is not None:
                picture = qt.QPixmap(12, 12)
                picture.fill(qt.QColor.fromRgbF(*entry.color))
                item.setIcon(qt.QIcon(picture))
            self._widget.addItem(item)
        self._filling = False

    def checked(self) -> list[str]:
        """Keys of the checked entries, in the order of the list."""
        return [key for row, key in enumerate(self._keys)
                if self._widget.item(row).checkState() == qt.Qt.Checked]

    def check(self, key: str, checked: bool = True) -> None:
        """Check or uncheck an entry, as a person does."""
        item = self._widget.item(self._keys.index(key))
        item.setCheckState(qt.Qt.Checked if checked else qt.Qt.Unchecked)

    def _changed(self, _item) -> None:
        if not self._filling:
            self._onChanged(self.checked())
