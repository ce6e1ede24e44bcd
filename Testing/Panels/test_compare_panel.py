"""LongitudinalCompare's panel at work: reasons, cancel, apply, look, move a diameter, edit, measure again, reload.

The job is the real one: the worker registers two virtual heads. The last test does it with the real follow-up of an MS
patient, where the scans are at hand.
"""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from scipy import ndimage
from virtual_heads import add_heads

from MRISegSuiteLib.models.registry import Registry, user_folder
from MRISegSuiteLib.panel.run_state import RunState

pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Pipelines"))


@pytest.fixture
def loaded(application, compare):
    volumes, masks = add_heads(application.mrmlScene)
    return compare, volumes, masks


def _choose(panel, volumes, masks=(None, None), dates=("", "")):
    rows = panel._timepoints
    while len(rows.frames) < len(volumes):
        panel.ui.addTimepointButton.click()
    for frame, volume, mask, date in zip(rows.frames, volumes, masks, dates, strict=True):
        frame.volumeSelector.setCurrentNode(volume)
        frame.maskSelector.setCurrentNode(mask)
        if date is not None:
            frame.dateEdit.setText(date)


def _lesions(ui):
    return [ui.lesionList.item(row).text() for row in range(ui.lesionList.count)]


def test_the_reason_why_apply_is_disabled_is_always_visible(application, loaded, picture):
    panel, volumes, masks = loaded
    ui, (first, second) = panel.ui, panel._timepoints.frames
    assert not ui.applyButton.enabled and "Choose a baseline and a follow-up" in ui.reasonLabel.text
    picture(panel, "compare-empty")
    for frame in (first, second):
        frame.volumeSelector.setCurrentNode(volumes[0])
    assert "chosen twice" in ui.reasonLabel.text
    second.volumeSelector.setCurrentNode(volumes[1])
    assert ui.applyButton.enabled and "Nothing is measured" in ui.reasonLabel.text
    first.maskSelector.setCurrentNode(masks[0])
    assert not ui.applyButton.enabled and "every scan, or of none" in ui.reasonLabel.text
    second.maskSelector.setCurrentNode(masks[1])
    first.dateEdit.setText("2024-07-01")
    assert "YYYY-MM-DD" in ui.reasonLabel.text
    second.dateEdit.setText("2024-01-01")
    assert "not in the order" in ui.reasonLabel.text
    second.dateEdit.setText("2024-12-31")
    assert ui.applyButton.enabled and "measures their lesions" in ui.reasonLabel.text
    assert ui.criteriaSelector.count == 5 and "not been checked" in ui.criterionLabel.text
    for collapsible in (ui.settingsCollapsibleButton, ui.reportCollapsibleButton):
        collapsible.collapsed = False
    picture(panel, "compare-unfolded")
    assert panel.parent.minimumSizeHint().width() <= 400


def test_a_model_of_the_users_finds_the_brain(application, loaded, wait_for, picture):
    panel, volumes, masks = loaded
    ui = panel.ui
    assert not ui.brainModelSelector.visible, "nothing to choose while there is no such model"
    embedded = Registry().get("glioma-generated").folder
    folder = user_folder() / "stripper"
    shutil.copytree(embedded, folder)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card |= {"id": "stripper", "title": "Brain extraction", "task": "brain"}
    card["output"]["structures"][0]["name"] = "brain"
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    panel._fillModels()
    ui.settingsCollapsibleButton.collapsed = False
    assert ui.brainModelSelector.visible and ui.brainModelSelector.count == 2
    picture(panel, "compare-brain-model")
    ui.brainModelSelector.setCurrentIndex(ui.brainModelSelector.findData("stripper"))
    _choose(panel, volumes, masks)
    ui.applyButton.click()
    wait_for(lambda: panel.logic.jobFolder is not None and (panel.logic.jobFolder / "job.json").exists(), 30)
    job = json.loads((panel.logic.jobFolder / "job.json").read_text(encoding="utf-8"))
    assert job["parameters"]["brain_model"] == "stripper"
    ui.applyButton.click()  # cancel
    wait_for(lambda: not panel._run.isRunning, 30)


