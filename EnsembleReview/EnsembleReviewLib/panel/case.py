"""One result under review: its hot spots, what was decided on them, what a click means, what the experts say.

Every change goes through the undo history of the Segment Editor, together with the decision that led to it: decisions
and clicks are kept as tags of a segment, which the history saves and restores with the voxels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.scene import hierarchy
from MRISegSuiteLib.scene.geometry import RAS_TO_LPS, local_to_world, volume_ijk_to_ras
from MRISegSuiteLib.scene.parts import connect, parts_of, volume_of_part

from ..hot_spots import HotSpot
from ..label_regions import dropped, taken
from ..refinement.prompts import Box as PromptBox
from ..refinement.prompts import Click, Grid, Task, plan
from ..scene import expert_segments, hot_spots_of, panel_of
from .segment_voxels import Box, mask_in_box, write_in_box

KEEP, DROP, TAKE = DECISIONS = ("keep", "drop", "take")
_DECISIONS_TAG, _CLICKS_TAG = "MRISegSuite.Decisions", "MRISegSuite.Clicks"
#: Part of a result: the fusion as it was before anybody touched it.
BEFORE = "fusion_before"
#: Attribute of the fusion: what was said about the case, JSON.
REVIEW_ATTRIBUTE = "MRISegSuite.Review"


def decisions_of(fusionNode) -> dict[int, dict]:
    """Number of a hot spot -> ``{"decision", "expert"}``, for those of a fusion that were decided on."""
    found = json.loads(_tag(fusionNode, _DECISIONS_TAG) or "{}")
    return {int(number): entry for number, entry in found.items()}


def jump_to(scene, center) -> None:
    """Move all slice views and the crosshair to a place (RAS, mm), and turn the cameras to it."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *center, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    for kind, move in (("vtkMRMLCrosshairNode", "SetCrosshairRAS"), ("vtkMRMLCameraNode", "SetFocalPoint")):
        for index in range(scene.GetNumberOfNodesByClass(kind)):
            getattr(scene.GetNthNodeByClass(index, kind), move)(*center)


def set_shown(node, shown: bool) -> None:
    """Show or hide a node in all views; one that is not there, or has no display, is left alone."""
    display = node.GetDisplayNode() if node is not None else None
    if display is not None and bool(display.GetVisibility()) != shown:
        display.SetVisibility(shown)


