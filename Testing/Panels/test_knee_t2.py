"""KneeSeg's panel with the second echo of a qDESS scan: what is missing is said, T2 is mapped, the bones show it."""

import numpy as np
import pytest
import SimpleITK as sitk
from virtual_knee_nodes import add_virtual_knee

from KneeSegLib.t2.steady_state import dess_signals
from MRISegSuiteLib.panel.run_state import RunState
from MRISegSuiteLib.scene.exporting import image_of_volume
from MRISegSuiteLib.scene.volumes import new_volume_node


def test_a_second_echo_gives_t2_in_the_table_and_on_the_bones(application, knee, wait_for, picture):
    ui, slicer = knee.ui, application
    volume, segmentation = add_virtual_knee(slicer.mrmlScene)
    first, second = dess_signals(1.0, 1200.0, 40.0, 20.0, 6.0, 25.0)
    image = sitk.Cast(image_of_volume(volume), sitk.sitkFloat32)
    later = new_volume_node(slicer.mrmlScene, "second echo", image * float(second / first))
    parameters = knee._parameterNode
    parameters.inputVolume, parameters.inputSegmentation, parameters.fitShape = volume, segmentation, False
    parameters.secondEcho = volume
    assert not ui.applyButton.enabled and "second echo is the volume itself" in ui.reasonLabel.text

    parameters.secondEcho = later
    assert ui.applyButton.enabled
    ui.t2CollapsibleButton.collapsed = False
    picture(knee, "knee-t2-inputs")
    ui.applyButton.click()
    wait_for(lambda: not knee._run.isRunning)
    assert knee._run.state == RunState.DONE, ui.errorLabel.text
    assert "T2 is not mapped" in ui.summaryLabel.text and "tr_ms" in ui.summaryLabel.text

    ui.repetitionTimeSpinBox.value, ui.echoTimeSpinBox.value, ui.flipAngleSpinBox.value = 20.0, 6.0, 25.0
    ui.layersSpinBox.value = 3
    ui.applyButton.click()
    wait_for(lambda: not knee._run.isRunning)
    assert knee._run.state == RunState.DONE, ui.errorLabel.text
    nodes = knee._result
    t2 = slicer.util.arrayFromVolume(nodes.t2)
    assert np.median(t2[t2 > 0]) == pytest.approx(40.0, abs=2.0)
    table = nodes.table.GetTable()
    assert table.GetColumnByName("T2_mean_middle") is not None
    offered = [ui.coloringSelector.itemData(n) for n in range(ui.coloringSelector.count)]
    assert offered == ["thickness", "t2"] and ui.coloringSelector.enabled
    ui.coloringSelector.setCurrentIndex(1)
    ui.coloringSelector.activated.emit(1)
    femur = nodes.models["femur"].GetDisplayNode()
    assert femur.GetActiveScalarName() == "t2_shown_ms" and femur.GetScalarRange()[1] == 80.0
    assert ", T2 40 ms" in ui.summaryLabel.text
    picture(knee, "knee-t2-done")

    ui.copyPythonButton.click()
    text = slicer.app.clipboard().text()
    assert "echoNodes=echoes" in text and "'tr_ms': 20.0" in text and "layers=3" in text
    ui.copyCommandButton.click()
    text = slicer.app.clipboard().text()
    assert "--echoes" in text and "--t2 tr_ms=20.0,te_ms=6,flip_deg=25.0" in text and "--layers 3" in text


def test_a_sequence_of_spin_echoes_as_dicom_loads_it(application, knee, wait_for, picture):
    """Slicer's importer keeps the echo times as attributes of the sequence; its frames lie in no scene of ours."""
    ui, slicer = knee.ui, application
    volume, segmentation = add_virtual_knee(slicer.mrmlScene)
    image = sitk.Cast(image_of_volume(volume), sitk.sitkFloat32)
    times = [10.0, 20.0, 30.0, 40.0]
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "train")
    for n, time_ms in enumerate(times):
        frame = new_volume_node(slicer.mrmlScene, f"frame {n}", image * float(np.exp(-time_ms / 45.0)))
        sequence.SetDataNodeAtValue(frame, str(n))
        slicer.mrmlScene.RemoveNode(frame)
    parameters = knee._parameterNode
    parameters.inputVolume, parameters.inputSegmentation, parameters.fitShape = volume, segmentation, False
    ui.echoSequenceSelector.setCurrentNode(sequence)
    parameters.secondEcho = volume
    assert not ui.applyButton.enabled
    parameters.secondEcho = None
    assert ui.applyButton.enabled and "maps T2" in ui.reasonLabel.text
    # Without DICOM's attributes a person says how far the echoes are apart.
    assert "te_ms" not in knee._moreArguments()["t2"]
    ui.echoTimeSpinBox.value = 10.0
    assert knee._moreArguments()["t2"]["te_ms"] == times
    ui.echoTimeSpinBox.value = 0.0

    sequence.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "EchoTime")
    sequence.SetAttribute("MultiVolume.FrameLabels", "10,20,30,40")
    ui.skipFirstEchoCheckBox.checked = True
    ui.t2MethodSelector.setCurrentIndex(2)
    ui.t2CollapsibleButton.collapsed = False
    picture(knee, "knee-t2-sequence")
    ui.applyButton.click()
    wait_for(lambda: not knee._run.isRunning)
    assert knee._run.state == RunState.DONE, ui.errorLabel.text
    t2 = slicer.util.arrayFromVolume(knee._result.t2)
    assert np.median(t2[t2 > 0]) == pytest.approx(45.0, abs=0.5)
    table = knee._result.table.GetTable()
    assert table.GetColumnByName("T2_r2") is not None
    ui.copyCommandButton.click()
    text = slicer.app.clipboard().text()
    assert "train_4.nrrd" in text and "--t2 skip_first_echo=yes,method=log_linear" in text
    ui.copyPythonButton.click()
    assert "echoes = [slicer.util.getNode('train')]" in slicer.app.clipboard().text()
