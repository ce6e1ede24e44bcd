"""KneeSeg's panel at work: Apply, cancel half-way, apply again, edit, measure again, save and reload.

The job is the real one: the worker process measures a real segmentation. How it segments one with the embedded model:
Testing/InSlicer/test_knee_inference.py.
"""

import os
import time

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from slicer_stand_in.heartbeat import Heartbeat
from virtual_knee_nodes import add_virtual_knee

from MRISegSuiteLib.panel.run_state import RunState

_LONGEST_STALL_MS = 200.0
_CANCELLED_WITHIN_S = 2.0


@pytest.fixture
def loaded(application, knee):
    """The panel with a volume and a segmentation of it chosen: (panel, volume node, segmentation node)."""
    volume, segmentation = add_virtual_knee(application.mrmlScene)
    knee._parameterNode.inputVolume = volume
    knee._parameterNode.inputSegmentation = segmentation
    return knee, volume, segmentation


def test_apply_cancel_apply_edit_measure_again_save_reload(application, main_window, loaded, wait_for, picture,
                                                           tmp_path):
    panel, volume, segmentation = loaded
    ui, app = panel.ui, application.app
    assert ui.applyButton.enabled and ui.reasonLabel.text == 'Measures "by hand".'

    # apply, and cancel half-way
    before = _scene_content(application.mrmlScene)
    ui.applyButton.click()
    assert ui.applyButton.text == "&Cancel" and panel._run.state == RunState.RUNNING
    wait_for(lambda: ui.progressBar.value > 50 or not panel._run.isRunning)
    assert panel._run.isRunning, ui.errorLabel.text
    tree = _worker_tree()
    assert tree, "no worker process"
    picture(panel, "knee-running")
    started = time.monotonic()
    ui.applyButton.click()
    gone = [process for process in tree if not _is_alive(process)]
    cancel_s = time.monotonic() - started
    assert len(gone) == len(tree) and cancel_s < _CANCELLED_WITHIN_S
    app.processEvents()
    assert _scene_content(application.mrmlScene) == before
    assert ui.applyButton.text == "&Apply" and "Cancelled" in ui.reasonLabel.text
    picture(panel, "knee-cancelled")

    # apply again, to the end; the event loop is served all the time
    with Heartbeat() as heart:
        ui.applyButton.click()
        start_ms = heart.longest_ms
        wait_for(lambda: heart.beats > 1)
        heart.longest_ms = 0.0
        finished = []
        finish = panel.logic.finishInSteps
        panel.logic.finishInSteps = lambda: finished.append(heart.longest_ms) or finish()
        wait_for(lambda: not panel._run.isRunning)
    assert panel._run.state == RunState.DONE, ui.errorLabel.text
    print(f"\ncancel {1000 * cancel_s:.0f} ms; longest stall while the worker ran {finished[0]:.0f} ms, "
          f"at the start {start_ms:.0f} ms, when loading {heart.longest_ms:.0f} ms; {heart.beats} beats")
    assert finished[0] < _LONGEST_STALL_MS and heart.beats > 50
    table = ui.resultTable.mrmlTableNode()
    assert table is not None and ui.resultTable.visible and "Femoral cartilage: " in ui.summaryLabel.text
    assert panel._parameterNode.resultSegmentation is segmentation
    first = _thickness(table)
    picture(panel, "knee-done")
    picture(panel, "knee-done", 700)

    # edit a segment: the panel says that the numbers are old; measure again brings them up to date
    ui.editButton.click()
    assert application.util.selectedModule() == "SegmentEditor" and not panel.parent.isEntered
    editor = application.util.getModuleWidget("SegmentEditor").editor
    assert editor.segmentationNode() is segmentation and editor.sourceVolumeNode() is volume
    _thin_femoral_cartilage(application, segmentation, volume)
    application.util.selectModule("KneeSeg")
    app.processEvents()
    assert "edited since" in ui.summaryLabel.text
    picture(panel, "knee-edited")
    nodes_before = application.mrmlScene.GetNumberOfNodes()
    ui.measureAgainButton.click()
    wait_for(lambda: not panel._run.isRunning)
    assert panel._run.state == RunState.DONE, ui.errorLabel.text
    assert application.mrmlScene.GetNumberOfNodes() == nodes_before, "measuring again made new nodes"
    assert ui.resultTable.mrmlTableNode() is table
    second = _thickness(table)
    assert second["Femoral cartilage"] < first["Femoral cartilage"] - 0.1
    assert second["Medial tibial cartilage"] == pytest.approx(first["Medial tibial cartilage"], abs=0.02)
    assert "edited since" not in ui.summaryLabel.text

    # what was done, as a script
    ui.copyPythonButton.click()
    assert "measureAgain(segmentation" in app.clipboard().text()
    ui.copyCommandButton.click()
    assert "--segmentation" in app.clipboard().text() and "mriseg.py" in app.clipboard().text()
    ui.showPlotButton.click()
    assert app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement() >= 36  # a layout with a plot
    legend = panel._legend()
    assert ui.legendCheckBox.enabled and ui.legendCheckBox.checked == bool(legend.GetVisibility())
    ui.legendCheckBox.click()
    assert ui.legendCheckBox.checked == bool(legend.GetVisibility())

    # save and reload the scene: the panel finds its result again
    _save_and_reload(application, tmp_path)
    app.processEvents()
    panel.parent.exit()
    panel.parent.enter()
    assert panel._parameterNode.resultSegmentation.GetName() == "by hand"
    assert _thickness(ui.resultTable.mrmlTableNode()) == pytest.approx(second, abs=1e-4)
    picture(panel, "knee-reloaded")


