"""The module's logic without the application: real worker processes, real MRML."""

import os
import time

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from scene_helpers import put_under, rotation

from KneeSegLib.knee_logic import KneeLogic
from KneeSegLib.scene import add_results, inputs_of
from MRISegSuiteLib.errors import BadArguments, BadInput, Cancelled, ModelMissing, SuiteError
from MRISegSuiteLib.jobs import Job, Result
from MRISegSuiteLib.scene.dicom_origin import protocol_of_echoes
from MRISegSuiteLib.scene.volumes import new_volume_node


@pytest.fixture
def volume(scene, knee_image):
    return new_volume_node(scene, "knee", knee_image)


@pytest.fixture
def segmentation(scene, knee_job, volume):
    """A segmentation to measure: that of a finished job, all that belonged to it removed."""
    nodes = add_results(scene, knee_job, volume)
    for node in (nodes.table, nodes.chartTable, nodes.chart, nodes.series, *nodes.models.values()):
        scene.RemoveNode(node)
    return nodes.segmentation


def state_of(scene):
    return [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]


def value_of(tableNode, structure, name) -> float:
    rows = tableNode.GetNumberOfRows()
    row = next(r for r in range(rows) if tableNode.GetCellText(r, 0) == structure)
    return tableNode.GetTable().GetColumnByName(name).GetValue(row)


