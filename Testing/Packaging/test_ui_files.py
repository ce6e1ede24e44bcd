"""The .ui files against what Slicer needs and against the code that uses them."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare")
# Custom widgets that Slicer's and CTK's designer plugins make, with the header that they are declared in.
KNOWN = {"qMRMLWidget", "qMRMLNodeComboBox", "qMRMLTableView", "ctkCollapsibleButton", "ctkPathLineEdit"}


@pytest.fixture(params=MODULES)
def ui(request):
    """(module name, root element, {widget name: class})."""
    root = ElementTree.parse(REPOSITORY / request.param / "Resources" / "UI" / f"{request.param}.ui").getroot()
    widgets = {widget.get("name"): widget.get("class") for widget in root.iter("widget")}
    return request.param, root, widgets


def test_the_root_is_a_qmrml_widget(ui):
    module, root, widgets = ui
    assert root.find("widget").get("class") == "qMRMLWidget"
    assert root.find("widget").get("name") == root.findtext("class") == module


def test_names_are_unique(ui):
    names = [element.get("name") for tag in ("widget", "layout", "spacer") for element in ui[1].iter(tag)]
    assert len(names) == len(set(names))


def test_custom_widgets_are_declared_with_their_header(ui):
    _, root, widgets = ui
    declared = {c.findtext("class"): c.findtext("header") for c in root.iter("customwidget")}
    used = {kind for kind in widgets.values() if kind.startswith(("qMRML", "qSlicer", "ctk"))}
    assert used == set(declared) and used <= KNOWN
    assert all(header == f"{kind}.h" for kind, header in declared.items())


def test_every_mrml_widget_gets_the_scene(ui):
    module, root, widgets = ui
    connected = {c.findtext("receiver") for c in root.iter("connection")
                 if (c.findtext("sender"), c.findtext("signal"), c.findtext("slot"))
                 == (module, "mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)")}
    assert connected == {name for name, kind in widgets.items() if kind.startswith("qMRML") and name != module}


def test_every_widget_that_the_code_names_is_there(ui):
    module, _, widgets = ui
    source = (REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8")
    used = set(re.findall(r"\bui\.(\w+)", source))
    assert used <= set(widgets), f"not in the .ui file: {sorted(used - set(widgets))}"


def test_parameters_exist_in_the_parameter_node(ui):
    module, root, _ = ui
    named = {p.findtext("string") for p in root.iter("property") if p.get("name") == "SlicerParameterName"}
    tree = ast.parse((REPOSITORY / module / f"{module}.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("ParameterNode")]
    members = {item.target.id for node in classes for item in node.body if isinstance(item, ast.AnnAssign)}
    assert named <= members


def test_every_field_has_a_label_with_a_key_of_its_own(ui):
    """Alt and one letter reach every field and button; no two share a letter."""
    _, root, widgets = ui
    keys = {}
    for widget in root.iter("widget"):
        kind, text = widget.get("class"), widget.findtext("property[@name='text']/string") or ""
        if kind in ("QPushButton", "QCheckBox") or widget.find("property[@name='buddy']") is not None:
            if widget.get("name").endswith("detailsButton"):
                continue  # only there after an error, one at a time
            found = re.search(r"&(\w)", text)
            assert found, f"{widget.get('name')} has no key"
            keys.setdefault(found.group(1).lower(), []).append(widget.get("name"))
    doubled = {key: names for key, names in keys.items() if len(names) > 1}
    assert not doubled


def test_every_input_says_what_it_is_for(ui):
    for widget in ui[1].iter("widget"):
        if widget.get("class") in ("QPushButton", "QComboBox", "qMRMLNodeComboBox", "ctkPathLineEdit"):
            assert widget.findtext("property[@name='toolTip']/string"), f"{widget.get('name')} has no tool tip"
