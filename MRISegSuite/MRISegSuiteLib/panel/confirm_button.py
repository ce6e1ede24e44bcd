"""A button for what cannot be undone: it asks on its own face, so that no dialog is needed."""

from __future__ import annotations

import qt

_ASKED_FOR_MS = 5000


class ConfirmButton:
    """Calls ``action`` at the second click within five seconds.

    Args:
        button: the QPushButton.
        question: gives the text shown after the first click.
        action: what the second click does.
    """

    def __init__(self, button, question, action):
        self._button, self._question, self._action = button, question, action
        self._text = button.text
        self._asked = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_ASKED_FOR_MS)
        self._timer.connect("timeout()", self.reset)
        button.connect("clicked(bool)", self._clicked)

    def reset(self) -> None:
        """Forget the first click."""
        self._timer.stop()
        self._asked = False
        self._button.setText(self._text)

    def _clicked(self, checked=False) -> None:
        if self._asked:
            self.reset()
            self._action()
        else:
            self._asked = True
            self._button.setText(self._question())
            self._timer.start()
