"""Knee results in the scene: what is made, where it lies, how it hangs together, what happens when it fails."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_helpers import put_under, rotation, write_job
from vtk.util.numpy_support import vtk_to_numpy

from KneeSegLib.scales import THICKEST_SHOWN_MM
from KneeSegLib.scene import add_results, nodes_of, update_results, volume_of
from KneeSegLib.scene.coloring import SHOWN_THICKNESS
from KneeSegLib.scene.nodes import title
from KneeSegLib.structures import STRUCTURES
from MRISegSuiteLib.errors import BadInput, Cancelled, SuiteError
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.meshes.polydata import get_point_data, read_vtp
from MRISegSuiteLib.scene import hierarchy, tables
from MRISegSuiteLib.scene.volumes import new_volume_node


@pytest.fixture
def volume(scene, knee_image):
    """The input, in a study of the subject hierarchy."""
    node = new_volume_node(scene, "knee", knee_image)
    items = hierarchy.hierarchy_of(scene)
    study = items.CreateStudyItem(items.GetSceneItemID(), "Study")
    hierarchy.place(scene, node, study)
    return node


def ids_and_times(scene):
    return {scene.GetNthNode(i).GetID(): scene.GetNthNode(i).GetMTime() for i in range(scene.GetNumberOfNodes())}


def points_of(modelNode) -> np.ndarray:
    return vtk_to_numpy(modelNode.GetPolyData().GetPoints().GetData()).copy()


def cells(tableNode, column) -> list[str]:
    index = tableNode.GetColumnIndex(column)
    return [tableNode.GetCellText(row, index) for row in range(tableNode.GetNumberOfRows())]


# -- what is made

def test_names_and_places(scene, volume, knee_job):
    nodes = add_results(scene, knee_job, volume)
    assert nodes.segmentation.GetName() == "knee - Knee segmentation"
    assert nodes.table.GetName() == "knee - Knee measurements"
    assert nodes.chart.GetName() == "knee - Cartilage thickness"
    assert set(nodes.models) == {"femur", "tibia", "patella"}
    items = hierarchy.hierarchy_of(scene)
    study = hierarchy.parent_item(scene, volume)
    for node in (nodes.segmentation, nodes.table, nodes.chart, nodes.chartTable, nodes.series):
        assert items.GetItemParent(items.GetItemByDataNode(node)) == study
    folders = {hierarchy.parent_item(scene, model) for model in nodes.models.values()}
    assert len(folders) == 1
    assert items.GetItemParent(folder := folders.pop()) == study
    assert items.GetItemName(folder) == "knee - Knee surfaces"
    assert volume_of(nodes.segmentation) is volume
    assert nodes.side == "right"


def test_the_segmentation_is_that_of_the_file(scene, volume, knee_job, knee_labels):
    nodes = add_results(scene, knee_job, volume)
    values = sitk.GetArrayFromImage(knee_labels)
    for structure in STRUCTURES:
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, structure.name, volume)
        np.testing.assert_array_equal(voxels > 0, values == structure.label, err_msg=structure.name)
        surface = nodes.segmentation.GetSegmentation().GetSegment(structure.name).GetRepresentation("Closed surface")
        assert surface.GetNumberOfPoints() > 100


def test_models_lie_on_the_bones_and_carry_thickness(scene, volume, knee_job):
    nodes = add_results(scene, knee_job, volume)
    for bone, model in nodes.models.items():
        file = read_vtp(knee_job / f"{bone}.vtp")
        lps = vtk_to_numpy(file.GetPoints().GetData())
        np.testing.assert_allclose(points_of(model), lps * [-1, -1, 1], atol=1e-4)
        np.testing.assert_array_equal(get_point_data(model.GetPolyData(), "thickness_mm"),
                                      get_point_data(file, "thickness_mm"))
        # On the surface of the segment, in RAS: half of the points within half a voxel of its own closed surface.
        segment = vtk.vtkPolyData()
        nodes.segmentation.GetClosedSurfaceRepresentation(bone, segment)
        assert np.allclose(segment.GetBounds(), model.GetPolyData().GetBounds(), atol=1.0)
        display = model.GetDisplayNode()
        assert display.GetScalarVisibility() and display.GetActiveScalarName() == SHOWN_THICKNESS
        assert display.GetScalarRange() == (0.0, THICKEST_SHOWN_MM)
        color_node = display.GetColorNode()
        assert color_node.GetName() == "Cartilage thickness (mm)"
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(nodes.models["femur"])
    assert legend.GetVisibility() and "mm" in legend.GetTitleText()
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == 1


def test_colors_tell_bare_bone_and_unmeasured_bone_from_thin_cartilage(scene, volume, knee_job):
    model = add_results(scene, knee_job, volume).models["femur"]
    mesh, display = model.GetPolyData(), model.GetDisplayNode()
    table = display.GetColorNode().CreateLookupTableCopy()
    table.SetTableRange(display.GetScalarRange())
    shown, thickness = (get_point_data(mesh, name) for name in (SHOWN_THICKNESS, "thickness_mm"))
    joint = get_point_data(mesh, "subchondral") > 0
    first, second = (tuple(table.GetTableValue(i)) for i in (0, 1))
    bare = joint & (thickness == 0)
    assert joint.any() and bare.any()
    for where, wanted in ((~joint, {first}), (bare, {second})):
        seen = {tuple(table.GetTableValue(table.GetIndex(value))) for value in np.unique(shown[where])}
        assert seen == wanted
    thick = joint & (thickness > 0.05)
    np.testing.assert_array_equal(shown[thick], thickness[thick].astype(np.float32))


def test_table_and_chart_hold_the_measurements(scene, volume, knee_job):
    nodes = add_results(scene, knee_job, volume)
    result = Result.read(knee_job)
    table = nodes.table.GetTable()
    pairs = list(zip(cells(nodes.table, tables.STRUCTURE), cells(nodes.table, tables.REGION), strict=True))
    assert len(pairs) == len(set(pairs)) == len({(m.structure, m.region) for m in result.measurements})
    for m in result.measurements:
        row = pairs.index((title(m.structure), title(m.region)))
        column = table.GetColumnByName(m.name)
        assert isinstance(column, vtk.vtkDoubleArray)
        assert column.GetValue(row) == pytest.approx(m.value, nan_ok=True)
    assert nodes.table.GetColumnUnitLabel("VC") == "mm³"
    assert nodes.table.GetColumnTitle("ThCtAB") == "ThCtAB"  # a view shows "ThCtAB [mm]"
    assert "area-weighted" in nodes.table.GetColumnDescription("ThCtAB")

    assert nodes.chart.GetNthPlotSeriesNode(0) is nodes.series
    assert nodes.series.GetPlotTypeAsString(nodes.series.GetPlotType()) == "Bar"
    assert nodes.series.GetTableNode() is nodes.chartTable
    regions = cells(nodes.chartTable, nodes.series.GetLabelColumnName())
    bars = vtk_to_numpy(nodes.chartTable.GetTable().GetColumnByName(nodes.series.GetYColumnName()))
    assert len(regions) == 8 and np.isfinite(bars).all()  # subregions are in the table only
    anterior = next(m.value for m in result.measurements if (m.name, m.region) == ("ThCtAB", "anterior"))
    assert bars[regions.index("Femoral: anterior (TrF)")] == pytest.approx(anterior)


def test_a_measure_that_cannot_be_taken_is_nan_and_has_no_bar(scene, tmp_path, knee_image, knee_labels,
                                                              knee_measurement, volume):
    rows = [row | {"value": math.nan} if row["structure"] == "patellar_cartilage" else row
            for row in knee_measurement.rows]
    folder = write_job(tmp_path / "out", "knee.nrrd", knee_labels, replace(knee_measurement, rows=rows))
    nodes = add_results(scene, folder, volume)
    row = cells(nodes.table, tables.STRUCTURE).index("Patellar cartilage")
    assert math.isnan(nodes.table.GetTable().GetColumnByName("ThCtAB").GetValue(row))
    assert "Patellar" not in cells(nodes.chartTable, "Region")


def test_provenance_is_on_every_node(scene, volume, knee_job):
    nodes = add_results(scene, knee_job, volume)
    for node in (nodes.segmentation, nodes.table, nodes.chart, nodes.series, nodes.chartTable, *nodes.models.values()):
        job = json.loads(node.GetAttribute("MRISegSuite.Job"))
        assert job["task"] == "knee" and job["inputs"][0]["sha256"] == "cd" * 32
        assert str(knee_job.parent) not in node.GetAttribute("MRISegSuite.Job")
        assert node.GetAttribute("MRISegSuite.Model") == "test_model 1"
        assert node.GetAttribute("MRISegSuite.ModelHash") == "ab" * 32
        assert node.GetAttribute("MRISegSuite.Version")
    segment = nodes.segmentation.GetSegmentation().GetSegment("femur")
    value = vtk.mutable("")
    segment.GetTag("DICOM.SegmentAlgorithmName", value)
    assert str(value) == "MRI Seg Suite test_model 1"


def test_everything_hangs_together(scene, volume, knee_job):
    nodes = add_results(scene, knee_job, volume)
    found = nodes_of(scene, nodes.segmentation)
    assert (found.table, found.chart, found.chartTable, found.series, found.models) == (
        nodes.table, nodes.chart, nodes.chartTable, nodes.series, nodes.models)
    for model in nodes.models.values():
        assert model.GetNodeReference("MRISegSuiteTable") is nodes.table


def test_results_follow_a_moved_volume(scene, volume, knee_job, knee_image):
    """The job saw the volume in the world; in the scene everything lies on it and moves with it."""
    plain = add_results(scene, knee_job, volume)
    expected = points_of(plain.models["femur"])  # world RAS of a volume that was not moved
    moved = new_volume_node(scene, "moved", knee_image)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = rotation(0, 0, 20), (5.0, 6.0, 7.0)
    transform = put_under(scene, moved, move)
    nodes = add_results(scene, knee_job, moved)
    for node in (nodes.segmentation, *nodes.models.values()):
        assert node.GetTransformNodeID() == transform.GetID()
    model = nodes.models["femur"]
    in_world = (points_of(model) @ move[:3, :3].T) + move[:3, 3]
    np.testing.assert_allclose(in_world, expected, atol=1e-3)


def test_without_a_volume_results_stand_alone(scene, knee_job):
    nodes = add_results(scene, knee_job)
    assert nodes.segmentation.GetName() == "out - Knee segmentation"
    assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == 10


def test_a_new_run_makes_new_nodes(scene, volume, knee_job):
    first = add_results(scene, knee_job, volume)
    before = ids_and_times(scene)
    second = add_results(scene, knee_job, volume)
    after = ids_and_times(scene)
    for node in (first.segmentation, first.table, first.chart, *first.models.values()):
        assert after[node.GetID()] == before[node.GetID()]
    assert second.table is not first.table and second.segmentation.GetName() != first.segmentation.GetName()
    # The color node is shared: a color that the user changed holds for all.
    assert (second.models["femur"].GetDisplayNode().GetColorNode()
            is first.models["femur"].GetDisplayNode().GetColorNode())


# -- measuring again

@pytest.fixture
def other_job(tmp_path, knee_labels, knee_measurement):
    """The same knee with all thicknesses halved and the femur moved by 1 mm."""
    rows = [row | {"value": row["value"] / 2} if row["name"].startswith("Th") else row
            for row in knee_measurement.rows]
    femur = vtk.vtkPolyData()
    femur.DeepCopy(knee_measurement.surfaces["femur"])
    vtk_to_numpy(femur.GetPoints().GetData())[:] += 1
    measurement = replace(knee_measurement, rows=rows, surfaces=knee_measurement.surfaces | {"femur": femur})
    return write_job(tmp_path / "other", "knee.nrrd", knee_labels, measurement)


def test_measuring_again_updates_the_same_nodes_and_keeps_the_user_s_choices(scene, volume, knee_job, other_job):
    nodes = add_results(scene, knee_job, volume)
    old_points = points_of(nodes.models["femur"])
    old_value = nodes.table.GetTable().GetColumnByName("ThCtAB").GetValue(0)
    display = nodes.models["femur"].GetDisplayNode()
    display.SetScalarRange(0, 2)
    display.SetOpacity(0.5)
    nodes.table.SetName("my table")
    count, content = scene.GetNumberOfNodes(), nodes.segmentation.GetSegmentation().GetMTime()
    again = update_results(scene, other_job, volume, nodes.segmentation)
    assert scene.GetNumberOfNodes() == count
    assert again.table is nodes.table and again.models == nodes.models and again.chart is nodes.chart
    assert nodes.table.GetName() == "my table"
    assert nodes.table.GetTable().GetColumnByName("ThCtAB").GetValue(0) == pytest.approx(old_value / 2)
    assert float(cells(nodes.chartTable, "ThCtAB")[0]) == pytest.approx(
        next(m.value for m in Result.read(other_job).measurements if (m.name, m.region) == ("ThCtAB", "anterior")),
        rel=1e-4)
    np.testing.assert_allclose(points_of(nodes.models["femur"]), old_points + [-1, -1, 1], atol=1e-4)
    assert display.GetScalarRange() == (0, 2) and display.GetOpacity() == 0.5
    assert display.GetActiveScalarName() == SHOWN_THICKNESS
    assert nodes.segmentation.GetSegmentation().GetMTime() == content


def test_what_a_person_edited_is_not_overwritten(scene, volume, knee_job, other_job):
    nodes = add_results(scene, knee_job, volume)
    nodes.table.SetLocked(False)
    nodes.table.SetCellText(0, nodes.table.GetColumnIndex("ThCtAB"), "9.99")
    edited = points_of(nodes.models["tibia"])
    edited[0] += 5
    vtk_to_numpy(nodes.models["tibia"].GetPolyData().GetPoints().GetData())[0] += 5
    again = update_results(scene, other_job, volume, nodes.segmentation)
    assert again.table is not nodes.table and cells(nodes.table, "ThCtAB")[0] == "9.99"
    assert again.models["tibia"] is not nodes.models["tibia"]
    np.testing.assert_array_equal(points_of(nodes.models["tibia"]), edited)
    assert again.models["femur"] is nodes.models["femur"]
    assert again.models["femur"].GetNodeReference("MRISegSuiteTable") is again.table


def test_what_a_person_removed_is_made_again(scene, volume, knee_job, other_job):
    nodes = add_results(scene, knee_job, volume)
    scene.RemoveNode(nodes.table)
    scene.RemoveNode(nodes.models["patella"])
    again = update_results(scene, other_job, volume, nodes.segmentation)
    assert scene.IsNodePresent(again.table) and scene.IsNodePresent(again.models["patella"])


def test_a_bone_that_is_gone_is_hidden(scene, volume, knee_job, tmp_path, knee_labels, knee_measurement):
    nodes = add_results(scene, knee_job, volume)
    surfaces = {name: mesh for name, mesh in knee_measurement.surfaces.items() if name != "patella"}
    folder = write_job(tmp_path / "less", "knee.nrrd", knee_labels, replace(knee_measurement, surfaces=surfaces))
    again = update_results(scene, folder, volume, nodes.segmentation)
    assert set(again.models) == {"femur", "tibia"} and not nodes.models["patella"].GetDisplayVisibility()
    assert any("patella" in text for text in again.warnings)


# -- failures and undo

@pytest.mark.parametrize("damage", ["missing result", "missing surface", "damaged surface", "damaged segmentation"])
def test_a_damaged_job_leaves_the_scene_as_it_was(scene, volume, tmp_path, knee_labels, knee_measurement, damage):
    folder = write_job(tmp_path / "out", "knee.nrrd", knee_labels, knee_measurement)
    name = {"missing result": "result.json", "damaged segmentation": "segmentation.seg.nrrd"}.get(damage, "tibia.vtp")
    if damage.startswith("missing"):
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    before = ids_and_times(scene)
    with pytest.raises(SuiteError, match=name.split(".")[0]):
        add_results(scene, folder, volume)
    assert ids_and_times(scene) == before


def test_a_cancelled_job_raises_its_own_error(scene, volume, tmp_path):
    Result(task="knee", status="cancelled", error=Cancelled("The job was cancelled.").to_record()).write(tmp_path)
    before = ids_and_times(scene)
    with pytest.raises(Cancelled):
        add_results(scene, tmp_path, volume)
    assert ids_and_times(scene) == before


def test_a_failure_half_way_takes_everything_back(scene, volume, knee_job, other_job, monkeypatch):
    """An error while the nodes are written: new nodes go, changed ones get their content back."""
    nodes = add_results(scene, knee_job, volume)
    ids, items = set(ids_and_times(scene)), hierarchy.hierarchy_of(scene).GetNumberOfItems()
    rows, points = cells(nodes.table, "ThCtAB"), points_of(nodes.models["femur"])

    def fail(*_):
        raise BadInput("made to fail")

    monkeypatch.setattr("KneeSegLib.scene.writing.models.show_scalars", fail)
    with pytest.raises(BadInput, match="made to fail"):
        add_results(scene, knee_job, volume)
    assert set(ids_and_times(scene)) == ids
    assert hierarchy.hierarchy_of(scene).GetNumberOfItems() == items

    scene.RemoveNode(nodes.models["patella"])  # so that measuring again gets to show_scalars, after the table
    ids = set(ids_and_times(scene))
    with pytest.raises(BadInput, match="made to fail"):
        update_results(scene, other_job, volume, nodes.segmentation)
    assert set(ids_and_times(scene)) == ids
    assert cells(nodes.table, "ThCtAB") == rows
    np.testing.assert_array_equal(points_of(nodes.models["femur"]), points)


def test_undo_takes_results_back_and_redo_brings_them_again(scene, knee_image, knee_job, other_job):
    scene.SetUndoOn()
    volume = new_volume_node(scene, "knee", knee_image)
    for node in (volume, volume.GetDisplayNode()):
        node.SetUndoEnabled(True)
    ids = set(ids_and_times(scene))
    nodes = add_results(scene, knee_job, volume)
    rows, points = cells(nodes.table, "ThCtAB"), points_of(nodes.models["femur"])
    update_results(scene, other_job, volume, nodes.segmentation)
    assert cells(nodes.table, "ThCtAB") != rows

    scene.Undo()
    assert cells(nodes.table, "ThCtAB") == rows
    np.testing.assert_array_equal(points_of(nodes.models["femur"]), points)
    scene.Redo()
    assert cells(nodes.table, "ThCtAB") != rows
    scene.Undo()
    scene.Undo()
    assert set(ids_and_times(scene)) == ids
