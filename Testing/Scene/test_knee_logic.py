"""The module's logic without the application: real worker processes, real MRML."""

import os
import time

import numpy as np
import pytest
import slicer
from scene_helpers import put_under, rotation

from KneeSegLib.knee_logic import KneeLogic
from KneeSegLib.scene import add_results
from MRISegSuiteLib.errors import BadArguments, BadInput, Cancelled, ModelMissing, SuiteError
from MRISegSuiteLib.jobs import Job, Result
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
