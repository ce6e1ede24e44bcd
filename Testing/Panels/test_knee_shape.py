"""KneeSeg's panel: the fitted shape, the shape browser, and the change since a baseline."""

import numpy as np
from virtual_knee_nodes import add_virtual_knee

from MRISegSuiteLib.panel.run_state import RunState


def test_shape_and_change_are_in_the_scene_and_on_the_bones(application, knee, wait_for, picture):
    ui, slicer = knee.ui, application
    volume, segmentation = add_virtual_knee(slicer.mrmlScene)
    _, baseline = add_virtual_knee(slicer.mrmlScene)
    baseline.SetName("earlier")
    parameters = knee._parameterNode
    parameters.inputVolume, parameters.inputSegmentation = volume, segmentation
    parameters.baseline = segmentation
    assert not ui.applyButton.enabled and "baseline is the segmentation itself" in ui.reasonLabel.text

    parameters.baseline = baseline
    ui.shapeCollapsibleButton.collapsed = False
    picture(knee, "knee-shape-inputs")
    ui.applyButton.click()
    wait_for(lambda: not knee._run.isRunning)
    assert knee._run.state == RunState.DONE, ui.errorLabel.text
    nodes = knee._result
    offered = [ui.coloringSelector.itemData(n) for n in range(ui.coloringSelector.count)]
    assert offered == ["thickness", "change", "shape"]
    change = slicer.util.arrayFromModelPointData(nodes.models["femur"], "change_mm")
    assert np.abs(change).max() < 1e-6  # the same knee twice
    assert nodes.changeChart is not None
    assert set(nodes.shapes) == {"femur", "femur_articular"}
    assert not any(node.GetDisplayVisibility() for node in nodes.shapes.values())
    ui.coloringSelector.setCurrentIndex(2)
    ui.coloringSelector.activated.emit(2)
    femur = nodes.models["femur"].GetDisplayNode()
    assert femur.GetActiveScalarName() == "shape_error_shown_mm" and femur.GetScalarRange() == (-3.0, 3.0)
    picture(knee, "knee-shape-done")

    ui.copyPythonButton.click()
    text = slicer.app.clipboard().text()
    assert "baseline = slicer.util.getNode('earlier')" in text and "baselineNode=baseline" in text
    ui.copyCommandButton.click()
    assert "--baseline earlier.seg.nrrd" in slicer.app.clipboard().text()

    # Measured again as it was: with its baseline.
    ui.measureAgainButton.click()
    wait_for(lambda: not knee._run.isRunning)
    assert knee._run.state == RunState.DONE, ui.errorLabel.text
    assert knee._result.changeChart is nodes.changeChart and knee._result.shapes == nodes.shapes


def test_stages_that_are_switched_off_are_left_out(application, knee, wait_for):
    ui, slicer = knee.ui, application
    volume, segmentation = add_virtual_knee(slicer.mrmlScene)
    parameters = knee._parameterNode
    parameters.inputVolume, parameters.inputSegmentation = volume, segmentation
    ui.thicknessCheckBox.checked = False
    ui.applyButton.click()
    wait_for(lambda: not knee._run.isRunning)
    assert knee._run.state == RunState.DONE, ui.errorLabel.text
    assert knee._result.models == {} and knee._result.shapes == {}
    ui.copyCommandButton.click()
    assert "--without thickness" in slicer.app.clipboard().text()


def test_the_browser_moves_a_bone_of_the_shape_model(application, knee, picture):
    ui, slicer = knee.ui, application
    assert not ui.weightSlider.enabled
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode")
    ui.browserCollapsibleButton.collapsed = False
    assert ui.weightSlider.enabled and ui.modeSpinBox.maximum == 32 and "variance" in ui.browserLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == count
    ui.weightSlider.value = 20
    bone = slicer.util.getNode("Shape browser: femur")
    one = slicer.util.arrayFromModelPoints(bone).copy()
    assert "+2.0 SD" in ui.browserLabel.text
    ui.modeSpinBox.value = 2
    assert ui.weightSlider.value == 0
    ui.weightSlider.value = -15
    two = slicer.util.arrayFromModelPoints(bone)
    assert len(one) != len(two) or not np.allclose(one, two)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == count + 1
    picture(knee, "knee-shape-browser")
    ui.resetShapeButton.click()
    assert "+0.0 SD" in ui.browserLabel.text
    mean = slicer.util.arrayFromModelPoints(bone)
    # In patient axes: a right femur about 75 to 95 mm wide.
    assert 70 < np.ptp(mean[:, 0]) < 100
    # A person removed it: it is made again at the next move.
    slicer.mrmlScene.RemoveNode(bone)
    ui.weightSlider.value = 3
    assert slicer.util.getNode("Shape browser: femur*") is not None


def test_another_shape_model_is_chosen(application, knee):
    ui = knee.ui
    ui.browserCollapsibleButton.collapsed = False
    ui.shapeModelSelector.setCurrentIndex(ui.shapeModelSelector.findData("femur-shape-neural"))
    assert not ui.weightSlider.enabled and "has no modes" in ui.browserLabel.text
    assert knee._moreArguments()["shapeModelId"] == "femur-shape-neural"
    ui.shapeCheckBox.checked = False
    assert knee._moreArguments() == {"without": ["shape"]}
    ui.shapeModelSelector.setCurrentIndex(ui.shapeModelSelector.findData("femur-shape-linear"))
    assert ui.weightSlider.enabled


def test_the_scene_is_closed_while_the_browser_is_open(application, knee):
    ui, slicer = knee.ui, application
    ui.browserCollapsibleButton.collapsed = False
    ui.weightSlider.value = 10
    slicer.mrmlScene.Clear()
    assert ui.weightSlider.enabled
    ui.weightSlider.value = -10
    assert slicer.util.getNode("Shape browser: femur*") is not None
