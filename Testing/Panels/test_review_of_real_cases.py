"""A scripted review of three different patients' scans: jump, take, paint, click, undo, accept, with pictures.

Five algorithms' masks of a TCIA patient; an embedded network and two thresholds on a BraTS 2018 case; three thresholds
on a BraTS 2013 case. A click is made where a person would make it: in the middle of the largest piece that is missing
(of the manual mask; for the TCIA patient, who has none, of what any algorithm has called tumor).
"""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from scene_rendering import save_png, slice_picture
from scipy.ndimage import distance_transform_edt, gaussian_filter, label
from slicer_stand_in.heartbeat import Heartbeat

from EnsembleReviewLib.feedback.store import FeedbackStore
from EnsembleReviewLib.panel.segment_voxels import mask_in_box, write_in_box
from EnsembleReviewLib.scene import expert_segments
from MRISegSuiteLib.measures.overlap import dice
from MRISegSuiteLib.panel.run_state import RunState
from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node
from MRISegSuiteLib.scene.volumes import new_volume_node

PICTURES = Path(os.environ.get("MRISEG_TEST_OUTPUT", Path(__file__).parents[2] / "build" / "test-output")) / "panels"
_LONGEST_STALL_MS, _LONGEST_CLICK_S = 200.0, 1.0


def read(path):
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def add_masks(scene, volume, masks, structures):
    looks = [SegmentLook(name, name.replace("_", " "), (1.0, 0.0, 0.0), "") for name in structures]
    return [new_segmentation_node(scene, name, mask, structures, looks, volume, closed_surfaces=False)
            for name, mask in masks.items()]


def thresholds(flair):
    """What simple methods give: the largest piece above a limit, for three limits."""
    gray = sitk.GetArrayFromImage(flair)
    brain = gray != gray.min()
    scaled = (gray - gray[brain].mean()) / gray[brain].std()
    found = {}
    for number, (limit, smooth) in enumerate(((1.0, 1.0), (1.5, 2.0), (2.0, 1.5))):
        parts, _ = label((gaussian_filter(scaled, smooth) > limit) & brain)
        mask = sitk.GetImageFromArray((parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])).astype(np.uint8))
        mask.CopyInformation(flair)
        found[f"threshold {number + 1}"] = mask
    return found


def tcia(scene, data):
    folder = data / "glioma_expert_masks" / "TCGA-FG-6692"
    volume = new_volume_node(scene, "TCIA FLAIR", read(folder / "fla.nii.gz"))
    masks = {f"TCIA {p.name.split('-')[0].split('_')[1]}": sitk.ReadImage(str(p))
             for p in sorted(folder.glob("segmentation_*.nii.gz"))}
    return volume, add_masks(scene, volume, masks, {"ncr": 1, "edema": 2, "enhancing_tumour": 4}), [], None


def brats2018(scene, data):
    folder = data / "glioma_whole_tumour" / "case_3"
    flair = read(folder / "FLAIR.nii.gz")
    volume = new_volume_node(scene, "BraTS 2018 FLAIR", flair)
    masks = {f"BraTS 2018 {name}": mask for name, mask in thresholds(flair).items() if name != "threshold 1"}
    truth = sitk.GetArrayFromImage(read(folder / "GT_W.nii.gz")) > 0
    return volume, add_masks(scene, volume, masks, {"whole_tumour": 1}), ["glioma-volume"], truth


def brats2013(scene, data):
    folder = data / "glioma_multiclass" / "brats_2013_pat0003_1"
    flair = read(folder / "Flair_subtrMeanDivStd.nii.gz")
    volume = new_volume_node(scene, "BraTS 2013 FLAIR", flair)
    masks = {f"BraTS 2013 {name}": mask for name, mask in thresholds(flair).items()}
    truth = sitk.GetArrayFromImage(read(folder / "OTMultiClass.nii.gz")) > 0
    return volume, add_masks(scene, volume, masks, {"whole_tumour": 1}), [], truth


