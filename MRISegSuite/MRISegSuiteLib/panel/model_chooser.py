"""A combo box of the models for one task, and what a person must know about the chosen one."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from ..models.card import Card
from ..models.registry import Registry
from .readable import readable_size


class ModelChooser:
    """Fills a combo box with the models of a task and tells about the chosen one in a label.

    Args:
        comboBox, label: the widgets.
        task: name of the task, e.g. "knee".
        onChanged: called with the id when the user chose another model.
    """

    def __init__(self, comboBox, label, task: str, onChanged=None):
        self._comboBox, self._label, self._task, self._onChanged = comboBox, label, task, onChanged
        self._cards: dict[str, Card] = {}
        self._filling = False
        comboBox.connect("currentIndexChanged(int)", self._indexChanged)
        self.refresh("")

    def refresh(self, chosen: str) -> None:
        """Read the models again and select ``chosen``; the embedded one where that is not there any more."""
        self._cards = {card.id: card for card in Registry().cards(self._task)}
        self._filling = True
        self._comboBox.clear()
        for card in self._cards.values():
            self._comboBox.addItem(card.title, card.id)
            # The panel may be too narrow for the title.
            self._comboBox.setItemData(self._comboBox.count - 1, card.title, qt.Qt.ToolTipRole)
        if not self._cards:
            self._comboBox.addItem(_("No model on this computer"), "")
        self._comboBox.setEnabled(bool(self._cards))
        self._comboBox.setCurrentIndex(max(0, self._comboBox.findData(chosen)))
        self._filling = False
        self._describe()

    @property
    def card(self) -> Card | None:
        """The chosen model's card; None when there is no model."""
        return self._cards.get(self._comboBox.itemData(self._comboBox.currentIndex))

    def _indexChanged(self, _index) -> None:
        if self._filling:
            return
        self._describe()
        if self._onChanged is not None:
            self._onChanged(self.card.id if self.card else "")

    def _describe(self) -> None:
        card = self.card
        if card is None:
            self._label.setText(_("Add a model in the module MRI Seg Suite."))
        else:
            self._label.setText(_("{id} {version}, {size}. Research use only, not a medical device.").format(
                id=card.id, version=card.version, size=readable_size(card.bytes)))
