"""The hub's panel: devices, worker environment, models. The probe and the installation are real processes."""

import hashlib
import json
import os
import time
import zipfile

import psutil
import pytest
from qt_keys import text_fits

from MRISegSuiteLib.panel.run_state import RunState


def test_the_probe_tells_the_device_and_why(hub, wait_for, picture):
    assert hub.ui.deviceLabel.text == "Not checked yet."
    hub.ui.probeButton.click()
    assert hub._probe.isRunning and hub.ui.probeButton.text == "&Cancel"
    wait_for(lambda: not hub._probe.isRunning)
    assert hub._probe.state == RunState.DONE, hub.ui.probe_errorLabel.text
    text = hub.ui.deviceLabel.text
    assert text.startswith("Networks will run on the") and "Why: " in text and "convolution takes" in text
    picture(hub, "hub")
    picture(hub, "hub", 700)


def test_the_probe_can_be_cancelled(hub, wait_for):
    hub.ui.probeButton.click()
    children = psutil.Process(os.getpid()).children(recursive=True)
    assert children
    started = time.monotonic()
    hub.ui.probeButton.click()
    assert time.monotonic() - started < 2.0
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    assert hub._probe.state == RunState.CANCELLED and hub.ui.deviceLabel.text == "Not checked yet."


def test_nothing_is_installed_without_agreement(hub, picture):
    ui = hub.ui
    assert not ui.installButton.enabled and ui.environmentReasonLabel.text == "Nothing has to be installed."
    assert "MB" in ui.agreeCheckBox.text or "GB" in ui.agreeCheckBox.text
    ui.agreeCheckBox.click()
    assert ui.installButton.enabled and "Slicer's own Python stays" in ui.environmentReasonLabel.text
    picture(hub, "hub-agreed")
    ui.wheelFolderSelector.currentPath = "/somewhere"
    assert not ui.agreeCheckBox.checked and not ui.installButton.enabled, "another source is another agreement"
    assert "no download" in ui.agreeCheckBox.text


def test_large_models_are_off_until_they_are_agreed_to(hub, monkeypatch, picture):
    from MRISegSuiteLib.environment import LargeModelsEnvironment

    ui = hub.ui
    monkeypatch.setattr(LargeModelsEnvironment, "_version_of", lambda self, package: None)
    hub.refresh()
    assert ui.largeLabel.text.startswith("Off: transformers") and not ui.installLargeButton.enabled
    assert ui.largeReasonLabel.text == "To install, agree above first." and not ui.removeLargeButton.enabled
    ui.largeCollapsibleButton.collapsed = False
    ui.largeAgreeCheckBox.click()
    assert ui.installLargeButton.enabled and "/large" in ui.largeReasonLabel.text
    assert not ui.installButton.enabled, "one agreement is not the other"
    picture(hub, "hub-large-models")


def test_a_folder_without_wheels_is_refused_in_the_panel(hub, tmp_path):
    (tmp_path / "empty").mkdir()
    hub.ui.wheelFolderSelector.currentPath = str(tmp_path / "empty")
    hub.ui.agreeCheckBox.click()
    hub.ui.installButton.click()
    assert not hub._environments[0].run.isRunning and hub._environments[0].run.state == RunState.FAILED
    assert "holds no wheel files" in hub.ui.environment_errorLabel.text and hub.ui.environment_errorFrame.visible


