"""scene.mrb, and saving and opening a scene with results: everything is there again."""

import os
import re
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_helpers import write_job
from vtk.util.numpy_support import vtk_to_numpy

from KneeSegLib.scales import THICKEST_SHOWN_MM
from KneeSegLib.scene import add_results, nodes_of, update_results, volume_of
from KneeSegLib.structures import STRUCTURES
from MRISegSuiteLib.errors import BadInput, SuiteError, UnwritableOutput
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.scene import hierarchy, provenance
from MRISegSuiteLib.scene.bundle import save_bundle, write_scene
from MRISegSuiteLib.scene.exporting import image_of_volume
from MRISegSuiteLib.scene.headless import HeadlessSlicer
from MRISegSuiteLib.scene.volumes import new_volume_node


@pytest.fixture
def job(tmp_path, knee_image, knee_labels, knee_measurement):
    """A finished job of its own for each test."""
    sitk.WriteImage(knee_image, str(tmp_path / "knee.nrrd"))
    return write_job(tmp_path / "out", tmp_path / "knee.nrrd", knee_labels, knee_measurement)


@pytest.fixture
def opened():
    """Opens a .mrb in a scene that knows nothing of the one that wrote it."""
    scenes = []

    def open_it(path) -> HeadlessSlicer:
        scenes.append(HeadlessSlicer())
        assert scenes[-1].scene.ReadFromMRB(str(path))
        return scenes[-1]
    yield open_it
    for headless in scenes:
        headless.scene.Clear(1)


def check_everything(scene, image, labels):
    """All nodes of a result, connected, with content, in a scene that was opened."""
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    nodes = nodes_of(scene, segmentation)
    volume = volume_of(segmentation)
    back = image_of_volume(volume)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-6)
    slicer.mrmlScene = scene  # what arrayFromSegmentBinaryLabelmap works on
    values = sitk.GetArrayFromImage(labels)
    for structure in STRUCTURES:
        segment = segmentation.GetSegmentation().GetSegment(structure.name)
        assert segment.GetName() == structure.title and segment.GetColor() == pytest.approx(structure.color, abs=1e-5)
        tag = vtk.mutable("")
        assert segment.GetTag("TerminologyEntry", tag) and structure.region[1] in str(tag)
        assert segment.GetTag("DICOM.SegmentAlgorithmName", tag) and str(tag) == "MRI Seg Suite test_model 1"
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, structure.name, volume)
        np.testing.assert_array_equal(voxels > 0, values == structure.label)
    assert nodes.table.GetTable().GetColumnByName("ThCtAB").GetDataType() == vtk.VTK_DOUBLE
    assert nodes.chart.GetNthPlotSeriesNode(0).GetTableNode() is nodes.chartTable
    assert set(nodes.models) == {"femur", "tibia", "patella"}
    for model in nodes.models.values():
        display = model.GetDisplayNode()
        assert model.GetPolyData().GetPointData().HasArray(display.GetActiveScalarName())
        assert display.GetScalarVisibility() and display.GetScalarRange() == (0, THICKEST_SHOWN_MM)
        assert display.GetColorNode().GetColorName(1) == "zero"
        assert model.GetNodeReference("MRISegSuiteTable") is nodes.table
        assert not provenance.was_edited(model)
    assert not provenance.was_edited(nodes.table)
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.models["femur"]) is not None
    items = hierarchy.hierarchy_of(scene)
    folder = hierarchy.parent_item(scene, nodes.models["femur"])
    assert items.GetItemName(folder).endswith("- Knee surfaces")
    assert nodes.table.GetAttribute("MRISegSuite.ModelHash") == "ab" * 32
    return nodes


def test_the_bundle_opens_with_everything_in_place(headless, job, opened, knee_image, knee_labels):
    path = save_bundle(job)
    assert path == job / "scene.mrb"
    other = opened(path)
    nodes = check_everything(other.scene, knee_image, knee_labels)
    volume = volume_of(nodes.segmentation)
    for color in ("Red", "Green", "Yellow"):
        composite = other.scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{color}")
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        bounds, position = np.zeros(6), other.scene.GetNodeByID(f"vtkMRMLSliceNode{color}").GetSliceToRAS()
        volume.GetRASBounds(bounds)
        for axis in range(3):  # the slice lies inside the volume
            assert bounds[2 * axis] <= position.GetElement(axis, 3) <= bounds[2 * axis + 1]
    selection = other.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert selection.GetActiveTableID() == nodes.table.GetID()
    assert selection.GetActivePlotChartID() == nodes.chart.GetID()


def test_an_opened_bundle_can_be_measured_again(headless, job, opened, knee_labels, knee_measurement, tmp_path):
    other = opened(save_bundle(job))
    segmentation = other.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    before = nodes_of(other.scene, segmentation)
    count = other.scene.GetNumberOfNodes()
    again = write_job(tmp_path / "again", "knee.nrrd", knee_labels, knee_measurement)
    after = update_results(other.scene, again, volume_of(segmentation), segmentation)
    assert (after.table, after.models) == (before.table, before.models)
    assert other.scene.GetNumberOfNodes() == count