def test_measure_edit_measure_again(scene, volume, segmentation):
    logic, seen = KneeLogic(), []
    nodes = logic.process(volume, segmentationNode=segmentation, progress=seen.append)
    assert nodes.segmentation is segmentation and nodes.side == "right"
    assert set(nodes.models) == {"femur", "tibia", "patella"}
    assert [state.status for state in seen] == ["running"] * len(seen) and len({state.stage for state in seen}) > 2
    assert not logic.isRunning and Result.read(logic.jobFolder).status == "done"
    first = Result.read(nodes.jobFolder)
    assert value_of(nodes.table, "Femoral cartilage", "VC") == pytest.approx(
        next(m.value for m in first.measurements if (m.name, m.structure) == ("VC", "femoral_cartilage")))

    # A person erases the cartilage of the lateral tibia and halves that of the femur (everything right of its middle).
    left_untouched = value_of(nodes.table, "Medial tibial cartilage", "ThCtAB")
    cartilage = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "femoral_cartilage", volume).copy()
    slices = np.flatnonzero(cartilage.any(axis=(1, 2)))
    cartilage[slices[len(slices) // 2]:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(cartilage, segmentation, "femoral_cartilage", volume)
    segmentation.GetSegmentation().RemoveSegment("lateral_tibial_cartilage")
    count = scene.GetNumberOfNodes()
    again = logic.measureAgain(segmentation)
    assert scene.GetNumberOfNodes() == count and again.table is nodes.table and again.models == nodes.models
    assert value_of(again.table, "Femoral cartilage", "VC") == pytest.approx(
        cartilage.sum() * np.prod(volume.GetSpacing()), rel=1e-6)
    assert value_of(again.table, "Medial tibial cartilage", "ThCtAB") == pytest.approx(left_untouched, abs=0.02)
    structures = [again.table.GetCellText(row, 0) for row in range(again.table.GetNumberOfRows())]
    assert "Lateral tibial cartilage" not in structures
    assert any("lateral tibial cartilage" in text for text in again.warnings)


def test_cancel_leaves_no_process_and_an_unchanged_scene(scene, volume, segmentation, tmp_path):
    logic = KneeLogic()
    before = state_of(scene)
    assert logic.process(volume, segmentationNode=segmentation, waitForCompletion=False, jobFolder=tmp_path) is None
    assert logic.isRunning
    with pytest.raises(BadArguments, match="under way"):
        logic.process(volume, segmentationNode=segmentation)
    with pytest.raises(BadArguments, match="not finished"):
        logic.finish()
    while logic.poll().fraction < 0.1:
        time.sleep(0.02)
    pid = logic._run.process.pid
    begin = time.monotonic()
    logic.cancel()
    assert time.monotonic() - begin < 2.0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not logic.isRunning
    logic.cancel()  # nothing runs: nothing happens
    with pytest.raises(BadArguments, match="Nothing is running"):
        logic.poll()
    assert state_of(scene) == before
    assert not (tmp_path / "input").exists() and not list(tmp_path.glob("*.vtp"))


def test_a_failed_run_raises_its_own_error_and_changes_nothing(scene, volume, segmentation, tmp_path):
    before = state_of(scene)
    logic = KneeLogic()
    with pytest.raises(BadArguments, match="side"):
        logic.process(volume, segmentationNode=segmentation, side="middle", jobFolder=tmp_path)
    assert state_of(scene) == before and not logic.isRunning
    assert not (tmp_path / "input").exists() and (tmp_path / "log.txt").exists()


def test_an_error_in_the_caller_s_progress_function_ends_the_run(scene, volume, segmentation):
    logic = KneeLogic()

    def broken(state):
        raise KeyboardInterrupt

    before = state_of(scene)
    with pytest.raises(KeyboardInterrupt):
        logic.process(volume, segmentationNode=segmentation, progress=broken)
    assert not logic.isRunning and state_of(scene) == before


def test_what_cannot_start_says_why(scene, volume, segmentation, tmp_path, monkeypatch):
    logic = KneeLogic()
    with pytest.raises(BadArguments, match="no volume"):
        logic.process()
    with pytest.raises(BadArguments, match="no segmentation"):
        logic.measureAgain(None)
    with pytest.raises(SuiteError, match="holds no image"):
        logic.process(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"), segmentationNode=segmentation)
    with pytest.raises(ModelMissing, match="no_such_model"):
        logic.process(volume, modelId="no_such_model", jobFolder=tmp_path / "job")
    assert not (tmp_path / "job" / "input").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        logic.process(volume, segmentationNode=segmentation, jobFolder=tmp_path / "full")
    assert not logic.isRunning


def test_the_job_of_a_moved_volume_is_in_the_world(scene, volume, segmentation, tmp_path):
    """The files that the worker gets lie where Slicer shows the nodes, image and segmentation on one grid."""
    import SimpleITK as sitk

    move = np.eye(4)
    move[:3, :3], move[:3, 3] = rotation(10, 0, 5), (1.0, 2.0, 3.0)
    transform = put_under(scene, volume, move)
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    logic = KneeLogic()
    logic.process(volume, segmentationNode=segmentation, waitForCompletion=False, jobFolder=tmp_path)
    try:
        job = Job.read(tmp_path)
        image, labels = (sitk.ReadImage(job.inputs[role]) for role in ("image", "segmentation"))
    finally:
        logic.cancel()
    assert image.GetSize() == labels.GetSize()
    assert image.GetOrigin() == pytest.approx(labels.GetOrigin(), abs=1e-9)
    assert image.GetDirection() == pytest.approx(labels.GetDirection(), abs=1e-9)
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    corner = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    assert corner * [-1, -1, 1] == pytest.approx((bounds[::2] + bounds[1::2]) / 2, abs=0.5)


def test_a_finished_job_folder_is_loaded(scene, volume, knee_job, tmp_path):
    nodes = KneeLogic().loadJob(knee_job, volume)
    assert nodes.segmentation.GetName() == "knee - Knee segmentation"
    Result(task="knee", status="cancelled", error=Cancelled("The job was cancelled.").to_record()).write(tmp_path)
    with pytest.raises(Cancelled):
        KneeLogic().loadJob(tmp_path)


def add_echoes(scene, knee_image, t2_ms: float = 40.0):
    """Both echoes of a qDESS scan in which everything has one T2, as volume nodes; and how it was taken."""
    from KneeSegLib.t2.steady_state import dess_signals

    gray = sitk.GetArrayFromImage(knee_image).astype(np.float32) + 100
    nodes = []
    for number, signal in enumerate(dess_signals(1.0, 1200.0, t2_ms, 20.0, 6.0, 25.0), start=1):
        image = sitk.GetImageFromArray(gray * np.float32(10 * signal))
        image.CopyInformation(knee_image)
        nodes.append(new_volume_node(scene, f"echo {number}", image))
    return nodes, {"tr_ms": 20.0, "te_ms": [6.0], "flip_deg": 25.0}


def test_two_echoes_become_a_t2_map_layers_and_numbers_and_stay_when_measured_again(
    scene, knee_image, segmentation, volume
):
    echoes, protocol = add_echoes(scene, knee_image)
    logic = KneeLogic()
    nodes = logic.process(echoes[0], segmentationNode=segmentation, echoNodes=echoes, t2=protocol, layers=3)
    t2 = slicer.util.arrayFromVolume(nodes.t2)
    assert t2.shape == slicer.util.arrayFromVolume(echoes[0]).shape
    femoral = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "femoral_cartilage", volume) > 0
    assert t2[femoral] == pytest.approx(40.0, abs=0.05)  # T1 1200 ms, as femoral cartilage has
    assert value_of(nodes.table, "Femoral cartilage", "T2_mean") == pytest.approx(40.0, abs=0.05)
    assert value_of(nodes.table, "Femoral cartilage", "T2_mean_middle") == pytest.approx(40.0, abs=0.05)
    assert nodes.models["femur"].GetPolyData().GetPointData().HasArray("t2_shown_ms")
    names = nodes.layers.GetSegmentation().GetSegmentIDs()
    assert len(names) == 12 and "femoral_cartilage_superficial" in names
    assert not nodes.layers.GetDisplayNode().GetVisibility()
    assert nodes.t2.GetDisplayNode().GetWindowLevelMax() == pytest.approx(80.0)
    assert inputs_of(segmentation) == {"echoNodes": echoes, "baselineNode": None, "layers": 3, "t2": protocol}

    count = scene.GetNumberOfNodes()
    again = logic.measureAgain(segmentation)
    assert scene.GetNumberOfNodes() == count and again.t2 is nodes.t2 and again.layers is nodes.layers
    assert value_of(again.table, "Femoral cartilage", "T2_mean_middle") == pytest.approx(40.0, abs=0.05)

    t2 = slicer.util.arrayFromVolume(nodes.t2)
    t2[:10] = 0  # a person cuts away what is not wanted
    nodes.t2.GetImageData().Modified()
    once_more = logic.measureAgain(segmentation)
    assert once_more.t2 is not nodes.t2 and (slicer.util.arrayFromVolume(nodes.t2)[:10] == 0).all()


def test_a_t2_map_lies_on_the_volume_that_it_came_from_also_under_a_transform(scene, volume):
    """Files of a job lie in the world; what they become must not be moved twice."""
    from MRISegSuiteLib.scene.exporting import image_of_volume
    from MRISegSuiteLib.scene.volumes import follow_volume

    move = np.eye(4)
    move[:3, :3], move[:3, 3] = rotation(10, 0, 5), (50.0, 2.0, 3.0)
    put_under(scene, volume, move)
    t2 = new_volume_node(scene, "T2", image_of_volume(volume))
    follow_volume(t2, volume)
    placed = [image_of_volume(node) for node in (volume, t2)]
    for corner in ((0, 0, 0), tuple(n - 1 for n in placed[0].GetSize())):
        one, other = (image.TransformIndexToPhysicalPoint(corner) for image in placed)
        assert one == pytest.approx(other, abs=1e-6)
    assert t2.GetTransformNodeID() == volume.GetTransformNodeID()


def test_a_protocol_that_nobody_knows_is_asked_for_and_the_rest_is_measured(scene, knee_image, segmentation):
    echoes, _ = add_echoes(scene, knee_image)
    nodes = KneeLogic().process(echoes[0], segmentationNode=segmentation, echoNodes=echoes)
    assert nodes.t2 is None and nodes.table is not None
    assert any("tr_ms, flip_deg, te_ms" in text for text in nodes.warnings)


def test_the_protocol_comes_from_the_dicom_database(scene, knee_image, monkeypatch):
    """The database of Slicer, here a dictionary with its one method."""
    echoes, _ = add_echoes(scene, knee_image)
    headers = {
        "1.1": {"0018,0080": "25", "0018,0081": "7.48", "0018,1314": "30", "0019,0010": "GEMS_ACQU_01",
                "0019,10B6": "3132.0", "0019,10B7": "1760.0"},
        "1.2": {"0018,0080": "25", "0018,0081": "42.52", "0018,1314": "30"},
    }  # fmt: skip

    class Database:
        def instanceValue(self, uid, tag):
            return headers[uid].get(tag, "")

    assert protocol_of_echoes(echoes) == {}
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    for node, uid in zip(echoes, headers, strict=True):
        node.SetAttribute("DICOM.instanceUIDs", f"{uid} 9.9")
    assert protocol_of_echoes(echoes) == {
        "tr_ms": 25.0, "flip_deg": 30.0, "te_ms": [7.48, 42.52], "spoiler_area": 3132.0, "spoiler_us": 1760.0,
    }  # fmt: skip