def test_closing_the_scene_ends_the_run(application, loaded, wait_for):
    panel = loaded[0]
    panel.ui.applyButton.click()
    wait_for(lambda: panel.ui.progressBar.value > 0)
    tree = _worker_tree()
    application.mrmlScene.Clear(0)
    assert not any(_is_alive(process) for process in tree)
    assert panel._run.state in (RunState.CANCELLED, RunState.BLOCKED)
    assert "Choose a knee MRI" in panel.ui.reasonLabel.text and not panel.ui.applyButton.enabled


def test_reloading_the_module_ends_the_run(application, loaded, wait_for):
    panel = loaded[0]
    panel.ui.applyButton.click()
    wait_for(lambda: panel.ui.progressBar.value > 0)
    tree = _worker_tree()
    application.util.reloadScriptedModule("KneeSeg")
    assert not any(_is_alive(process) for process in tree)
    fresh = application.modules.KneeSegWidget
    assert fresh is not panel and fresh.ui.applyButton.enabled
    fresh.ui.applyButton.click()
    assert fresh._run.isRunning
    fresh.ui.applyButton.click()


def test_a_failed_run_is_told_in_the_panel(application, knee, wait_for, picture):
    """A constant volume: the worker refuses it; message, log on demand, no pop-up, nothing in the scene."""
    from MRISegSuiteLib.scene.volumes import new_volume_node

    volume, segmentation = add_virtual_knee(application.mrmlScene)
    flat = new_volume_node(application.mrmlScene, "flat", sitk.Image(80, 80, 80, sitk.sitkInt16))
    knee._parameterNode.inputVolume, knee._parameterNode.inputSegmentation = flat, segmentation
    before = _scene_content(application.mrmlScene)
    knee.ui.applyButton.click()
    wait_for(lambda: not knee._run.isRunning)
    ui = knee.ui
    assert knee._run.state == RunState.FAILED and ui.errorFrame.visible
    assert ui.errorLabel.text.startswith('"flat" is constant: every voxel is 0.'), ui.errorLabel.text
    assert ".nrrd" not in ui.errorLabel.text
    ui.detailsButton.click()
    details = ui.detailsText.plainText
    assert ui.detailsText.visible and "wrong_content: " in details and "Traceback" not in details
    assert "flat" not in details, "the name of a node may name a patient: it stays out of the log"
    picture(knee, "knee-error")
    assert _scene_content(application.mrmlScene) == before
    assert ui.applyButton.enabled
    knee._parameterNode.inputVolume = volume
    ui.applyButton.click()
    assert not ui.errorFrame.visible, "an old error stays beside a new run"
    ui.applyButton.click()


def test_an_unexpected_error_shows_its_traceback_and_no_old_log(application, loaded, wait_for):
    panel = loaded[0]

    def broken(*_arguments, **_options):
        raise KeyError("a defect")

    panel.logic.process = broken
    panel.ui.applyButton.click()
    assert panel._run.state == RunState.FAILED and "Please report it" in panel.ui.errorLabel.text
    panel.ui.detailsButton.click()
    details = panel.ui.detailsText.plainText
    assert details.startswith("Traceback") and "a defect" in details and "INFO" not in details


def _worker_tree():
    """All processes below this one (the worker and what it started)."""
    return psutil.Process(os.getpid()).children(recursive=True)


def _is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _scene_content(scene):
    """What a person would see changed: every node with its class, name and modification time of its data."""
    return [(node.GetID(), node.GetClassName(), node.GetName())
            for node in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes()))]


def _segment_id(segmentation, name):
    return segmentation.GetSegmentation().GetSegmentIdBySegmentName(name.replace("_", " ").capitalize())


def _thin_femoral_cartilage(slicer, segmentation, volume):
    """Take the outermost voxels off, as with a brush: what touches neither bone nor cartilage goes."""
    def array_of(name):
        return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, _segment_id(segmentation, name), volume) > 0

    cartilage, bone = array_of("femoral_cartilage"), array_of("femur")
    outside = sitk.BinaryDilate(sitk.GetImageFromArray((~(cartilage | bone)).astype(np.uint8)), (1, 1, 0))
    kept = cartilage & (sitk.GetArrayFromImage(outside) == 0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(kept.astype(np.uint8), segmentation,
                                                     _segment_id(segmentation, "femoral_cartilage"), volume)


def _thickness(tableNode):
    table = tableNode.GetTable()
    return {table.GetColumnByName("Structure").GetValue(row): table.GetColumnByName("ThCtAB").GetValue(row)
            for row in range(table.GetNumberOfRows())
            if table.GetColumnByName("Region").GetValue(row).lower() == "whole"
            and np.isfinite(table.GetColumnByName("ThCtAB").GetValue(row))}


def _save_and_reload(slicer, folder):
    scene, path = slicer.mrmlScene, str(folder / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(0)
    assert scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None
    assert scene.ReadFromMRB(path)
