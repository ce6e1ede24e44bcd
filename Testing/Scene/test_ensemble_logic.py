"""The ensemble logic with real MRML and a real worker: masks of nodes in, fusion and hot spots in the scene."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from scene_helpers import put_under, rotation

from EnsembleReviewLib.ensemble_logic import EnsembleLogic
from EnsembleReviewLib.scene import add_results
from MRISegSuiteLib.errors import BadArguments, BadInput, SuiteError
from MRISegSuiteLib.jobs import Job, Result
from MRISegSuiteLib.scene.bundle import save_bundle
from MRISegSuiteLib.scene.geometry import volume_ijk_to_ras
from MRISegSuiteLib.scene.segmentations import SegmentLook, add_layer, new_segmentation_node
from MRISegSuiteLib.scene.volumes import new_volume_node

sys.path.insert(0, str(Path(__file__).parents[1] / "Science"))
from panels import blob

SHAPE = (26, 30, 34)
MOVE = np.eye(4)
MOVE[:3, :3], MOVE[:3, 3] = rotation(8, -5, 20), (3.0, -4.0, 5.0)


def oblique(array) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.9, 1.1, 2.0))
    image.SetOrigin((-12.0, 30.0, 4.0))
    image.SetDirection(rotation(12, -7, 33).ravel().tolist())
    return image


@pytest.fixture
def volume(scene):
    noise = np.random.default_rng(0).normal(100, 10, SHAPE)
    return new_volume_node(scene, "case FLAIR", oblique((noise + 80 * blob(SHAPE, 8)).astype(np.int16)))


def mask_node(scene, volume, name, whole, core):
    """A segmentation with two overlapping segments, named as a person would."""
    look = [SegmentLook("Segment_1", "Whole tumor", (1, 0, 0), ""), SegmentLook("Segment_2", "Enhancing tumor",
                                                                              (0, 1, 0), "")]
    node = new_segmentation_node(scene, name, oblique(whole.astype(np.uint8)), {"Segment_1": 1}, look[:1], volume,
                                 closed_surfaces=False)
    add_layer(node, oblique(core.astype(np.uint8)), {"Segment_2": 1}, look[1:], volume)
    return node


@pytest.fixture
def masks(scene, volume):
    far = np.zeros(SHAPE, bool)
    far[2:5, 3:7, 3:7] = True
    return [
        mask_node(scene, volume, "A", blob(SHAPE, 8), blob(SHAPE, 4)),
        mask_node(scene, volume, "B", blob(SHAPE, 8), blob(SHAPE, 4)),
        mask_node(scene, volume, "C", blob(SHAPE, 8) | far, np.zeros(SHAPE, bool)),
    ], far


def array_of(node, segment_id, volume):
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0


def test_masks_of_nodes_are_fused_and_what_is_disputed_is_listed(scene, volume, masks, tmp_path):
    nodes_in, far = masks
    logic, seen = EnsembleLogic(), []
    nodes = logic.process([volume], maskNodes=nodes_in, progress=seen.append, jobFolder=tmp_path / "job")
    assert seen and not logic.isRunning
    whole, core = blob(SHAPE, 8), blob(SHAPE, 4)
    assert (array_of(nodes.fusion, "enhancing_tumour", volume) == core).all()
    assert (array_of(nodes.fusion, "whole_tumour", volume) == whole & ~core).all()
    segments = EnsembleLogic.expertSegments(nodes)
    assert list(segments) == ["A", "B", "C"] and set(segments["A"]) == {"whole_tumour", "enhancing_tumour"}
    assert (array_of(nodes.experts, segments["C"]["whole_tumour"], volume) == whole | far).all()
    assert not nodes.experts.GetDisplayNode().GetVisibility()
    spots = EnsembleLogic.hotSpots(nodes)
    core_spot = next(spot for spot in spots if spot.structure == "enhancing_tumour")
    far_spot = next(spot for spot in spots if spot.structure == "whole_tumour")
    assert core_spot.in_favor == ["A", "B"] and far_spot.in_favor == ["C"] and far_spot.voxels == far.sum()
    numbers = slicer.util.arrayFromVolume(nodes.hotSpots)
    assert (numbers[far] == far_spot.number).all() and (numbers[core] == core_spot.number).all()
    place = volume_ijk_to_ras(volume) @ [*far_spot.center_ijk, 1]
    assert place[:3] == pytest.approx(far_spot.center_ras, abs=1e-3)
    disagreement = slicer.util.arrayFromVolume(nodes.disagreement)
    assert disagreement[far] == pytest.approx(0.9183, abs=1e-3) and disagreement.max() < 1
    assert nodes.hotSpotTable.GetNumberOfRows() == len(spots)
    assert {e["id"] for e in EnsembleLogic.panel(nodes)["experts"]} == {"A", "B", "C"}
    again = EnsembleLogic.nodesOf(nodes.fusion)
    assert again.table is nodes.table and again.experts is nodes.experts and again.hotSpots is nodes.hotSpots
    assert EnsembleLogic.nodesOf(nodes_in[0]) is None
    log = (tmp_path / "job" / "log.txt").read_text()
    assert "case FLAIR" not in log  # a node's name may name a person


def test_a_moved_volume_has_its_results_under_the_same_transform(scene, volume, masks):
    nodes_in, far = masks
    transform = put_under(scene, volume, MOVE)
    for node in nodes_in:
        node.SetAndObserveTransformNodeID(transform.GetID())
    nodes = EnsembleLogic().process([volume], maskNodes=nodes_in)
    for node in (nodes.fusion, nodes.experts, nodes.disagreement, nodes.hotSpots):
        assert node.GetTransformNodeID() == transform.GetID()
    own, made = np.zeros(6), np.zeros(6)
    volume.GetRASBounds(own)
    nodes.disagreement.GetRASBounds(made)
    assert made == pytest.approx(own, abs=1e-3)
    assert (array_of(nodes.fusion, "enhancing_tumour", volume) == blob(SHAPE, 4)).all()
    segments = EnsembleLogic.expertSegments(nodes)
    assert (array_of(nodes.experts, segments["C"]["whole_tumour"], volume) == blob(SHAPE, 8) | far).all()
    spot = next(s for s in EnsembleLogic.hotSpots(nodes) if s.in_favor == ["C"])
    assert (MOVE @ volume_ijk_to_ras(volume) @ [*spot.center_ijk, 1])[:3] == pytest.approx(spot.center_ras, abs=1e-3)


def test_what_fails_leaves_the_scene_as_it_was_and_names_the_node(scene, volume, masks):
    nodes_in, _ = masks
    coarse = new_volume_node(scene, "other", sitk.Image([9, 9, 9], sitk.sitkInt16))
    foreign = new_segmentation_node(
        scene, "Foreign", sitk.Image([9, 9, 9], sitk.sitkUInt8) + 1, {"lesion": 1},
        [SegmentLook("lesion", "Lesion", (1, 0, 0), "")], coarse, closed_surfaces=False)
    before = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    logic = EnsembleLogic()
    with pytest.raises(BadInput, match='"Foreign" lies on another grid than "case FLAIR"'):
        logic.process([volume], maskNodes=[*nodes_in, foreign])
    with pytest.raises(SuiteError, match="fusion"):
        logic.process([volume], maskNodes=nodes_in, fusion="loudest")
    with pytest.raises(BadArguments, match="no volume and no mask"):
        logic.process()
    with pytest.raises(BadInput, match="abstain|no model|no_such_model"):
        logic.process([volume], experts=["no_such_model"])
    after = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    assert after == before and not logic.isRunning


def test_a_folder_of_the_command_line_is_loaded_also_an_empty_fusion_and_becomes_a_scene(scene, tmp_path):
    from MRISegSuiteLib.jobs.worker import run_folder

    a, b = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    a[3:9, 3:9, 3:9] = 1
    for name, array in {"a": a, "b": b, "c": b}.items():
        sitk.WriteImage(oblique(array), str(tmp_path / f"{name}.nii.gz"))
    sitk.WriteImage(oblique(np.random.default_rng(0).normal(9, 2, SHAPE).astype(np.float32)),
                    str(tmp_path / "flair.nii.gz"))
    folder = tmp_path / "job"
    folder.mkdir()
    Job("ensemble", {"image": str(tmp_path / "flair.nii.gz"), "masks": [str(tmp_path / f"{n}.nii.gz") for n in "abc"]},
        {"fusion": "staple", "staple_region": "image"}).write(folder)
    assert run_folder(folder) == 0
    nodes = add_results(scene, folder)
    assert nodes.majority is not None and nodes.fusion.GetSegmentation().GetSegmentIDs() == ("lesion",)
    assert any("is empty" in text for text in nodes.warnings)
    assert EnsembleLogic.expertSegments(nodes) == {"a": {"lesion": "expert_1_lesion"}, "b": {}, "c": {}}
    save_bundle(folder)
    assert Result.read(folder).files["scene"] == "scene.mrb" and (folder / "scene.mrb").stat().st_size > 1000
    panel = json.loads((folder / "panel.json").read_text())
    assert panel["fusion"]["region"] == "image" and panel["staple"]["lesion"]["region_voxels"] == np.prod(SHAPE)
