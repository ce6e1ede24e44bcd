"""The logic of the EnsembleReview module: from volumes and experts to a fusion and hot spots in the scene.

Everything here works in Slicer and in plain Python with slicer-core; nothing here opens a dialog or needs Qt. See
:mod:`MRISegSuiteLib.scene.job_logic` for how a run is started, watched, canceled and finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slicer

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.channels import channel_of
from MRISegSuiteLib.jobs import Job
from MRISegSuiteLib.models.card import SHAPE_BACKENDS
from MRISegSuiteLib.models.registry import Registry
from MRISegSuiteLib.scene.exporting import write_masks_in_steps, write_volume_for_job
from MRISegSuiteLib.scene.job_logic import INPUTS, JobLogic

from . import scene as ensemble_scene
from .experts.registry import TASK


class EnsembleLogic(JobLogic):
    """Ask experts, fuse what they say, and show where they disagree; blocking for scripts, or for a panel
    ``process(..., waitForCompletion=False)``, then :meth:`poll` until the status is no longer "running", then
    :meth:`finish`; :meth:`cancel` at any time.

    >>> nodes = EnsembleReviewLogic().process([flair, t1c])                           # every glioma model
    >>> nodes = EnsembleReviewLogic().process([flair], maskNodes=[a, b, c])           # three segmentations
    >>> spots = EnsembleReviewLogic.hotSpots(nodes)                                   # largest first
    """

    def __init__(self):
        super().__init__("EnsembleReview")

    def process(self, volumeNodes: Sequence = (), experts: Sequence[str] | None = None, maskNodes: Sequence = (),
                fusion: str = "majority", channelNames: Sequence[str] | None = None,
                weights: Mapping[str, float] | None = None, vote: str = "regions", device: str = "auto",
                stapleRegion: str = "box", staplePrior: float | None = None, sam3: Mapping | None = None,
                medgemma: Mapping | None = None, waitForCompletion: bool = True, jobFolder=None, progress=None,
                environment=None):
        """Run a panel of experts on a case.

        Args:
            volumeNodes: the images (vtkMRMLScalarVolumeNode); results lie on the grid of the first. May be empty when
                masks are given.
            experts: ids of models; None: every glioma model that works on the volumes, or no model where masks are
                given; an empty list: none.
            maskNodes: vtkMRMLSegmentationNodes, each the opinion of one expert; its name is the node's, its structures
                are its segments by name. They are not changed.
            fusion: "majority", "staple", "weighted" or "confidence".
            channelNames: what each volume is ("FLAIR", "T1c" …; "" where unknown); read from the nodes' names by
                default.
            weights: expert (id of a model, name of a mask node) -> weight, for "weighted".
            vote: "regions" or "labels" (see EnsembleReviewLib.expert_panel).
            device: "auto", "cpu" or "cuda".
            stapleRegion, staplePrior: see EnsembleReviewLib.fusion.methods.
            sam3: None to leave SAM 3 out, or ``{"checkpoint": folder, "prompts": [...], "channel": name}``; a prompt
                has ``structure`` and ``text``, ``box_lps`` or ``points_lps`` (see EnsembleReviewLib.experts.prompts).
            medgemma: None to leave MedGemma out, or ``{"checkpoint": folder, "tasks": [...], "structure": name}`` (see
                EnsembleReviewLib.experts.medgemma); what it wrote is in advice.json of the job folder.
            waitForCompletion: True returns the nodes; False returns None at once.
            jobFolder: folder that keeps the files of the run; by default a temporary one, without a report.
            progress: called with each JobState while waiting.
            environment: environment variables for the worker process; by default those of the worker environment.

        Returns:
            :class:`EnsembleReviewLib.scene.EnsembleNodes`, or None.

        Raises:
            SuiteError: of the kind that names what is wrong (see MRISegSuiteLib.errors); the scene is unchanged.
        """
        volumeNodes, maskNodes = list(volumeNodes), list(maskNodes)
        if not volumeNodes and not maskNodes:
            raise BadArguments("There is no volume and no mask.", "Choose volumes, masks, or both.")
        if any(node is None for node in [*volumeNodes, *maskNodes]):
            raise BadArguments("A volume or a mask is not chosen.", "Choose it, or leave it out.")
        parameters = {"fusion": fusion, "vote": vote, "device": device}
        if fusion == "staple":
            parameters["staple_region"] = stapleRegion
            if staplePrior is not None:
                parameters["staple_prior"] = staplePrior
        if experts is not None:
            parameters["experts"] = list(experts)
        given = {"weights": weights, "sam3": sam3, "medgemma": medgemma}
        if jobFolder is None:  # a temporary folder is seen by nobody: a report in it would only take time
            parameters["without"] = ["report"]
        parameters |= {name: dict(value) for name, value in given.items() if value}
        first = volumeNodes[0] if volumeNodes else None

        def writeJob(folder):
            return self._writeJob(folder, volumeNodes, maskNodes, channelNames, parameters)

        def load(folder):
            return ensemble_scene.add_results_in_steps(slicer.mrmlScene, folder, first)

        self.startJob(writeJob, load, jobFolder, environment)
        return self.waitForJob(progress) if waitForCompletion else None

    def loadJob(self, jobFolder, volumeNode=None):
        """Load the results of a finished job folder (from the command line, a cluster …) into the scene.

        ``volumeNode`` is the first image it was computed from; without it the results stand alone, in the world.
        """
        return ensemble_scene.add_results(slicer.mrmlScene, jobFolder, volumeNode)

    @staticmethod
    def nodesOf(fusionNode):
        """The :class:`EnsembleNodes` that belong to a fusion in the scene (also after it was saved and opened again),
        None where the node is no fusion."""
        return ensemble_scene.nodes_of(slicer.mrmlScene, fusionNode)

    @staticmethod
    def hotSpots(nodes) -> list:
        """The :class:`EnsembleReviewLib.hot_spots.HotSpot` of a result, largest first. The voxels of one are those of
        ``nodes.hotSpots`` that hold its number."""
        return ensemble_scene.hot_spots_of(nodes)

    @staticmethod
    def panel(nodes) -> dict:
        """Who was asked, who abstained and why, how the answers were fused, the lights: panel.json as a dictionary."""
        return ensemble_scene.panel_of(nodes)

    @staticmethod
    def expertSegments(nodes) -> dict:
        """Expert id -> structure -> id of its segment in ``nodes.experts``."""
        return ensemble_scene.expert_segments(nodes)

    @staticmethod
    def availableExperts() -> list:
        """Cards of the models that can be asked: those for gliomas first."""
        cards = [card for card in Registry().cards() if card.backend not in SHAPE_BACKENDS]
        return sorted(cards, key=lambda card: card.task != TASK)

    def _writeJob(self, folder, volumeNodes, maskNodes, channelNames, parameters):
        """Steps of exporting, see :meth:`JobLogic.startJob`: every image and every mask takes its time."""
        inputs, nodeNames = {}, {}
        files = []
        for number, node in enumerate(volumeNodes):
            path = write_volume_for_job(node, folder / INPUTS / f"channel{number}")
            files.append(str(path))
            nodeNames[path] = node.GetName()
            yield
        if files:
            inputs["image"] = files[0]
            if files[1:]:
                inputs["channels"] = files[1:]
            names = channelNames or [channel_of(node.GetName()) or "" for node in volumeNodes]
            if len(names) != len(files):
                raise BadArguments(f"{len(names)} channel names were given for {len(files)} volumes.",
                                   "Name each volume once.")
            parameters = parameters | {"channel_names": list(names)}
        if maskNodes:
            inputs["masks"] = []
            for number, node in enumerate(maskNodes):
                path, _ = yield from write_masks_in_steps(
                    node, volumeNodes[0] if volumeNodes else None, folder / INPUTS / f"mask{number}.seg.nrrd")
                inputs["masks"].append(str(path))
                nodeNames[path] = node.GetName()
                yield
            parameters = parameters | {"mask_names": [node.GetName() for node in maskNodes]}
        Job("ensemble", inputs, parameters).write(folder)
        return [], nodeNames
