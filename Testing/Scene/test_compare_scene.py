"""A comparison in the scene: native images under transforms, maps, lines, views; the logic from a script."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "InSlicer"))
from virtual_heads import add_heads, head, pose  # noqa: E402

from LongitudinalCompareLib import scene as compare_scene  # noqa: E402
from LongitudinalCompareLib.compare_logic import CompareLogic  # noqa: E402
from LongitudinalCompareLib.scene import CompareNodes, views  # noqa: E402
from MRISegSuiteLib.errors import BadArguments  # noqa: E402
from MRISegSuiteLib.scene.exporting import image_of_volume  # noqa: E402


def test_from_nodes_to_nodes(scene):
    volumes, masks = add_heads(scene)
    before = [sitk.GetArrayFromImage(image_of_volume(node)) for node in volumes]
    logic = CompareLogic()
    nodes = logic.process(volumes, masks, ["2024-01-01", "2024-07-01"])
    assert nodes.volumes == volumes and nodes.masks == masks
    assert set(nodes.maps) == {"subtraction_2", "intensity_change_2", "checkerboard_2"}

    # the transforms bring the scans together: a place of one head lies on the same place of the other
    place = np.array([25.0, 20.0, 15.0, 1.0])  # middle of the old lesion in the head, LPS
    natives = [np.linalg.inv(matrix) @ place for matrix in (np.eye(4), pose(8, 6))]
    worlds = [slicer.util.arrayFromTransformMatrix(nodes.transforms[n]) @ (native * (-1, -1, 1, 1))
              for n, native in enumerate(natives, start=1)]  # fmt: skip
    assert np.linalg.norm(worlds[0] - worlds[1]) < 0.3

    # only parents moved the scans: their voxels and their own geometry are as they were
    compare_scene.align(nodes, False)
    for node, array in zip(volumes, before, strict=True):
        assert np.array_equal(sitk.GetArrayFromImage(image_of_volume(node)), array)
        assert node.GetTransformNodeID() is None
    compare_scene.align(nodes, True)
    assert compare_scene.is_aligned(nodes)

    # what is found again
    again = logic.nodesOf(nodes.table)
    assert again.transforms == nodes.transforms and again.lines == nodes.lines and again.chart is nodes.chart
    assert not any(one["moved"] for one in logic.diameters(again))
    line = nodes.lines[(2, 1, "longest")]
    record = compare_scene.record_of(nodes)
    assert line.GetLineLengthWorld() == pytest.approx(record["timepoints"][1]["lesions"][0]["longest_mm"], abs=1e-3)

    # the views: one a timepoint, of one group
    layout = slicer.vtkMRMLLayoutLogic()
    layout.SetMRMLScene(scene)
    assert views.show_layout(layout.GetLayoutNode(), ["baseline", "follow-up"]) == 5602
    found = views.slice_nodes(scene)
    assert sorted(found) == [1, 2] and len({node.GetViewGroup() for node in found.values()}) == 1
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName("Timepoint2")
    views.show(scene, nodes, "side_by_side")
    assert composite.GetBackgroundVolumeID() == volumes[1].GetID() and composite.GetForegroundVolumeID() is None
    views.show(scene, nodes, "fade", 0.25)
    assert composite.GetBackgroundVolumeID() == volumes[0].GetID() and composite.GetForegroundOpacity() == 0.25
    views.show(scene, nodes, "change")
    assert composite.GetForegroundVolumeID() == nodes.maps["intensity_change_2"].GetID()


def test_wrong_choices_are_told_and_change_nothing(scene):
    volumes, masks = add_heads(scene)
    count = scene.GetNumberOfNodes()
    for arguments in (([volumes[0]],), ([volumes[0], volumes[0]],), (volumes, masks[:1]), (volumes, [masks[0], None])):
        with pytest.raises(BadArguments):
            CompareLogic().process(*arguments)
    with pytest.raises(BadArguments):
        CompareLogic().measureAgain(None)
    assert scene.GetNumberOfNodes() == count


def test_a_mask_on_another_grid_is_refused(scene):
    from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node

    volumes, masks = add_heads(scene)
    other = head(spacing=(4, 4, 4), lesions=[((0, 0, 0), 9.0)])[1]
    odd = new_segmentation_node(scene, "odd", other, {"lesion": 1}, [SegmentLook("lesion", "Lesion", (1, 0, 0), "")])
    with pytest.raises(BadArguments, match="another grid"):
        CompareLogic().process(volumes, [masks[0], odd])


def test_the_views_are_zoomed_to_the_baseline(headless):
    scene = headless.scene
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.util.updateVolumeFromArray(volume, np.zeros((30, 100, 80), np.int16))
    volume.SetSpacing(1.0, 1.0, 4.0)
    layout = slicer.vtkMRMLLayoutLogic()
    layout.SetMRMLScene(scene)
    views.show_layout(layout.GetLayoutNode(), ["baseline", "follow-up"])
    logics = headless.application_logic.GetSliceLogics()
    for node in views.slice_nodes(scene).values():
        node.SetDimensions(300, 300, 1)
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(headless.application_logic)
        logics.AddItem(logic)
        logic.SetMRMLScene(scene)
        logic.SetSliceNode(node)
    views.fit(scene, headless.application_logic, CompareNodes(volumes=[volume]))
    for node in views.slice_nodes(scene).values():  # the whole axial slice, and not much more
        assert 100.0 <= node.GetFieldOfView()[0] < 130.0