def tumor(case, node=None, segments=None):
    """All segments of tumor together (bool): of the fusion, or of another node."""
    node = node or case.nodes.fusion
    whole = tuple(slice(0, n) for n in case._shape)
    ids = segments if segments is not None else node.GetSegmentation().GetSegmentIDs()
    return np.any([mask_in_box(node, i, case._ijk_to_ras, whole) for i in ids], axis=0)


def middle_of_largest_piece(wrong):
    """The index (k, j, i) in the middle of the largest piece."""
    parts, _ = label(wrong)
    piece = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    box = tuple(slice(max(0, a.min() - 1), a.max() + 2) for a in np.nonzero(piece))
    depth = distance_transform_edt(piece[box])
    return np.array(np.unravel_index(depth.argmax(), depth.shape)) + [side.start for side in box]


def wrong_place(case, truth):
    """Row of the largest hot spot at which the fusion is wrong, and an expert that is right there."""
    for row, spot in enumerate(case.spots):
        if truth is None:
            there = spot.fused_share < 0.5  # whoever says something else
        else:
            box, place = case._place(spot)
            there = truth[box][place].mean() >= 0.5
        right = [expert for expert, share in spot.shares.items() if (share >= 0.5) == there]
        if right and (spot.fused_share >= 0.5) != there:
            return row, right[0]
    raise AssertionError("the fusion is right everywhere")


@pytest.fixture
def look(application, picture):
    """``look(review, name)``: a picture of the panel, or, given a point, of the axial slice there."""
    headless = SimpleNamespace(scene=application.mrmlScene, application_logic=application.app.applicationLogic())

    def save(review, name, point=None):
        path = PICTURES / f"real-{name}.png"
        if point is None:
            picture(review, f"real-{name}")
        else:
            scene = application.mrmlScene
            kinds = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode")
                     for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))]
            shown = [node for node in kinds if node.GetDisplayNode().GetVisibility()]
            assert shown == [review._case.nodes.fusion], "segments of another case are seen over this one"
            shown = slice_picture(headless, review._case.volume, "Axial", float(point[2]))
            save_png(shown, path)

    return save


