"""A decision on a case on its way into the feedback store: exported step by step, then a job."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk
import slicer

from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.channels import channel_of
from MRISegSuiteLib.images.structures import tumor_name
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, JobProcess
from MRISegSuiteLib.scene.exporting import image_of_volume, label_image_of_segmentation, write_volume_for_job

from ..feedback.review import ACCEPTED, CORRECTED, REJECTED
from ..feedback.saving import store_folder
from ..feedback.store import FeedbackStore
from ..scene.nodes import RESULT_ATTRIBUTE
from .case import ReviewCase


def patient_of(volumeNode) -> str:
    """What the DICOM database or the subject hierarchy calls the patient of a volume; "" where neither knows."""
    database, uids = getattr(slicer, "dicomDatabase", None), (volumeNode.GetAttribute("DICOM.instanceUIDs") or "")
    if database is not None and uids.split():
        found = database.instanceValue(uids.split()[0], "0010,0020")
        if found:
            return found
    items = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volumeNode.GetScene())
    item = items.GetItemByDataNode(volumeNode) if items is not None else 0
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    while item and item != items.GetSceneItemID():
        if items.GetItemLevel(item) == constants.GetDICOMLevelPatient():
            return items.GetItemUID(item, constants.GetDICOMUIDName()) or items.GetItemName(item)
        item = items.GetItemParent(item)
    return ""


class SavingRun:
    """Keeps what a person said about a case.

    The mask is taken at once, so that the person can go on; the rest is exported one image at each :meth:`poll`.

    Args:
        case: the case.
        accept: True for accepted or corrected (whichever it is), False for rejected.
        reviewer, comment: what to keep. patient: what tells patients apart; only its salted hash leaves this object.
        volumes: the images of the case; the first one's grid is that of the result.
        keep_images: keep a copy of the images.

    Raises:
        BadArguments: no reviewer, or no image.
        SuiteError: the store cannot be used, or the disk is full.
    """

    def __init__(self, case: ReviewCase, accept: bool, reviewer: str, comment: str = "", patient: str = "",
                 volumes=(), keep_images: bool = True):
        if not reviewer.strip():
            raise BadArguments("Nobody is named as the reviewer.", "Enter who you are.")
        if not volumes:
            raise BadArguments("The image of this result is not in the scene.", "Load it and apply again.")
        self.case = case
        self.origin = (CORRECTED if case.was_changed() else ACCEPTED) if accept else REJECTED
        self._volumes = list(volumes)
        self._folder = Path(tempfile.mkdtemp(prefix="mriseg-feedback-"))
        self._process: JobProcess | None = None
        self._inputs: dict = {"images": []}
        values = self._values()
        store = FeedbackStore(store_folder())
        self._parameters = {
            "store": str(store.folder), "origin": self.origin, "reviewer": reviewer, "comment": comment,
            "patient": store.patient(patient) if patient.strip() else "",
            "labels": {self._structure_of(segment_id): value for segment_id, value in values.items()},
            "channels": self._channels(), "experts": self._experts(), "fusion": self._fusion(),
            "decisions": [{"hot_spot": n} | entry for n, entry in sorted(case.decisions().items())],
            "keep_images": keep_images,
        }
        self._after: sitk.Image | None = None
        if self.origin != REJECTED:
            self._after = self._image(case.nodes.fusion, values)  # now: the person goes on and may change it
        self._steps = self._export(values)

    def poll(self) -> bool:
        """Do the next step; True when the review is kept.

        Raises:
            SuiteError: it could not be kept.
        """
        if self._process is None:
            if next(self._steps, None) is None:
                self._startJob()
            return False
        state = self._process.poll()
        if state.status == "running":
            return False
        if state.error is not None:
            raise state.error
        kept = self._process.result().parameters
        self.case.review = {"origin": kept["origin"], "record": kept["record"], "saved_at": kept["saved_at"]}
        return True

    def leaveScene(self) -> None:
        """Do all steps that need the scene at once. Raises SuiteError."""
        if self._process is None:
            for _ in self._steps:
                pass
            self._startJob()

    def end(self) -> None:
        """Remove the exported files, and end a job that is under way."""
        if self._process is not None:
            self._process.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _startJob(self) -> None:
        worker = WorkerEnvironment.default()
        Job("feedback", self._inputs, self._parameters).write(self._folder)
        self._process = JobProcess(self._folder, python=str(worker.python),
                                   environment=worker.environment_variables())
        self._process.start()

    def _export(self, values: dict[str, int]) -> Iterator[bool]:
        case = self.case
        if self._after is not None:
            self._inputs["after"] = self._written(self._after, "after")
            self._after = None
            yield True
        self._inputs["before"] = self._write(case.before, values, "before")
        yield True
        for number, volume in enumerate(self._volumes):
            path = write_volume_for_job(volume, self._folder / f"image{number}")
            self._inputs["images"].append(str(path))
            yield True
        files = []
        for number, expert in enumerate(case.experts):
            segments = case.segments_of(expert["id"])
            values = {segment_id: value for value, segment_id in enumerate(segments.values(), start=1)}
            files.append(self._write(case.nodes.experts, values, f"expert{number}"))
            yield True
        if files:
            self._inputs["experts"] = files

    def _values(self) -> dict[str, int]:
        """Segment id -> value in the label maps, for the segments before and after: some may be new, some gone."""
        nodes = (self.case.before, self.case.nodes.fusion)
        ids = dict.fromkeys(segment_id for node in nodes for segment_id in node.GetSegmentation().GetSegmentIDs())
        return {segment_id: value for value, segment_id in enumerate(ids, start=1)}

    def _structure_of(self, segment_id: str) -> str:
        """The id of a segment that we made; of one that a person added, what the person called it."""
        made = self.case.before.GetSegmentation().GetSegment(segment_id)
        segment = self.case.nodes.fusion.GetSegmentation().GetSegment(segment_id)
        return segment_id if made is not None else tumor_name(segment.GetName())

    def _write(self, segmentationNode, values: dict[str, int], name: str) -> str:
        return self._written(self._image(segmentationNode, values), name)

    def _written(self, image: sitk.Image, name: str) -> str:
        return str(write_image(image, self._folder / f"{name}.nrrd", compress=False))

    def _image(self, segmentationNode, values: dict[str, int]) -> sitk.Image:
        there = set(segmentationNode.GetSegmentation().GetSegmentIDs())
        present = {segment_id: value for segment_id, value in values.items() if segment_id in there}
        if present:
            image, _ = label_image_of_segmentation(segmentationNode, present, self._volumes[0])
        else:  # an expert that found nothing
            like = image_of_volume(self._volumes[0])
            image = sitk.Image(like.GetSize(), sitk.sitkUInt8)
            image.CopyInformation(like)
        return image

    def _fusion(self) -> dict:
        """How the case was fused, and the hash of its result, by which the case is found again in a folder."""
        result = self.case.nodes.fusion.GetAttribute(RESULT_ATTRIBUTE)
        return self.case.panel.get("fusion", {}) | ({"result": result} if result else {})

    def _channels(self) -> list[str]:
        names = []
        for number, volume in enumerate(self._volumes):
            name = channel_of(volume.GetName()) or f"channel {number}"  # never the name of the node
            names.append(name if name not in names else f"{name} {number}")
        return names

    def _experts(self) -> list[dict]:
        found = []
        for expert in self.case.experts:
            record = expert.get("record", {})
            segments = self.case.segments_of(expert["id"])
            found.append({
                "id": expert["id"] if "id" in record else f"mask {_kept_name(expert)}",
                "version": str(record.get("version", "")), "sha256": str(record.get("sha256", "")),
                "run_time_s": expert.get("seconds"), "structures": expert["structures"],
                "labels": {structure: value for value, structure in enumerate(segments, start=1)},
            })
        return found + [{"id": a["expert"], "abstained": a["why"]} for a in self.case.panel.get("abstentions", [])]


def _kept_name(expert: dict) -> str:
    """What the store calls an expert that is a mask: what tells it from the case's other masks, else its position.

    The name of a node may name a patient. What all masks of a case share is cut off in the title, and with it that
    name; the same reader or algorithm is then the same expert in every case.
    """
    return expert["title"] if expert["title"] != expert["id"] else expert["role"]
