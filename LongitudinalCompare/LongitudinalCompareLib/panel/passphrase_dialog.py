"""Asks for the passphrase of a key file. It is handed on once and kept nowhere."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _


class PassphraseDialog:
    """A window with one field that shows nothing; the application goes on while it is open.

    Args:
        parent: widget that it belongs to.
        onGiven: called with the passphrase when the user confirmed it; not at all when the user canceled.
    """

    def __init__(self, parent, onGiven: Callable[[str], None]):
        self._parent, self._onGiven = parent, onGiven
        self.dialog = None  # while it is open
        self.edit = None

    def ask(self, keyName: str) -> None:
        """Open the window, unless it is open."""
        if self.dialog is not None:
            return
        self.dialog = qt.QDialog(self._parent)
        self.dialog.setWindowTitle(_("Passphrase"))
        self.dialog.setWindowModality(qt.Qt.WindowModal)
        layout = qt.QVBoxLayout(self.dialog)
        label = qt.QLabel(_("&Passphrase of {key} (empty where it has none):").format(key=keyName))
        layout.addWidget(label)
        self.edit = qt.QLineEdit()
        self.edit.setEchoMode(qt.QLineEdit.Password)
        self.edit.setAccessibleName(_("Passphrase"))
        label.setBuddy(self.edit)
        layout.addWidget(self.edit)
        buttons = qt.QDialogButtonBox()
        buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.dialog.accept)
        buttons.connect("rejected()", self.dialog.reject)
        layout.addWidget(buttons)
        self.dialog.connect("finished(int)", self._finished)
        self.dialog.open()
        self.edit.setFocus()

    def close(self) -> None:
        """Close it without an answer."""
        if self.dialog is not None:
            self.dialog.reject()

    def _finished(self, code) -> None:
        dialog, passphrase = self.dialog, self.edit.text
        self.edit.clear()
        self.dialog = self.edit = None
        dialog.deleteLater()
        if code == 1:  # QDialog::Accepted
            self._onGiven(passphrase)