def test_an_installation_that_fails_tells_why_and_shows_the_log(hub, wait_for, tmp_path, picture):
    """Wheels for other packages than the needed ones: pip itself says no, and nothing is left behind."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    _empty_wheel(wheels)
    hub.ui.wheelFolderSelector.currentPath = str(wheels)
    hub.ui.agreeCheckBox.click()
    hub.ui.installButton.click()
    assert hub._environments[0].run.isRunning and hub.ui.installButton.text == "&Cancel"
    assert not hub.ui.removeEnvironmentButton.enabled
    wait_for(lambda: not hub._environments[0].run.isRunning)
    assert hub._environments[0].run.state == RunState.FAILED and "pip" in hub.ui.environment_errorLabel.text
    hub.ui.environment_detailsButton.click()
    assert "pip:" in hub.ui.environment_detailsText.plainText
    picture(hub, "hub-install-error")
    assert not (tmp_path / "worker").exists()


def test_models_are_listed_checked_and_shown_in_full(hub, wait_for, tmp_path, picture):
    ui = hub.ui
    embedded = ui.modelsTable.rowCount
    folder = _model(tmp_path / "mine")
    ui.addModelSelector.currentPath = str(folder)
    assert ui.addModelButton.enabled
    ui.addModelButton.click()
    assert ui.modelMessageLabel.text == "Added my_model." and ui.modelsTable.rowCount == embedded + 1
    row = ui.modelsTable.currentRow()
    texts = [ui.modelsTable.item(row, column).text() for column in range(4)]
    assert texts[0] == "My own model" and texts[2:] == ["2.1.0", "1 kB"]
    assert ui.modelsTable.item(row, 0).toolTip() == "My own model: torchscript, license Apache-2.0"
    wait_for(lambda: ui.modelsTable.item(row, 1).text() == "OK")
    card = ui.modelCardBrowser.plainText
    for words in ("My own model", "Known failures", "everything", "Medical device: no", "sha256"):
        assert words in card
    picture(hub, "hub-model")

    copied = hub.logic.registry().get("my_model").path_of("weights.ts")
    copied.write_bytes(b"something else")
    ui.checkModelButton.click()
    wait_for(lambda: ui.modelsTable.item(row, 1).text() == "changed")
    assert "weights.ts is not the file that the card names" in ui.modelMessageLabel.text
    picture(hub, "hub-model-changed")

    ui.removeModelButton.click()
    assert ui.removeModelButton.text == "Really re&move?" and ui.modelsTable.rowCount == embedded + 1
    ui.removeModelButton.click()
    assert ui.modelsTable.rowCount == embedded and not copied.exists()
    assert folder.is_dir(), "the user's original must stay"


@pytest.mark.parametrize("width", [400, 700])
def test_the_table_of_models_shows_every_title_whole(hub, application, tmp_path, picture, width):
    folder = _model(tmp_path / "mine", title="A model with a title of many words " * 2)
    hub.ui.addModelSelector.currentPath = str(folder)
    hub.ui.addModelButton.click()
    picture(hub, "hub-titles", width)
    table = hub.ui.modelsTable
    for row in range(table.rowCount):
        room = table.columnWidth(0) - 8, table.rowHeight(row)
        assert text_fits(table, table.item(row, 0).text(), *room), (table.item(row, 0).text(), room)
    assert sum(table.columnWidth(column) for column in range(table.columnCount)) <= table.viewport().width
    assert table.verticalScrollBar().maximum == 0, "a few models need no scrolling"


def test_the_worker_s_packages_are_told_plainly(hub, tmp_path, monkeypatch, picture):
    """Nothing is installed into the folder: no size of nothing is told."""
    from MRISegSuiteLib.environment import WorkerEnvironment

    text = hub.ui.environmentLabel.text
    assert "has all the worker's packages" in text and "0 MB" not in text
    monkeypatch.setattr(WorkerEnvironment, "_version_of", lambda self, package: None)
    hub.refresh()
    assert hub.ui.environmentLabel.text.startswith("The worker's packages are not installed yet: torch, monai")
    assert hub.ui.environmentReasonLabel.text == "To install, agree above first."
    assert not hub.ui.installButton.enabled
    picture(hub, "hub-not-installed")
    (tmp_path / "worker").mkdir()
    hub.refresh()
    assert f"{tmp_path / 'worker'} (0 MB) are not complete" in hub.ui.environmentLabel.text


def test_embedded_models_cannot_be_removed(hub):
    for row, card in enumerate(hub._cards):
        hub.ui.modelsTable.selectRow(row)
        assert hub.ui.removeModelButton.enabled == (not card.embedded)


def test_what_is_no_model_is_refused_with_words(hub, tmp_path):
    (tmp_path / "nothing").mkdir()
    hub.ui.addModelSelector.currentPath = str(tmp_path / "nothing")
    hub.ui.addModelButton.click()
    assert "model.json" in hub.ui.modelMessageLabel.text


@pytest.mark.parametrize("name", ["MRISegSuite", "KneeSeg"])
def test_the_module_s_own_test_passes(modules, application, name):
    import slicer

    slicer.selfTests[name]()


def _empty_wheel(folder):
    with zipfile.ZipFile(folder / "nothing_useful-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nothing_useful-1.0.dist-info/METADATA",
                       "Metadata-Version: 2.1\nName: nothing-useful\nVersion: 1.0\n")
        wheel.writestr("nothing_useful-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("nothing_useful-1.0.dist-info/RECORD", "")


def _model(folder, title="My own model"):
    """A model folder with a valid card; the weights are never loaded here, only hashed."""
    folder.mkdir()
    weights = b"weights of a test"
    (folder / "weights.ts").write_bytes(weights)
    (folder / "model.json").write_text(json.dumps({
        "schema_version": 1, "id": "my_model", "version": "2.1.0", "title": title, "task": "knee",
        "backend": "torchscript",
        "files": [{"path": "weights.ts", "sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}],
        "input": {"channels": [{"name": "image", "modality": "MR", "normalization": {"kind": "none"}}], "axes": "LIP",
                  "spacing_mm": [None, None, None]},
        "output": {"activation": "softmax", "structures": [{"name": "background", "channel": 0, "value": 0},
                                                           {"name": "femur", "channel": 1, "value": 1}]},
        "inference": {"patch": [16, 16, 16]}, "license": "Apache-2.0", "terms": "made by a test",
        "training": {"data": [], "procedure": "none"}, "performance": [], "seen_on_real_scans": "nothing",
        "known_failures": ["everything"], "intended_use": "tests", "medical_device": False,
    }))
    return folder
