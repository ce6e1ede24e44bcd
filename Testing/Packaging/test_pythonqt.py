"""What PySide6 takes (the panels are tested on it) and PythonQt does not (Slicer uses it): found in the source."""

import ast

import pytest

ROOTS = ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare")
#: Names of a path of attributes that leads to objects of Qt.
_OF_QT = {"qt", "ctk", "ui", "_widgets"}


def _path(node) -> list[str]:
    """``self.ui.button.setText`` -> ["self", "ui", "button", "setText"]; empty for anything else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def found_in(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.keywords and _OF_QT & set(_path(node.func)[:-1]):
            found.append(f"{node.lineno}: keyword arguments of {'.'.join(_path(node.func))}")
        elif isinstance(node, ast.Attribute) and _path(node)[:1] == ["qt"] and len(_path(node)) > 3:
            found.append(f"{node.lineno}: {'.'.join(_path(node))}, values of an enumeration belong to the class")
        elif isinstance(node, ast.Name) and node.id.startswith("PySide"):
            found.append(f"{node.lineno}: {node.id}")
    return found


@pytest.mark.parametrize("source", [
    "qt.QTimer.singleShot(0, f, parent=p)", "self.ui.button.setText(text='a')", "qt.Qt.CheckState.Checked"])
def test_the_checker_sees_what_it_should(source):
    assert found_in(source)


def test_the_panels_use_what_both_take(repository):
    found = [f"{path.relative_to(repository)}:{what}" for root in ROOTS
             for path in sorted((repository / root).rglob("*.py")) for what in found_in(path.read_text("utf-8"))]
    assert not found