def test_any_number_of_timepoints_sorted_removed_and_remembered(application, compare, picture):
    from slicer import vtkMRMLScalarVolumeNode as Volume

    panel, ui, rows = compare, compare.ui, compare._timepoints
    volumes = [application.mrmlScene.AddNewNodeByClass(Volume.__name__, f"visit {n}") for n in range(1, 7)]
    dates = ["2024-01-01", "2024-03-01", "2024-02-01", "2024-06-01", "2024-05-01", "2024-04-01"]
    _choose(panel, volumes, [None] * 6, dates)
    assert len(rows.frames) == 6 and "not in the order" not in ui.reasonLabel.text  # they hold no image
    picture(panel, "compare-six")
    assert panel.parent.minimumSizeHint().width() <= 400
    ui.sortTimepointsButton.click()
    order = [volumes[n] for n in (0, 2, 1, 5, 4, 3)]
    assert [frame.volumeSelector.currentNode() for frame in rows.frames] == order
    assert [frame.dateEdit.text for frame in rows.frames] == sorted(dates)
    rows.frames[1].removeButton.click()
    assert [row.volume for row in rows.rows()] == order[:1] + order[2:] and len(rows.frames) == 5
    rows.frames[4].dateEdit.setText("June")
    assert not ui.sortTimepointsButton.enabled
    panel.parent.exit()
    application.mrmlScene.RemoveNode(order[2])
    panel.parent.enter()
    assert rows.frames[1].volumeSelector.currentNode() is None and rows.frames[2].dateEdit.text == "2024-04-01"
    for _ in range(3):
        rows.frames[-1].removeButton.click()
    assert len(rows.frames) == 2 and not rows.frames[0].removeButton.visible
    application.mrmlScene.Clear(0)
    assert [row.volume for row in rows.rows()] == [None, None] and not rows.frames[0].dateEdit.text


