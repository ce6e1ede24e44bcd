"""Panels on the stand-in of Slicer's application (Testing/SlicerStandIn): real widgets, real MRML, real jobs."""

import os
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("PySide6", reason="PySide6 is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
for _folder in ("SlicerStandIn", "InSlicer", "Scene"):
    sys.path.insert(0, str(REPOSITORY / "Testing" / _folder))

import slicer_stand_in  # noqa: E402

PICTURES = Path(os.environ.get("MRISEG_TEST_OUTPUT", REPOSITORY / "build" / "test-output")) / "panels"


@pytest.fixture
def application(tmp_path, monkeypatch):
    """The running stand-in with an empty scene; ``slicer``. No model of this computer's user is seen."""
    monkeypatch.setenv("MRISEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MRISEG_WORKER_FOLDER", str(tmp_path / "worker"))
    monkeypatch.setenv("MRISEG_LARGE_MODELS_FOLDER", str(tmp_path / "large"))
    slicer = slicer_stand_in.install()
    slicer_stand_in.new_scene()
    yield slicer
    for module in slicer.app.moduleManager().modules.values():
        if module._representation is not None:
            if module._representation.isEntered:
                module._representation.exit()
            module.unload()
    slicer.app.processEvents()
    slicer_stand_in.switch_off()


@pytest.fixture
def modules(application):
    """The module files of the suite, loaded as the application loads them: (hub, KneeSeg)."""
    return slicer_stand_in.load_modules(REPOSITORY / "MRISegSuite" / "MRISegSuite.py",
                                        REPOSITORY / "KneeSeg" / "KneeSeg.py")


@pytest.fixture
def hub(modules):
    """The hub's panel, entered and shown: the Python widget."""
    return _entered(modules[0])


@pytest.fixture
def knee(modules):
    """KneeSeg's panel, entered and shown: the Python widget."""
    return _entered(modules[1])


@pytest.fixture
def review(modules, tmp_path, monkeypatch):
    """EnsembleReview's panel, entered and shown, with an empty feedback store: the Python widget."""
    monkeypatch.setenv("MRISEG_FEEDBACK", str(tmp_path / "feedback"))
    module, = slicer_stand_in.load_modules(REPOSITORY / "EnsembleReview" / "EnsembleReview.py")
    return _entered(module)


@pytest.fixture
def compare(modules):
    """LongitudinalCompare's panel, entered and shown: the Python widget."""
    module, = slicer_stand_in.load_modules(REPOSITORY / "LongitudinalCompare" / "LongitudinalCompare.py")
    return _entered(module)


@pytest.fixture
def main_window(application):
    """A main window, so that modules can be switched; the Segment Editor is one of them."""
    window = slicer_stand_in.open_main_window()
    yield window
    window.deleteLater()
    application.app.sendPostedEvents(window, 0)


@pytest.fixture
def wait_for(application):
    """``wait_for(condition, seconds)``: let events pass until the condition holds; fails when it does not."""

    def wait(condition, seconds=900.0):  # a computer may be busy with other things
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            application.app.processEvents()
            time.sleep(0.002)

    return wait


@pytest.fixture
def picture(application):
    """``picture(panel, name, width)``: save a screenshot and return the path."""
    from slicer_stand_in.application import grabbed

    def save(panel, name, width=400):
        path = PICTURES / f"{name}-{width}.png"
        grabbed(panel.parent, width, path)
        return path

    return save


def _entered(module):
    representation = module.widgetRepresentation()
    representation.enter()
    representation.show()
    return representation.self()