def test_the_bundle_says_nothing_about_this_machine(headless, job):
    with zipfile.ZipFile(save_bundle(job)) as archive:
        names = archive.namelist()
        text = archive.read("scene/scene.mrml").decode()
        everything = b"".join(archive.read(name) for name in names)
    for name in re.findall(r'fileName(?:List\d+|)="([^"]*)"', text):
        assert name.startswith("Data/") and f"scene/{name}" in names
    for word in (str(job.parent), os.path.expanduser("~")):
        if len(word) > 3:
            assert word.encode() not in everything
    assert all(re.fullmatch(r"scene/[\w./-]*", name) for name in names)


def test_the_bundle_is_listed_in_the_result_and_nothing_else_is_left(headless, job):
    before = {path.name for path in job.iterdir()}
    save_bundle(job)
    assert Result.read(job).files["scene"] == "scene.mrb"
    assert {path.name for path in job.iterdir()} == before | {"scene.mrb"}
    save_bundle(job)  # once more: replaced
    assert {path.name for path in job.iterdir()} == before | {"scene.mrb"}


def test_the_user_s_scene_is_not_touched(headless, scene, job):
    new_volume_node(scene, "mine", sitk.Image(3, 3, 3, sitk.sitkUInt8))
    before = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    save_bundle(job)
    assert slicer.mrmlScene is scene
    assert before == [
        (scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]


def test_the_same_inside_an_application(headless, scene, job, opened, knee_image, knee_labels, monkeypatch):
    """Where there is an application, its node classes are used and no logics are set up beside its own."""
    monkeypatch.setattr(slicer, "app", object(), raising=False)
    monkeypatch.setattr("MRISegSuiteLib.scene.headless.HeadlessSlicer", None)
    path = save_bundle(job)
    monkeypatch.undo()
    check_everything(opened(path).scene, knee_image, knee_labels)


@pytest.mark.parametrize("damage", ["unfinished", "input gone", "surface gone"])
def test_jobs_that_cannot_be_bundled(headless, job, damage):
    {"unfinished": job / "result.json", "input gone": job.parent / "knee.nrrd", "surface gone": job / "femur.vtp"}[
        damage].unlink()
    before = {path.name for path in job.iterdir()}
    with pytest.raises(SuiteError):
        save_bundle(job)
    assert {path.name for path in job.iterdir()} == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(headless, job):
    job.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(UnwritableOutput):
            save_bundle(job)
    finally:
        job.chmod(stat.S_IRWXU)


def test_a_scene_that_cannot_be_written_leaves_nothing(scene, tmp_path):
    (tmp_path / "scene.mrb").mkdir()  # a folder is in the way
    with pytest.raises(UnwritableOutput, match="scene.mrb"):
        write_scene(scene, tmp_path / "scene.mrb")
    assert [path.name for path in tmp_path.iterdir()] == ["scene.mrb"]


def test_in_a_process_of_its_own(job, repository):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(repository / "MRISegSuite"),
                                                               str(repository / "KneeSeg")])}
    done = subprocess.run([sys.executable, "-m", "MRISegSuiteLib.scene.bundle", str(job)], env=environment,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert zipfile.is_zipfile(job / "scene.mrb")
    (job / "result.json").unlink()
    done = subprocess.run([sys.executable, "-m", "MRISegSuiteLib.scene.bundle", str(job)], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == BadInput.exit_code and "has not finished" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_user_s_own_scene_is_saved_and_opened_again(headless, scene, job, opened, knee_image, knee_labels,
                                                       tmp_path):
    """As slicer.util.saveScene does: with the names that Slicer gives the files, dash and all."""
    volume = new_volume_node(scene, "knee", knee_image)
    add_results(scene, job, volume)
    path = write_scene(scene, tmp_path / "mine.mrb")
    check_everything(opened(path).scene, knee_image, knee_labels)


def test_the_scene_saved_as_mrml_with_its_files(headless, scene, job, knee_image, knee_labels, tmp_path):
    """As .mrml beside its data files, the other way that Slicer saves."""
    add_results(scene, job, new_volume_node(scene, "knee", knee_image))
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and not node.GetHideFromEditors():
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
            if storage is not None:
                storage.SetFileName(str(tmp_path / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
                assert storage.WriteData(node), node.GetName()
    scene.SetRootDirectory(str(tmp_path))
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    other = HeadlessSlicer()
    other.scene.SetURL(str(tmp_path / "scene.mrml"))
    assert other.scene.Connect()
    nodes = check_everything(other.scene, knee_image, knee_labels)
    femur = vtk_to_numpy(nodes.models["femur"].GetPolyData().GetPoints().GetData())
    assert np.isfinite(femur).all()
    other.scene.Clear(1)
