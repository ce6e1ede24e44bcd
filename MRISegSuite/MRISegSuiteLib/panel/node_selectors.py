"""What the node selectors of a panel need and a .ui file cannot say: it is done to the combo box inside them."""

from __future__ import annotations

import qt


def give_buddies(ui, selectorNames) -> None:
    """Let the mnemonic of ``<name>Label`` reach the combo box inside the node selector ``<name>``.

    A qMRMLNodeComboBox takes no focus itself, so as a label's buddy (which is what a .ui file can say) it is dead.
    """
    for name in selectorNames:
        getattr(ui, name + "Label").setBuddy(combo_box_in(getattr(ui, name)))


def keep_narrow(ui, selectorNames) -> None:
    """A long name of a node must not make the panel wide.

    A qMRMLNodeComboBox has a property ``sizeAdjustPolicy`` too, but Python cannot set it: the type of the property is
    not known to PythonQt, which raises AttributeError.
    """
    for name in selectorNames:
        combo_box_in(getattr(ui, name)).sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon


def combo_box_in(selector):
    """The combo box inside a qMRMLNodeComboBox."""
    for child in selector.children():
        if child.inherits("QComboBox"):
            return child
    raise RuntimeError(f"{selector.name} holds no combo box")