def test_three_different_patients_are_reviewed(application, review, shared_data, wait_for, look, tmp_path):
    slicer, ui, app = application, review.ui, application.app
    ui.reviewerEdit.text = "reader 1"
    clicks, gains, figures = [], {}, []
    for name, load in (("tcia", tcia), ("brats2018", brats2018), ("brats2013", brats2013)):
        volume, readers, models, truth = load(slicer.mrmlScene, shared_data)
        app.processEvents()
        for chosen in (review._inputs.images, review._inputs.experts):
            for key in chosen.checked():
                chosen.check(key, False)
        review._inputs.images.check(volume.GetID())
        for key in [reader.GetID() for reader in readers] + [f"model {model}" for model in models]:
            review._inputs.experts.check(key)
        stalls = {}
        with Heartbeat() as heart:
            ui.applyButton.click()
            wait_for(lambda: not review._run.isRunning)
        assert review._run.state == RunState.DONE, ui.errorLabel.text
        stalls["apply"] = heart
        case, made = review._case, tumor(review._case)
        assert case.volume is volume and len(case.experts) == len(readers) + len(models) and case.spots
        # jump to the largest place where the fusion is wrong (where nobody knows: the largest), take it from an expert
        # who is right there, and keep the next one
        row, expert = wrong_place(case, truth)
        with Heartbeat() as heart:
            ui.hotSpotTable.selectRow(row)
            app.processEvents()
        stalls["jump"] = heart
        spot = review._spots.chosen
        point = case.world_center(spot)
        ui.takeSelector.setCurrentIndex(ui.takeSelector.findData(expert))
        with Heartbeat() as heart:
            ui.takeButton.click()
            app.processEvents()
        stalls["take"] = heart
        taken = tumor(case)
        assert (taken != made).any() and case.decisions()[spot.number] == {"decision": "take", "expert": expert}
        look(review, f"{name}-2-taken", point)
        if len(case.spots) > 1:
            ui.keepButton.click()

        # paint as the brush does, and take it back
        review._editor.saveState()
        stroke = np.zeros(case._shape, bool)
        k, j, i = middle_of_largest_piece(taken)
        stroke[k, j - 20:j + 20, i - 3:i + 3] = True
        whole = tuple(slice(0, n) for n in stroke.shape)
        write_in_box(case.nodes.fusion, case._ijk_to_ras, whole, {review._editor.segment(): stroke}, {})
        assert (tumor(case) & stroke).sum() == stroke.sum()
        with Heartbeat() as heart:
            ui.undoButton.click()
            app.processEvents()
        stalls["undo"] = heart
        assert np.array_equal(tumor(case), taken)

        # click where the largest piece is missing, for the segment that is largest
        sizes = {s: mask_in_box(case.nodes.fusion, s, case._ijk_to_ras, whole).sum()
                 for s in case.nodes.fusion.GetSegmentation().GetSegmentIDs()}
        review._editor.widget.setCurrentSegmentID(max(sizes, key=sizes.get))
        if truth is None:
            said = expert_segments(case.nodes).values()
            truth_here = tumor(case, case.nodes.experts, [one for segments in said for one in segments.values()])
        else:
            truth_here = truth
        index = middle_of_largest_piece(truth_here & ~taken)
        point = (case._ijk_to_ras @ [*index[::-1], 1.0])[:3]
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *point)
        look(review, f"{name}-3-before-the-click", point)
        ui.addClickButton.click()
        wait_for(lambda: (review._clicking._client._folder / "ready").exists(), 60)
        with Heartbeat() as heart:
            started = time.monotonic()
            slicer.util.getNode("Review clicks").AddControlPointWorld(*point)
            wait_for(lambda: "voxels changed" in ui.clickLabel.text, 30)
            clicks.append(time.monotonic() - started)
        stalls["click"] = heart
        clicked = tumor(case)
        assert clicked[tuple(index)] and (clicked | ~taken).all(), "a positive click adds, there"
        ui.addClickButton.click()
        look(review, f"{name}-4-clicked", point)
        look(review, f"{name}-panel")
        if truth is not None:
            gains[name] = [dice(mask, truth) for mask in (made, taken, clicked)]
        ui.undoButton.click()
        assert np.array_equal(tumor(case), taken)
        ui.redoButton.click()
        assert np.array_equal(tumor(case), clicked)

        with Heartbeat() as heart:
            ui.acceptButton.click()
            wait_for(lambda: not review._word.saves.waiting, 60)
        stalls["accept"] = heart
        assert not ui.errorFrame.visible, ui.errorLabel.text
        figures += [(name, what, heart.longest_cpu_ms, heart.longest_ms) for what, heart in stalls.items()]
        record = FeedbackStore(tmp_path / "feedback").records()[-1]
        assert record.origin == "corrected" and record.decisions
    look(review, "all-said")
    records = FeedbackStore(tmp_path / "feedback").records()
    assert len({record.images[0].sha256 for record in records}) == len(records) == 3, "three different scans"
    print("\nclick to mask, s:", " ".join(f"{seconds:.2f}" for seconds in clicks))
    for name, values in gains.items():
        print(f"{name}: Dice fused, taken, clicked:", " ".join(f"{value:.3f}" for value in values))
    for name, what, cpu, waited in figures:
        print(f"{name} {what}: longest {cpu:.0f} ms of CPU time, {waited:.0f} ms")
    assert max(clicks) <= _LONGEST_CLICK_S
    # A stall of ours comes in every case; the system now and then takes 0.15 s of its own for memory.
    for kind in {what for _, what, _, _ in figures}:
        assert np.median([cpu for _, what, cpu, _ in figures if what == kind]) < _LONGEST_STALL_MS, kind
    assert max(cpu for _, _, cpu, _ in figures) < 2 * _LONGEST_STALL_MS