class ReviewCase:
    """A fusion in the scene and what belongs to it.

    Args:
        scene: the vtkMRMLScene.
        nodes: see ``scene.EnsembleNodes``.
        save_state: saves the state of the fusion for undo, before each change.
    """

    def __init__(self, scene, nodes, save_state: Callable[[], None]):
        self.scene, self.nodes, self._save_state = scene, nodes, save_state
        self.panel = panel_of(nodes)
        self.spots = hot_spots_of(nodes)
        self.volume = volume_of_part(nodes.fusion)
        self._segments = expert_segments(nodes) if nodes.experts is not None else {}
        self.before = parts_of(scene, nodes.fusion).get(BEFORE) or self._snapshot()
        #: Whether anything was changed about which no word was said since.
        self.touched = False

    # -- experts ---------------------------------------------------------------------------------------------------

    @property
    def experts(self) -> list[dict]:
        """What panel.json says about each expert."""
        return self.panel.get("experts", [])

    def title_of(self, expert: str) -> str:
        """What a person reads for the id of an expert."""
        return next((e["title"] for e in self.experts if e["id"] == expert), expert)

    def segments_of(self, expert: str) -> dict[str, str]:
        """Structure -> id of its segment in ``nodes.experts``."""
        return self._segments.get(expert, {})

    def is_shown(self, expert: str) -> bool:
        """Whether the segments of an expert are seen."""
        display = self.nodes.experts.GetDisplayNode()
        ids = self.segments_of(expert).values()
        return bool(display.GetVisibility()) and any(display.GetSegmentVisibility(i) for i in ids)

    def show(self, experts: Sequence[str]) -> None:
        """Show the segments of these experts and no others."""
        display = self.nodes.experts.GetDisplayNode()
        modifying = display.StartModify()
        for expert, segments in self._segments.items():
            for segment_id in segments.values():
                display.SetSegmentVisibility(segment_id, expert in experts)
        display.SetVisibility(bool(experts))
        display.EndModify(modifying)

    # -- hot spots -------------------------------------------------------------------------------------------------

    def world_center(self, spot: HotSpot) -> tuple[float, float, float]:
        """Where a hot spot is now (RAS, mm), also after the image was moved by a transform."""
        matrix = local_to_world(self.nodes.hotSpots) @ self._ijk_to_ras
        return tuple(float(x) for x in (matrix @ [*spot.center_ijk, 1.0])[:3])

    def show_alone(self, applicationLogic, others: Sequence) -> None:
        """Put the image behind the fusion in all slice views, and hide the results of other cases: they lie in the
        same world and would be taken for tumor of this one.

        Args:
            applicationLogic: of Slicer. others: the fusions of other cases.
        """
        for fusion in others:
            for node in (fusion, parts_of(self.scene, fusion).get("experts")):
                set_shown(node, False)
        set_shown(self.nodes.fusion, True)
        if self.volume is not None:
            applicationLogic.GetSelectionNode().SetActiveVolumeID(self.volume.GetID())
            applicationLogic.PropagateBackgroundVolumeSelection(1)

    def jump_to(self, spot: HotSpot) -> None:
        """Move all views to a hot spot; see :func:`jump_to`."""
        jump_to(self.scene, self.world_center(spot))

    def decisions(self) -> dict[int, dict]:
        """See :func:`decisions_of`."""
        return decisions_of(self.nodes.fusion)

    def keep(self, spot: HotSpot) -> None:
        """The fusion is right there."""
        self._save_state()
        self._remember(spot, KEEP)

    def drop(self, spot: HotSpot) -> None:
        """What is in dispute is not there."""
        box, place = self._place(spot)
        gained, cleared = dropped(spot.structure, place, self._masks(self.nodes.fusion, self._labels(), box))
        self._change(box, gained, dict.fromkeys(self._labels(), cleared))
        self._remember(spot, DROP)

    def take(self, spot: HotSpot, expert: str) -> None:
        """The expert is right there.

        Raises:
            BadArguments: the expert knows nothing about what is in dispute.
        """
        if expert not in spot.shares:
            raise BadArguments(f"{self.title_of(expert)} says nothing about this place.", "Take another expert.")
        box, place = self._place(spot)
        said = self._masks(self.nodes.experts, self.segments_of(expert), box)
        known = next(e["structures"] for e in self.experts if e["id"] == expert)
        gained, cleared = taken(said, known, place, self._masks(self.nodes.fusion, self._labels(), box))
        self._change(box, gained, dict.fromkeys(self._labels(), cleared))
        self._remember(spot, TAKE, expert)

    # -- prompts ---------------------------------------------------------------------------------------------------

    @property
    def grid(self) -> Grid:
        """Where the voxels of the result are in the world."""
        to_world = local_to_world(self.nodes.fusion) @ self._ijk_to_ras
        spacing = np.linalg.norm(to_world[:3, :3], axis=0)[::-1]
        return Grid(self._shape, tuple(float(s) for s in spacing), RAS_TO_LPS @ to_world)

    def ask(self, prompt: Click | PromptBox, segment_id: str,
            wide: bool = False) -> tuple[Task, np.ndarray, np.ndarray]:
        """What the worker needs for a prompt: the task, gray values and mask of its part of the image.

        Args:
            prompt: places in the world, LPS, mm. segment_id: of the segment to correct.
            wide: for a model that wants to see the surroundings.

        Raises:
            BadArguments: outside of the image, or there is no image.
        """
        if self.volume is None or self.volume.GetImageData() is None:
            raise BadArguments("The image of this result is not in the scene.", "Load it and apply again.")
        gray, grid = slicer.util.arrayFromVolume(self.volume), self.grid
        earlier = [Click(tuple(point), positive) for segment, point, positive in self._clicks()
                   if segment == segment_id]
        task = plan(grid, prompt, earlier, wide)
        mask = mask_in_box(self.nodes.fusion, segment_id, self._ijk_to_ras, task.box)
        return task, gray[task.box], mask

    def answer(self, prompt: Click | PromptBox, segment_id: str, task: Task, mask: np.ndarray) -> int:
        """Take the answer of the worker over; returns the number of changed voxels."""
        before = mask_in_box(self.nodes.fusion, segment_id, self._ijk_to_ras, task.box)
        self._change(task.box, {segment_id: mask & ~before}, {segment_id: before & ~mask})
        if isinstance(prompt, Click):
            clicks = [*self._clicks(), (segment_id, list(prompt.point), prompt.positive)]
            self._set_tag(_CLICKS_TAG, json.dumps(clicks))
        return int((mask != before).sum())

    def restore(self, masks: dict) -> None:
        """Show what a person stood for in an earlier review: structure -> mask (sitk.Image on the grid of the result).
        It does not go into the undo history, because it is where this review begins."""
        whole = tuple(slice(0, n) for n in self._shape)
        segmentation = self.nodes.fusion.GetSegmentation()
        wanted = {}
        for structure, mask in masks.items():
            if segmentation.GetSegment(structure) is None:
                segmentation.AddEmptySegment(structure, structure.replace("_", " "))
            wanted[structure] = sitk.GetArrayViewFromImage(mask) != 0
        lost = {i: m & ~wanted[i] for i, m in self._masks(self.nodes.fusion, self._labels(), whole).items()
                if i in wanted}
        write_in_box(self.nodes.fusion, self._ijk_to_ras, whole, wanted, lost)
        self.touched = False

    # -- the word on the case --------------------------------------------------------------------------------------

    def was_changed(self) -> bool:
        """Whether any voxel differs from what was fused."""
        whole = tuple(slice(0, n) for n in self._shape)
        ids = {self.nodes.fusion: self._labels(), self.before: self._labels(self.before)}
        masks = [self._masks(node, labels, whole) for node, labels in ids.items()]
        names = set(masks[0]) | set(masks[1])
        nothing = np.zeros(self._shape, bool)
        return any(not np.array_equal(masks[0].get(n, nothing), masks[1].get(n, nothing)) for n in names)

    @property
    def review(self) -> dict:
        """What was said about the case: ``origin``, ``record`` …; empty where nothing was."""
        return json.loads(self.nodes.fusion.GetAttribute(REVIEW_ATTRIBUTE) or "{}")

    @review.setter
    def review(self, content: dict) -> None:
        self.nodes.fusion.SetAttribute(REVIEW_ATTRIBUTE, json.dumps(content))

    # -- how -------------------------------------------------------------------------------------------------------

    @property
    def _ijk_to_ras(self) -> np.ndarray:
        return volume_ijk_to_ras(self.nodes.hotSpots)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.nodes.hotSpots.GetImageData().GetDimensions()[::-1]

    def _labels(self, node=None) -> dict[str, str]:
        """Structure -> segment id of a fusion: its ids are the names of structures."""
        segmentation = (node or self.nodes.fusion).GetSegmentation()
        return {segmentation.GetNthSegmentID(n): segmentation.GetNthSegmentID(n)
                for n in range(segmentation.GetNumberOfSegments())}

    def _masks(self, node, segments: dict[str, str], box: Box) -> dict[str, np.ndarray]:
        return {name: mask_in_box(node, segment_id, self._ijk_to_ras, box)
                for name, segment_id in segments.items()}

    def _place(self, spot: HotSpot) -> tuple[Box, np.ndarray]:
        (i, j, k), (last_i, last_j, last_k) = spot.box_ijk
        box = (slice(k, last_k + 1), slice(j, last_j + 1), slice(i, last_i + 1))
        return box, slicer.util.arrayFromVolume(self.nodes.hotSpots)[box] == spot.number

    def _change(self, box: Box, gained: dict[str, np.ndarray], lost: dict[str, np.ndarray]) -> None:
        """Save for undo, then change the fusion."""
        self._save_state()
        write_in_box(self.nodes.fusion, self._ijk_to_ras, box, gained, lost)

    def _remember(self, spot: HotSpot, decision: str, expert: str = "") -> None:
        entry = {"decision": decision} | ({"expert": expert} if expert else {})
        decisions = {str(n): e for n, e in self.decisions().items()} | {str(spot.number): entry}
        self._set_tag(_DECISIONS_TAG, json.dumps(decisions))

    def _clicks(self) -> list:
        return json.loads(_tag(self.nodes.fusion, _CLICKS_TAG) or "[]")

    def _set_tag(self, name: str, text: str) -> None:
        segment = _first_segment(self.nodes.fusion)
        if segment is not None:
            segment.SetTag(name, text)

    def _snapshot(self):
        """A copy of the fusion as it is before the review, not shown in the views. It is a node as any other:
        Slicer's dialog for saving leaves out hidden ones."""
        node = self.scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        node.UnRegister(None)
        node.SetName(self.scene.GenerateUniqueName(f"{self.nodes.fusion.GetName()} before the review"))
        node.GetSegmentation().DeepCopy(self.nodes.fusion.GetSegmentation())
        node.SetAndObserveTransformNodeID(self.nodes.fusion.GetTransformNodeID())
        self.scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility(False)
        connect(node, BEFORE, self.nodes.fusion, self.volume, {})
        hierarchy.place(self.scene, node, hierarchy.parent_item(self.scene, self.nodes.fusion))
        return node


def _first_segment(segmentationNode):
    segmentation = segmentationNode.GetSegmentation()
    return segmentation.GetNthSegment(0) if segmentation.GetNumberOfSegments() else None


def _tag(segmentationNode, name: str) -> str:
    segment, value = _first_segment(segmentationNode), vtk.reference("")
    return str(value) if segment is not None and segment.GetTag(name, value) else ""
