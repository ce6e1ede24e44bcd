"""Keyboard access where Qt Designer alone cannot give it."""

from __future__ import annotations


def give_buddies(ui, selectorNames) -> None:
    """Let the mnemonic of ``<name>Label`` reach the combo box inside the node selector ``<name>``.

    A qMRMLNodeComboBox takes no focus itself, so as a label's buddy (which is what a .ui file can say) it is dead.
    """
    for name in selectorNames:
        for child in getattr(ui, name).children():
            if child.isWidgetType() and child.inherits("QComboBox"):
                getattr(ui, name + "Label").setBuddy(child)
                break
        else:
            raise RuntimeError(f"{name} holds no combo box")
