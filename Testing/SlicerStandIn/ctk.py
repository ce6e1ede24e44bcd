"""``import ctk`` as in 3D Slicer: the few CTK widgets that the panels use."""

from slicer_stand_in.ctk_widgets import (  # noqa: F401
    ctkCheckBox,
    ctkCollapsibleButton,
    ctkComboBox,
    ctkPathLineEdit,
)
