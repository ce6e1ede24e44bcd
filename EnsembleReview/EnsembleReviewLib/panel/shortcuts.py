"""Single keys for a whole worklist. They rest while a person types into a field, as all of Qt's shortcuts do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
import slicer


class Shortcuts:
    """Keys that work while the module is shown, also when the mouse is in a slice view.

    Args:
        panel: the widget of the module; keys belong to it where there is no main window.
        actions: key sequence -> what it does. Not among them: keys of the Segment Editor (q, w, z, y, i, digits,
            space, escape).
    """

    def __init__(self, panel, actions: Mapping[str, Callable[[], None]]):
        self._panel, self._actions = panel, dict(actions)
        self._shortcuts: list = []

    def install(self) -> None:
        """Switch the keys on."""
        if self._shortcuts:
            return
        parent = slicer.util.mainWindow() or self._panel
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), parent)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def uninstall(self) -> None:
        """Switch the keys off."""
        shortcuts, self._shortcuts = self._shortcuts, []
        for shortcut in shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