def test_apply_look_move_edit_measure_again_save_reload(application, main_window, loaded, wait_for, picture, tmp_path):
    panel, volumes, masks = loaded
    ui, scene, app = panel.ui, application.mrmlScene, application.app
    _choose(panel, volumes, masks, ("2024-01-01", "2024-07-01"))

    # cancel half-way: the worker is gone, the scene as it was
    before = scene.GetNumberOfNodes()
    ui.applyButton.click()
    wait_for(lambda: ui.progressBar.value > 50 or not panel._run.isRunning)
    picture(panel, "compare-running")
    ui.applyButton.click()
    assert panel._run.state == RunState.CANCELLED and scene.GetNumberOfNodes() == before
    assert not psutil.Process(os.getpid()).children(recursive=True)

    ui.applyButton.click()
    wait_for(lambda: not panel._run.isRunning)
    assert panel._run.state == RunState.DONE, ui.errorLabel.text
    nodes = panel._result
    assert "good" in ui.gateLabel.text and "Change category" in ui.summaryLabel.text
    first = _lesions(ui)
    assert len(first) == 2 and "matched" in first[0] and "new" in first[1]
    assert nodes.chart is not None and ui.resultTable.mrmlTableNode() is nodes.table
    picture(panel, "compare-done")
    picture(panel, "compare-done", 700)

    # the native images are native: only a parent transform moves them, and the check box takes it away
    assert all(volume.GetTransformNodeID() for volume in volumes)
    ui.alignedCheckBox.click()
    assert not any(volume.GetTransformNodeID() for volume in [*volumes, *masks])
    ui.alignedCheckBox.click()
    assert all(node.GetTransformNodeID() for node in [*volumes, *masks])

    # the layout has a view for each timepoint; choosing a lesion centers them on it
    layout = app.layoutManager().layoutLogic().GetLayoutNode()
    assert layout.GetViewArrangement() == 5602
    ui.showPlotButton.click()  # our layout has a place for the plot, and stays
    assert layout.GetViewArrangement() == 5602
    assert app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == nodes.chart.GetID()
    ui.lesionList.setCurrentRow(1)
    red = next(scene.GetNthNodeByClass(n, "vtkMRMLSliceNode")
               for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
               if scene.GetNthNodeByClass(n, "vtkMRMLSliceNode").GetLayoutName() == "Timepoint2")  # fmt: skip
    center = [red.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    line = nodes.lines[(2, 2, "longest")]
    ends = [[0.0] * 3, [0.0] * 3]
    for n in range(2):
        line.GetNthControlPointPositionWorld(n, ends[n])
    assert np.linalg.norm(np.array(center) - np.mean(ends, axis=0)) < 5
    ui.blinkButton.click()
    assert panel._views.mode == "fade"
    wait_for(lambda: ui.fadeSlider.value == 100, 10)
    for mode in ("checkerboard", "change", "subtraction", "side_by_side"):
        ui.modeSelector.setCurrentIndex(ui.modeSelector.findData(mode))
    assert not ui.blinkButton.checked

    # a person moves a diameter: the list follows at once, and measuring again takes it over
    line = nodes.lines[(2, 1, "longest")]
    point = line.GetNthControlPointPosition(0)
    line.SetNthControlPointPosition(0, point[0], point[1], point[2] + 8.0)
    assert _lesions(ui) != first and "*" in _lesions(ui)[0] and "edited since" in ui.summaryLabel.text
    length = line.GetLineLengthWorld()
    picture(panel, "compare-moved")

    # and edits a mask: the new lesion goes
    ui.editSelector.setCurrentIndex(1)
    ui.editButton.click()
    editor = application.util.getModuleWidget("SegmentEditor").editor
    assert editor.segmentationNode() is masks[1] and editor.sourceVolumeNode() is volumes[1]
    array = application.util.arrayFromSegmentBinaryLabelmap(masks[1], "lesion", volumes[1])
    labels, count = ndimage.label(array)
    assert count == 2
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    application.util.updateSegmentBinaryLabelmapFromArray(
        (labels == largest).astype(np.uint8), masks[1], "lesion", volumes[1])
    application.util.selectModule("LongitudinalCompare")
    nodes_before = scene.GetNumberOfNodes()
    ui.measureAgainButton.click()
    wait_for(lambda: not panel._run.isRunning)
    assert panel._run.state == RunState.DONE, ui.errorLabel.text
    assert len(_lesions(ui)) == 1 and f"{length:.1f} ×" in _lesions(ui)[0], _lesions(ui)
    assert scene.GetNumberOfNodes() < nodes_before, "measuring again made new nodes"
    assert panel._result.table is nodes.table and "edited since" not in ui.summaryLabel.text
    assert any("set by a person" in text for text in panel._warnings)

    ui.copyPythonButton.click()
    assert "measureAgain(table)" in app.clipboard().text()
    ui.copyCommandButton.click()
    assert " compare " in app.clipboard().text() and "--masks" in app.clipboard().text()

    # saved and opened again the result is there, with its scans, transforms and diameters
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(0)
    assert panel._result is None
    assert scene.ReadFromMRB(path)
    panel.parent.exit()
    panel.parent.enter()
    assert len(_lesions(ui)) == 1 and f"{length:.1f} ×" in _lesions(ui)[0] and len(panel._result.volumes) == 2
    assert ui.alignedCheckBox.checked and ui.measureAgainButton.enabled


def test_links_are_corrected_undone_and_measured(application, loaded, wait_for, picture, tmp_path):
    panel, volumes, masks = loaded
    ui, scene = panel.ui, application.mrmlScene
    _choose(panel, volumes, masks)

    def run(button):
        button.click()
        wait_for(lambda: not panel._run.isRunning)
        assert panel._run.state == RunState.DONE, ui.errorLabel.text

    def choose(*rows):
        ui.lesionList.clearSelection()
        for row in rows:
            ui.lesionList.item(row).setSelected(True)

    run(ui.applyButton)
    assert ["matched" in _lesions(ui)[0], "new" in _lesions(ui)[1]] == [True, True]
    assert not ui.sameButton.enabled and not ui.correctionList.visible
    choose(1)
    assert not ui.sameButton.enabled and not ui.notSameButton.enabled, "a new lesion is linked with nothing"
    choose(0, 1)
    assert ui.sameButton.enabled and not ui.notSameButton.enabled
    ui.sameButton.click()
    assert "corrected since" in ui.summaryLabel.text and ui.correctionList.count == 1
    assert "Same lesion: baseline, no. 1" in ui.correctionList.item(0).text()
    ui.undoCorrectionButton.click()
    assert "corrected since" not in ui.summaryLabel.text and not ui.correctionList.visible
    choose(0, 1)
    ui.sameButton.click()
    picture(panel, "compare-corrected")
    run(ui.measureAgainButton)
    # one lesion became two: nothing is new any more, in the list, the table and the category
    assert "split" in _lesions(ui)[0] and len(_lesions(ui)) == 4, _lesions(ui)
    assert "corrected since" not in ui.summaryLabel.text and ui.correctionList.visible
    assert panel._result.lines[(2, 2, "longest")] is not None
    regions = panel._result.table.GetTable().GetColumnByName("Region")
    found = {regions.GetValue(row) for row in range(regions.GetNumberOfValues())}
    assert "Lesion 1" in found and "Lesion 2" not in found
    picture(panel, "compare-split")

    # a part of it is parted again, by its own row; the later word counts
    choose(3)
    assert ui.notSameButton.enabled and "follow-up, no. 2" in _lesions(ui)[3]
    ui.notSameButton.click()
    assert ui.correctionList.count == 2

    # corrections are saved with the scene, before they are measured
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(0)
    assert scene.ReadFromMRB(path)
    panel.parent.exit()
    panel.parent.enter()
    assert ui.correctionList.count == 2 and "corrected since" in ui.summaryLabel.text


def test_a_correction_at_a_later_follow_up_reaches_the_course_over_time(application, loaded, wait_for):
    from virtual_heads import head, pose

    from LongitudinalCompareLib import scene as compare_scene
    from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node
    from MRISegSuiteLib.scene.volumes import new_volume_node

    panel, volumes, masks = loaded
    ui = panel.ui
    image, mask = head(pose(-4, 5), [((25.0, 20.0, 15.0), 11.0), ((-30.0, -10.0, 20.0), 6.0)], seed=9)
    volumes.append(new_volume_node(application.mrmlScene, "later", image))
    masks.append(new_segmentation_node(application.mrmlScene, "later lesions", mask, {"lesion": 1},
                                       [SegmentLook("lesion", "Lesion", (1, 0.6, 0), "")], volumes[-1]))
    _choose(panel, volumes, masks, ("2024-01-01", "2024-07-01", "2025-01-01"))

    def run(button):
        button.click()
        wait_for(lambda: not panel._run.isRunning)
        assert panel._run.state == RunState.DONE, ui.errorLabel.text
        return compare_scene.record_of(panel._result)

    record = run(ui.applyButton)
    assert [track["members"] for track in record["tracks"]] == [[[1], [1], [1]], [[], [2], [2]]]
    rows = [n for n, text in enumerate(_lesions(ui)) if text.startswith("Follow-up 2")]
    assert len(rows) == 2
    for row in rows:
        ui.lesionList.item(row).setSelected(True)
    ui.sameButton.click()
    record = run(ui.measureAgainButton)
    assert [track["members"] for track in record["tracks"]] == [[[1], [1, 2], [1, 2]]]
    assert [[one["status"] for one in pair["lesions"]] for pair in record["pairs"]] == [["matched", "new"], ["split"]]


def test_a_failed_registration_is_told_and_its_report_signed_and_checked(
        application, compare, wait_for, picture, tmp_path):
    """With a real key, in another process; the passphrase leaves no trace."""
    if importlib.util.find_spec("pyhanko") is None:
        pytest.skip("pyHanko is not installed")
    from key_files import write_key

    was_loaded = "pyhanko" in sys.modules
    panel, ui, scene, secret = compare, compare.ui, application.mrmlScene, "open-sesame-41"
    ui.reportCollapsibleButton.collapsed = False
    assert not ui.signButton.enabled and "There is no report" in ui.sign_reasonLabel.text
    _fail_to_register(application, panel, wait_for)
    assert ui.openReportButton.enabled and ui.pdfEdit.currentPath.endswith("report.pdf")
    assert "file with your key" in ui.sign_reasonLabel.text
    ui.keyEdit.setCurrentPath(str(write_key(tmp_path / "reader.p12", passphrase=secret)))
    signed = tmp_path / "signed.pdf"
    assert "where to save" in ui.sign_reasonLabel.text
    ui.signedEdit.setCurrentPath(str(signed))
    unsigned = Path(ui.pdfEdit.currentPath).read_bytes()

    def sign(passphrase, accept=True):
        ui.signButton.click()
        dialog = panel._signing.dialog
        assert dialog.edit.echoMode == dialog.edit.EchoMode.Password
        dialog.edit.setText(passphrase)
        picture(SimpleNamespace(parent=dialog.dialog), "compare-passphrase")
        dialog.dialog.accept() if accept else dialog.dialog.reject()
        if accept:
            for child in psutil.Process(os.getpid()).children(recursive=True):
                assert secret not in " ".join(child.cmdline())
        wait_for(lambda: not panel._signing.isRunning)

    sign(secret, accept=False)
    assert not signed.exists() and not ui.signatureLabel.text
    sign("wrong")
    assert not signed.exists() and "passphrase is wrong" in ui.sign_errorLabel.text and ui.sign_errorFrame.visible
    picture(panel, "compare-sign-failed")
    sign(secret)
    assert "Signed by Dr. A. Reader" in ui.signatureLabel.text and ui.pdfEdit.currentPath == str(signed)
    assert not ui.sign_errorFrame.visible
    picture(panel, "compare-signed")

    def check():
        ui.checkSignatureButton.click()
        wait_for(lambda: not panel._signing.isRunning)
        return ui.signatureLabel.text

    assert "signed by Dr. A. Reader" in check() and "not a byte has changed" in check()
    content = bytearray(signed.read_bytes())
    content[len(unsigned) // 2] ^= 1
    signed.write_bytes(bytes(content))
    assert "NOT what was signed" in check()
    picture(panel, "compare-signature-broken")

    assert ("pyhanko" in sys.modules) == was_loaded, "signing was loaded into this process"
    path = tmp_path / "scene.mrml"
    scene.SetURL(str(path))
    assert scene.Commit()
    kept = [path, *Path(application.app.temporaryPath).rglob("*"), *panel.logic.jobFolder.rglob("*")]
    assert not any(secret.encode() in one.read_bytes() for one in kept if one.is_file())
    # a result that was edited since has to be measured again before its report is signed
    ui.pdfEdit.setCurrentPath(str(panel.logic.reportOf(panel._result.table)))
    assert ui.signButton.enabled
    panel._markEdited()
    assert not ui.signButton.enabled and "measure again" in ui.sign_reasonLabel.text


def test_scans_from_dicom_get_seg_and_sr_where_they_still_are_their_series(
        application, compare, wait_for, tmp_path, monkeypatch):
    hd = pytest.importorskip("highdicom", reason="highdicom is not installed")
    from dicom_series import write_series
    from slicer_stand_in.dicom_database import DicomDatabase
    from virtual_heads import add_heads

    from MRISegSuiteLib.scene.exporting import image_of_volume

    panel, ui = compare, compare.ui
    volumes, masks = add_heads(application.mrmlScene)
    for n, node in enumerate(volumes, start=1):
        write_series(tmp_path / f"series{n}", image_of_volume(node), f"2024010{n}")
    database = DicomDatabase(tmp_path)
    monkeypatch.setattr(application, "dicomDatabase", database, raising=False)
    for n, node in enumerate(volumes, start=1):
        files = sorted((tmp_path / f"series{n}").iterdir())
        node.SetAttribute("DICOM.instanceUIDs", " ".join(database.instanceForFile(str(file)) for file in files))

    # the follow-up was cropped since it was loaded: it is measured as it is, but is not its series any more
    cropped = image_of_volume(volumes[1])[:, :-2, :]
    application.util.updateVolumeFromArray(volumes[1], sitk.GetArrayFromImage(cropped))
    masks[1].SetReferenceImageGeometryParameterFromVolumeNode(volumes[1])
    _choose(panel, volumes, masks, [None] * 2)
    assert [frame.dateEdit.text for frame in panel._timepoints.frames] == ["2024-01-01", "2024-01-02"]
    ui.applyButton.click()
    wait_for(lambda: not panel._run.isRunning)
    assert panel._run.state == RunState.DONE, ui.errorLabel.text
    note, = panel._warnings
    assert "follow-up: The scan does not lie on the grid" in note
    saved = tmp_path / "saved"
    saved.mkdir()
    ui.filesFolderEdit.setCurrentPath(str(saved))
    ui.saveFilesButton.click()
    assert {"report.html", "report.pdf", "table.csv"} <= {one.name for one in saved.iterdir()}
    assert "2 of them DICOM" in ui.savedLabel.text and not (saved / "lesions_2_seg.dcm").exists()

    # the segmentation lies where the node has it
    assert hd.sr.srread(str(saved / "lesions_1_sr.dcm")).PatientID == "P1"
    volume = hd.seg.segread(str(saved / "lesions_1_seg.dcm")).get_volume(combine_segments=True)
    points = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
    array = application.util.arrayFromSegmentBinaryLabelmap(masks[0], "lesion", volumes[0])
    ui.alignedCheckBox.click()  # to where it was scanned
    image = image_of_volume(volumes[0])
    indices = np.array([image.TransformPhysicalPointToIndex(point.tolist()) for point in points])
    assert array[tuple(indices.T[::-1])].all() and len(points) == np.count_nonzero(array)


def test_several_contrasts_of_a_session_are_chosen_aligned_and_shown(application, loaded, wait_for, picture):
    from virtual_heads import head, pose

    from MRISegSuiteLib.scene.volumes import new_volume_node

    panel, volumes, masks = loaded
    ui, scene = panel.ui, application.mrmlScene
    _choose(panel, volumes, masks)
    # the second session's T1 was taken after the patient had moved
    places = [np.eye(4), pose(8, 6) @ pose(5, 7, axis=(1, 0, 1), along=(0, 1, 1))]
    others = [new_volume_node(scene, f"visit {n} T1", head(place, inverted=True, seed=n + 5)[0])
              for n, place in enumerate(places, start=1)]
    for frame, other in zip(panel._timepoints.frames, others, strict=True):
        frame.moreButton.click()
        assert "scan for every contrast" in ui.reasonLabel.text
        frame.further[0].selector.setCurrentNode(other)
        assert frame.further[0].nameEdit.text == "T1", "the node's name says what it is"
        assert "name of its own" in ui.reasonLabel.text
        frame.scan.nameEdit.setText("FLAIR")
    assert ui.applyButton.enabled, ui.reasonLabel.text
    picture(panel, "compare-contrasts")
    assert panel.parent.minimumSizeHint().width() <= 400
    ui.applyButton.click()
    wait_for(lambda: not panel._run.isRunning)
    assert panel._run.state == RunState.DONE, ui.errorLabel.text
    nodes = panel._result
    assert set(nodes.further) == {(1, "T1"), (2, "T1")} and set(nodes.sessions) == {(2, "T1")}
    assert "subtraction_T1_2" in nodes.maps and "subtraction_2" in nodes.maps

    # every scan brings the same place of the head to the same place of the world
    place = np.array([25.0, 20.0, 15.0, 1.0])
    worlds = []
    for volume, to_head in ((volumes[0], np.eye(4)), (volumes[1], pose(8, 6)), *zip(others, places, strict=True)):
        native = np.linalg.inv(to_head) @ place * (-1, -1, 1, 1)
        worlds.append(application.util.arrayFromTransformMatrix(volume.GetParentTransformNode()) @ native)
    assert np.linalg.norm(np.ptp(worlds, axis=0)) < 0.7

    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName("Timepoint2")
    ui.contrastSelector.setCurrentIndex(ui.contrastSelector.findData("T1"))
    assert composite.GetBackgroundVolumeID() == others[1].GetID()
    ui.modeSelector.setCurrentIndex(ui.modeSelector.findData("subtraction"))
    assert composite.GetForegroundVolumeID() == nodes.maps["subtraction_T1_2"].GetID()
    ui.copyCommandButton.click()
    assert "T1=" in application.app.clipboard().text() and "--reference FLAIR" in application.app.clipboard().text()
    again = panel.logic.nodesOf(nodes.table)
    assert again.further == nodes.further and again.sessions == nodes.sessions
    panel._timepoints.frames[1].further[0].removeButton.click()
    assert not panel._timepoints.frames[1].further and ui.applyButton.enabled


def _fail_to_register(application, compare, wait_for):
    """Two persons are no one's follow-up: native volumes only."""
    from virtual_heads import head

    from MRISegSuiteLib.scene.volumes import new_volume_node

    volumes = [new_volume_node(application.mrmlScene, f"person {n}", head(subject=n)[0]) for n in (1, 7)]
    _choose(compare, volumes)
    compare.ui.applyButton.click()
    wait_for(lambda: not compare._run.isRunning)
    assert compare._run.state == RunState.DONE, compare.ui.errorLabel.text
    assert "failed" in compare.ui.gateLabel.text and "•" in compare.ui.gateLabel.text
    assert not compare._result.maps and not compare._result.lines and not compare._result.transforms
    assert not compare.ui.alignedCheckBox.enabled and not compare.ui.alignedCheckBox.checked


def test_the_real_follow_up(application, compare, wait_for, picture, shared_data):
    """A patient with multiple sclerosis, 203 days apart; the mask of the change, in each scan, for the lesions."""
    from MRISegSuiteLib.images.structures import TUMOR_BY_NAME
    from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node
    from MRISegSuiteLib.scene.volumes import new_volume_node

    folder = shared_data / "ms_followup" / "patient01" / "raw"
    change = sitk.Cast(sitk.ReadImage(str(folder / "gt.nii.gz")), sitk.sitkFloat32)
    lesion = TUMOR_BY_NAME["lesion"]
    look = SegmentLook("lesion", "Lesion", lesion.color, "")
    volumes, masks = [], []
    for n, level in ((1, 0.9), (2, 0.4)):  # nothing but a core is taken for the lesion before it grew
        image = sitk.BinShrink(sitk.ReadImage(str(folder / f"study{n}_FLAIR.nii.gz")), (2, 2, 1))
        way = sitk.ReadTransform(str(folder / f"study{n}_FLAIR_to_common_space.txt")).GetInverse()
        mask = sitk.Cast(sitk.Resample(change, image, way, sitk.sitkLinear, 0.0) > level, sitk.sitkUInt8)
        volumes.append(new_volume_node(application.mrmlScene, f"FLAIR {n}", sitk.Cast(image, sitk.sitkInt16)))
        masks.append(new_segmentation_node(application.mrmlScene, f"change {n}", mask, {"lesion": 1}, [look],
                                           volumes[-1], algorithm_type="MANUAL"))
    _choose(compare, volumes, masks, ("2010-01-01", "2010-07-23"))
    ui = compare.ui
    ui.jacobianCheckBox.click()
    ui.applyButton.click()
    wait_for(lambda: not compare._run.isRunning)
    assert compare._run.state == RunState.DONE, ui.errorLabel.text
    assert "good" in ui.gateLabel.text and ui.lesionList.count > 3
    picture(compare, "compare-real")
    # The map of local expansion has colors of its own and a legend, over the scan.
    expansion = compare._result.maps["jacobian_2"]
    legend = application.vtkSlicerColorLogic.GetColorLegendDisplayNode(expansion)
    assert legend is not None and "expansion" in legend.GetTitleText()
    composite = application.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName("Timepoint2")
    ui.modeSelector.setCurrentIndex(ui.modeSelector.findData("expansion"))
    assert composite.GetForegroundVolumeID() == expansion.GetID()
    ui.copyCommandButton.click()
    assert "--jacobian" in application.app.clipboard().text()
    # The map of change is bright where the published mask says that something changed.
    nodes = compare._result
    values = application.util.arrayFromVolume(nodes.maps["intensity_change_2"])
    world = application.util.arrayFromTransformMatrix(nodes.transforms[2])
    ijk = np.linalg.inv(_ijk_to_ras(nodes.maps["intensity_change_2"])) @ world @ _ijk_to_ras(volumes[1])
    voxels = np.argwhere(application.util.arrayFromSegmentBinaryLabelmap(masks[1], "lesion", volumes[1]))[:, ::-1]
    places = np.rint(np.c_[voxels, np.ones(len(voxels))] @ ijk.T)[:, :3].astype(int)
    inside = values[places[:, 2], places[:, 1], places[:, 0]]
    print(f"\nmedian change where it is marked {np.median(inside):.1f}, elsewhere {np.median(np.abs(values)):.1f}")
    assert np.median(inside) > 3 * np.median(np.abs(values[values != 0]))


def _ijk_to_ras(volumeNode):
    from MRISegSuiteLib.scene.geometry import volume_ijk_to_ras

    return volume_ijk_to_ras(volumeNode)
