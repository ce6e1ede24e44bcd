"""The logic of the KneeSeg module: from a volume node to segmentation, surfaces, table and chart in the scene.

Everything here works in Slicer and in plain Python with slicer-core; nothing here opens a dialog or needs Qt. See
:mod:`MRISegSuiteLib.scene.job_logic` for how a run is started, watched, canceled and finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import slicer

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.jobs import Job
from MRISegSuiteLib.models.registry import Registry
from MRISegSuiteLib.scene.echoes import known_protocol, volumes_of_echoes
from MRISegSuiteLib.scene.exporting import write_segmentation_for_job, write_volume_for_job
from MRISegSuiteLib.scene.job_logic import INPUTS, JobLogic

from . import scene as knee_scene
from .structures import INPUT_NAMES


@dataclass
class _More:
    """What is measured beside the regions, and from what; kept on the result for the next time."""

    layers: int | None = None
    echoNodes: list = field(default_factory=list)
    t2: dict = field(default_factory=dict)
    without: list = field(default_factory=list)
    shapeModelId: str = ""
    baselineNode: object = None


class KneeLogic(JobLogic):
    """Segment, measure, measure again; blocking for scripts, or start / poll / finish for a panel.

    >>> nodes = KneeSegLogic().process(volumeNode)                      # segment and measure
    >>> nodes = KneeSegLogic().process(volumeNode, segmentationNode=s)  # measure an existing segmentation
    >>> nodes = KneeSegLogic().measureAgain(nodes.segmentation)         # after an edit
    """

    def __init__(self):
        super().__init__("KneeSeg")

    # -- what scripts and the console call -------------------------------------------------------------------------

    def process(self, volumeNode=None, modelId: str = "", side: str = "auto", device: str = "auto",
                segmentationNode=None, waitForCompletion: bool = True, jobFolder=None, progress=None,
                environment=None, layers: int | None = None, echoNodes=(), t2: dict | None = None, without=(),
                shapeModelId: str = "", baselineNode=None):
        """Segment ``volumeNode`` and measure it, or measure ``segmentationNode`` where one is given.

        Args:
            volumeNode: the knee MRI (vtkMRMLScalarVolumeNode). May be None when a segmentation is given.
            modelId: id of the model; empty for the embedded one.
            side: "auto" (from the anatomy), "left" or "right".
            device: "auto", "cpu" or "cuda".
            segmentationNode: measure this vtkMRMLSegmentationNode instead of running a model. It is not changed.
            waitForCompletion: True returns the nodes; False returns None at once: go on with :meth:`poll` and, when
                its status is no longer "running", :meth:`finish`.
            jobFolder: folder that keeps the files of the run, the report among them; by default a temporary one,
                without a report.
            progress: called with each JobState while waiting.
            environment: environment variables for the worker process; by default those of the worker environment.
            layers: number of depth layers of cartilage, 1 to 5; 2 by default.
            echoNodes: volumes of the single echoes, in the order of their times, or the one sequence that holds them:
                T2 is mapped, and all echoes together are segmented. Two are taken for qDESS, more for a train of spin
                echoes.
            t2: how T2 is mapped, and what DICOM does not say (see KneeSegLib.t2.stage): ``method``, ``tr_ms``,
                ``te_ms`` (list), ``flip_deg``, ``spoiler_area``, ``spoiler_us`` …
            without: stages to leave out: "thickness" (and all that needs it), "shape", "t2", "report".
            shapeModelId: id of the shape model; empty for the embedded one.
            baselineNode: vtkMRMLSegmentationNode of the same knee at an earlier time: tells what changed since.

        Returns:
            :class:`KneeSegLib.scene.KneeNodes`, or None.

        Raises:
            SuiteError: of the kind that names what is wrong (see MRISegSuiteLib.errors); the scene is unchanged.
        """
        more = _More(layers, list(echoNodes), dict(t2 or {}), list(without), shapeModelId, baselineNode)
        self._start(volumeNode, segmentationNode, modelId, side, device, jobFolder, environment, False, more)
        return self.waitForJob(progress) if waitForCompletion else None

    def measureAgain(self, segmentationNode, side: str = "auto", waitForCompletion: bool = True, jobFolder=None,
                     progress=None, environment=None):
        """Measure a segmentation again after a person edited it, and bring its numbers up to date.

        The segmentation is not changed, but for the DICOM tag "algorithm type" of edited segments. The table, surfaces
        and chart that belong to it are updated in place, so that no number stays beside a segmentation that it does
        not describe; colors and visibility that the user chose stay. One that a person edited (or removed) since is
        left alone, and a new one made beside it. T2, layers, shape and change are measured again as they were.

        Arguments, returns and raises: see :meth:`process`.
        """
        if segmentationNode is None:
            raise BadArguments("There is no segmentation to measure.", "Choose a segmentation.")
        volumeNode = knee_scene.volume_of(segmentationNode)
        more = _More(**knee_scene.inputs_of(segmentationNode))
        self._start(volumeNode, segmentationNode, "", side, "auto", jobFolder, environment, True, more)
        return self.waitForJob(progress) if waitForCompletion else None

    def loadJob(self, jobFolder, volumeNode=None):
        """Load the results of a finished job folder (from the command line, a cluster …) into the scene.

        ``volumeNode`` is the volume it was computed from; without it the results stand alone, in world coordinates.
        """
        return knee_scene.add_results(slicer.mrmlScene, jobFolder, volumeNode)

    # -- how -------------------------------------------------------------------------------------------------------

    def _start(self, volumeNode, segmentationNode, modelId, side, device, jobFolder, environment, update, more):
        if volumeNode is None and segmentationNode is None:
            raise BadArguments("There is no volume to segment.", "Choose a volume, or a segmentation to measure.")

        def writeJob(folder):
            return self._writeJob(
                folder, volumeNode, segmentationNode, modelId, side, device, more, report=jobFolder is not None)

        def load(folder):
            add = knee_scene.update_results_in_steps if update else knee_scene.add_results_in_steps
            nodes = yield from add(slicer.mrmlScene, folder, volumeNode, segmentationNode)
            knee_scene.remember_inputs(nodes.segmentation, **vars(more))
            return nodes

        self.startJob(writeJob, load, jobFolder, environment)

    def _writeJob(self, folder, volumeNode, segmentationNode, modelId, side, device, more, report):
        """Write job.json and its input files; returns warnings, and the name of the node that each file holds."""
        inputs, parameters, warnings, nodeNames = {}, {"side": side, "device": device}, [], {}
        if volumeNode is not None:
            path = write_volume_for_job(volumeNode, folder / INPUTS)
            inputs["image"], nodeNames[path] = str(path), volumeNode.GetName()
        if more.echoNodes and volumeNode is not None:
            inputs["echoes"] = []
            for number, node in enumerate(volumes_of_echoes(more.echoNodes), start=1):
                path = write_volume_for_job(node, folder / INPUTS / f"echo{number}")
                inputs["echoes"].append(str(path))
                nodeNames[path] = node.GetName()
            parameters["t2"] = known_protocol(more.echoNodes) | more.t2
        if more.baselineNode is not None:
            path, parameters["baseline_labels"], _ = write_segmentation_for_job(
                more.baselineNode, None, INPUT_NAMES, folder / INPUTS / "baseline")
            inputs["baseline"], nodeNames[path] = str(path), more.baselineNode.GetName()
        # A temporary folder is seen by nobody: drawing a report into it would only take time.
        without = more.without if report or "report" in more.without else [*more.without, "report"]
        given = {"layers": more.layers, "without": without, "shape_model": more.shapeModelId}
        parameters |= {name: value for name, value in given.items() if value}
        if segmentationNode is not None:
            path, parameters["labels"], warnings = write_segmentation_for_job(
                segmentationNode, volumeNode, INPUT_NAMES, folder / INPUTS)
            inputs["segmentation"], nodeNames[path] = str(path), segmentationNode.GetName()
        model = None if segmentationNode is not None else Registry().choose("knee", modelId).to_record()
        Job("knee", inputs, parameters, model).write(folder)
        return warnings, nodeNames
