"""The stand-in refuses what Slicer refuses: otherwise the tests of the panels could not tell."""

import textwrap
from typing import Annotated

import pytest


class Numbers:
    layers: int = 2
    bounded: Annotated[int, "a range is put here"] = 2


@pytest.fixture
def widgets(application):
    """A panel with one widget of each kind, by name."""
    import slicer_stand_in.ctk_widgets as ctk
    from PySide6 import QtWidgets

    return {"selector": application.qMRMLNodeComboBox(), "table": application.qMRMLTableView(),
            "section": ctk.ctkCollapsibleButton(), "path": ctk.ctkPathLineEdit(), "button": QtWidgets.QPushButton()}


@pytest.mark.parametrize("name", ["selector", "table", "section", "path", "button"])
def test_no_new_attributes(widgets, name):
    with pytest.raises(AttributeError):
        widgets[name].somethingOfOurs = 1
    with pytest.raises(AttributeError):
        widgets[name].setEnabled = None


def test_a_property_is_no_method(widgets):
    with pytest.raises(TypeError):
        widgets["button"].text()
    with pytest.raises(TypeError):
        widgets["section"].collapsed()


@pytest.mark.parametrize(("name", "setter"), [("selector", "setNodeTypes"), ("selector", "setNoneEnabled"),
                                              ("selector", "setSizeAdjustPolicy"), ("section", "setCollapsed"),
                                              ("path", "setFilters")])
def test_setters_that_are_no_slots_do_not_exist(widgets, name, setter):
    assert not hasattr(widgets[name], setter)


def test_the_size_of_a_node_selector_is_set_on_its_combo_box_alone(application, widgets):
    import qt

    with pytest.raises(AttributeError, match="does not accept"):
        widgets["selector"].sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    combo, = (child for child in widgets["selector"].children() if child.inherits("QComboBox"))
    combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon


def test_a_spin_box_takes_the_range_of_its_parameter(application):
    from PySide6 import QtWidgets
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    Numbers.__annotations__["bounded"] = Annotated[int, WithinRange(1, 5)]
    parameters = parameterNodeWrapper(Numbers)(application.vtkMRMLScriptedModuleNode())
    boxes = {name: QtWidgets.QSpinBox() for name in ("layers", "bounded")}
    for box in boxes.values():
        box.setRange(0, 9)
    parameters.connectParametersToGui(boxes)
    assert boxes["layers"].minimum < 0, "Slicer takes the range of the .ui file away"
    assert (boxes["bounded"].minimum, boxes["bounded"].maximum) == (1, 5)
    assert parameters.default("layers").value == 2
    for name, wrong in (("bounded", 6), ("layers", "3"), ("layers", None)):
        with pytest.raises((TypeError, ValueError)):
            setattr(parameters, name, wrong)


def test_an_unknown_property_in_a_ui_file(application, tmp_path):
    (tmp_path / "panel.ui").write_text(textwrap.dedent("""\
        <ui version="4.0"><class>Panel</class><widget class="ctkCollapsibleButton" name="Panel">
        <property name="collapsedd"><bool>true</bool></property></widget><customwidgets><customwidget>
        <class>ctkCollapsibleButton</class><extends>QWidget</extends></customwidget></customwidgets></ui>"""))
    with pytest.raises(ValueError, match="collapsedd"):
        application.util.loadUI(str(tmp_path / "panel.ui"))
