"""The logic of the LongitudinalCompare module: from volumes of several times to an alignment and what changed.

Everything here works in Slicer and in plain Python with slicer-core; nothing here opens a dialog or needs Qt. See
:mod:`MRISegSuiteLib.scene.job_logic` for how a run is started, watched, canceled and finished.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import slicer

from MRISegSuiteLib.errors import BadArguments, error_from_write
from MRISegSuiteLib.files import replace, write_json
from MRISegSuiteLib.jobs import Job, Result
from MRISegSuiteLib.models.registry import Registry
from MRISegSuiteLib.scene import dicom_origin
from MRISegSuiteLib.scene.exporting import label_image_of_segmentation, write_volume_for_job
from MRISegSuiteLib.scene.job_logic import INPUTS, JobLogic

from . import scene as compare_scene
from .scene import CompareNodes

_RUN = "MRISegSuite.Run"
#: Parts of a result that are transforms begin so.
_OURS = ("transform_", "session_")
#: What is remembered of how a result was asked for, and said otherwise in a job.
_NOT_IN_JOBS = ("modelId", "contrasts", "masksOf", "calibrateImage")
#: Roles of the files that a person keeps begin so.
_SAVED = ("report", "picture", "table", "dicom")


class CompareLogic(JobLogic):
    """Align, compare, measure again; blocking for scripts, or for a panel ``process(..., waitForCompletion=False)``,
    then :meth:`poll` until the status is no longer "running", then :meth:`finish`; :meth:`cancel` at any time.

    >>> logic = LongitudinalCompareLogic()
    >>> nodes = logic.process([before, after], [maskBefore, maskAfter], ["2024-01-01", "2024-06-01"])
    >>> nodes = logic.measureAgain(nodes.table)   # after a mask was edited or a diameter moved
    """

    def __init__(self):
        super().__init__("LongitudinalCompare")
        self._folders = {}  # run -> its job folder, while this logic lives

    def process(self, volumeNodes: Sequence, maskNodes: Sequence = (), dates: Sequence[str] = (), criteria: str = "",
                engine: str = "", anatomy: str = "auto", modelId: str = "", device: str = "auto", links: Sequence = (),
                jacobian: bool = False, contrasts: Sequence[Sequence[str]] = (),
                furtherNodes: Sequence[Sequence] = (), experts: Sequence[str] = (), calibrateImage: bool = False,
                brainModelId: str = "", waitForCompletion: bool = True, jobFolder=None, progress=None,
                environment=None):
        """Align scans of one patient and say what changed.

        Args:
            volumeNodes: two or more vtkMRMLScalarVolumeNode, the baseline first, in the order of time.
            maskNodes: for each the segmentation of its lesions (vtkMRMLSegmentationNode; all segments together count);
                none: the model segments, or where there is no model either nothing is measured.
            dates: for each "YYYY-MM-DD"; none: those of the DICOM files that all volumes were loaded from, where they
                are in order; otherwise there are no growth rates.
            criteria: id of a response criterion; empty for the default, "none" for none.
            engine: "greedy", "simpleitk" or "ants"; empty for the default.
            anatomy: what the registration looks at: "auto", "brain" or "body".
            modelId: model that segments every scan, where no masks are given.
            device: where the model runs: "auto", "cpu" or "cuda".
            links: corrections of which lesion is which: {baseline_point, followup_point (LPS, mm), linked}, and
                where that is not the baseline and the first follow-up: baseline_timepoint, timepoint (from 1).
            contrasts: for each timepoint the names of its contrasts (FLAIR, T1c …), that of its volumeNode first.
            furtherNodes: for each timepoint the volume nodes of its further contrasts, in the order of their names. A
                mask may be drawn on any of them.
            experts: ids of models, or ("glioma",) for all of that task: a panel that segments every timepoint, where
                no masks are given. calibrateImage: put known growth into the baseline's own scan and segment it anew
                (with a model or experts; takes a while).
            brainModelId: model of yours that finds the brain to register in, instead of the built-in search.
            jacobian: add a map of local expansion, for the eye (needs the engine greedy).
            waitForCompletion: True returns the nodes; False returns None at once.
            jobFolder: folder that keeps the files of the run; a temporary one by default.
            progress: called with each JobState while waiting.
            environment: environment variables for the worker process; by default those of the worker environment.

        Returns:
            :class:`LongitudinalCompareLib.scene.CompareNodes`, or None.

        Raises:
            SuiteError: of the kind that names what is wrong (see MRISegSuiteLib.errors); the scene is unchanged.
        """
        volumeNodes, maskNodes = list(volumeNodes), list(maskNodes)
        furtherNodes = [list(nodes) for nodes in furtherNodes] or [[] for _ in volumeNodes]
        contrasts = [list(names) for names in contrasts]
        self._check(volumeNodes, maskNodes, contrasts, furtherNodes)
        given = {"dates": list(dates) or _dates_of(volumeNodes), "criteria": criteria, "engine": engine,
                 "links": list(links), "anatomy": anatomy if anatomy != "auto" else "", "modelId": modelId,
                 "device": device, "jacobian": jacobian, "contrasts": contrasts if any(furtherNodes) else [],
                 "experts": list(experts), "calibrateImage": calibrateImage, "brain_model": brainModelId}

        def writeJob(folder):
            return self._writeJob(folder, volumeNodes, maskNodes, furtherNodes, given, [])

        def load(folder):
            further = {(n, name): node for n, (names, nodes) in enumerate(zip(contrasts, furtherNodes), start=1)
                       for name, node in zip(names[1:], nodes)}
            nodes = yield from compare_scene.add_results_in_steps(
                slicer.mrmlScene, folder, volumeNodes, maskNodes, further, given.get("masksOf", ()))
            compare_scene.remember_inputs(nodes, **given)
            compare_scene.set_corrections(nodes, _as_corrections(given["links"]))
            self._keepFolder(nodes.table, folder)
            return nodes

        self.startJob(writeJob, load, jobFolder, environment)
        return self.waitForJob(progress) if waitForCompletion else None

    def measureAgain(self, tableNode, links: Sequence | None = None, waitForCompletion: bool = True, jobFolder=None,
                     progress=None, environment=None):
        """Bring a result up to date after a mask was edited, a diameter line moved or a link corrected.

        Args:
            tableNode: table of the result.
            links: as in :meth:`process`, in place of all corrections made before; None takes those of the result
                (given before, or made in the panel).

        Other arguments, returns and raises: see :meth:`process`.
        """
        old = compare_scene.nodes_of(slicer.mrmlScene, tableNode)
        if old is None:
            raise BadArguments("There is no comparison to measure again.", "Choose the table of one.")
        given = compare_scene.inputs_of(old)
        furtherNodes = [[old.further.get((n, name)) for name in names[1:]]
                        for n, names in enumerate(given.get("contrasts", []), start=1)] or [[] for _ in old.volumes]
        self._check(old.volumes, old.masks, given.get("contrasts", []), furtherNodes)
        if old.masks:  # those that a model or experts made are measured, as they are now
            given = {name: value for name, value in given.items() if name not in ("experts", "calibrateImage")}
        if links is not None:
            compare_scene.set_corrections(old, _as_corrections(links))
        given["links"] = compare_scene.links_of(old)
        moved = [one for one in compare_scene.diameters_of(old) if one["moved"]]

        def writeJob(folder):
            return self._writeJob(folder, old.volumes, old.masks, furtherNodes, given, moved)

        def load(folder):
            nodes = yield from compare_scene.update_results_in_steps(slicer.mrmlScene, folder, old)
            compare_scene.remember_inputs(nodes, **given)
            self._keepFolder(nodes.table, folder)
            return nodes

        self.startJob(writeJob, load, jobFolder, environment)
        return self.waitForJob(progress) if waitForCompletion else None

    def loadJob(self, jobFolder, volumeNodes=None, maskNodes=()) -> CompareNodes:
        """Load the results of a finished job folder (from the command line, a cluster …) into the scene."""
        return compare_scene.add_results(slicer.mrmlScene, jobFolder, volumeNodes, maskNodes)

    @staticmethod
    def nodesOf(tableNode) -> CompareNodes | None:
        """The nodes of the result whose table this is, None for other tables."""
        return compare_scene.nodes_of(slicer.mrmlScene, tableNode)

    def reportOf(self, tableNode) -> Path | None:
        """The report (PDF) of a result that this logic measured; it is in a temporary folder unless one was given."""
        folder = self._folders.get(tableNode.GetAttribute(_RUN))
        path = folder / "report.pdf" if folder is not None else None
        return path if path is not None and path.is_file() else None

    def saveFiles(self, tableNode, folder) -> list[str]:
        """Copy report, pictures, table, DICOM SEG and SR of a result (see :meth:`reportOf`) into a folder.

        Returns:
            The names of the files.

        Raises:
            BadArguments: this logic has not measured the result. DiskFull, UnwritableOutput
        """
        report = self.reportOf(tableNode)
        if report is None:
            raise BadArguments("The files of this result are not there any more.", "Measure it again.")
        files = Result.read(report.parent).files
        names = [name for role, name in files.items() if role.startswith(_SAVED)]
        for name in names:
            target = Path(folder) / name
            aside = target.with_name(f".{name}.tmp")
            try:
                shutil.copyfile(report.parent / name, aside)
                replace(aside, target)
            except OSError as exception:
                aside.unlink(missing_ok=True)
                raise error_from_write(exception, target) from exception
        return names

    def _keepFolder(self, tableNode, folder: Path) -> None:
        # Not by the node's ID, which another scene uses again: a report must never be taken for another patient's.
        run = uuid.uuid4().hex
        tableNode.SetAttribute(_RUN, run)
        self._folders[run] = folder

    @staticmethod
    def align(nodes: CompareNodes, aligned: bool) -> None:
        """Show the scans in the common space, or where they were scanned."""
        compare_scene.align(nodes, aligned)

    @staticmethod
    def diameters(nodes: CompareNodes) -> list[dict]:
        """Diameters as their lines lie now; see ``scene.diameters_of``."""
        return compare_scene.diameters_of(nodes)

    @staticmethod
    def _check(volumeNodes, maskNodes, contrasts, furtherNodes) -> None:
        if len(volumeNodes) < 2 or any(node is None for node in volumeNodes):
            raise BadArguments("A comparison needs two volumes or more.", "Choose a baseline and a follow-up.")
        scans = [*volumeNodes, *(node for nodes in furtherNodes for node in nodes)]
        if None in scans:
            raise BadArguments("The scan of a contrast is missing.", "Choose one, or leave the contrast out.")
        if len({node.GetID() for node in scans}) < len(scans):
            raise BadArguments("One volume was chosen twice.", "Choose each timepoint's own scan.")
        if any(furtherNodes) and [len(names) for names in contrasts] != [1 + len(nodes) for nodes in furtherNodes]:
            raise BadArguments("Not every contrast has a name.", "Name each scan of each timepoint, e.g. FLAIR, T1c.")
        if maskNodes and (len(maskNodes) != len(volumeNodes) or any(node is None for node in maskNodes)):
            raise BadArguments("Not every volume has a mask.", "Choose a segmentation for each, or none at all.")

    def _writeJob(self, folder, volumeNodes, maskNodes, furtherNodes, given, moved):
        """A generator of steps: one for each scan and mask."""
        inputs, nodeNames, warnings = {"images": []}, {}, []
        for number, node in enumerate(volumeNodes, start=1):
            with _native(node):
                path = write_volume_for_job(node, folder / INPUTS / f"timepoint{number}")
            inputs["images"].append(str(path))
            nodeNames[path] = node.GetName()
            files = dicom_origin.files_of(node)
            if files:  # what DICOM SEG and SR refer to; measured is the volume as it is in the scene
                listing = folder / INPUTS / f"timepoint{number}" / "dicom.json"
                write_json(listing, files)
                inputs[f"dicom_{number}"] = str(listing)
            yield
        for number, nodes in enumerate(furtherNodes, start=1):
            for k, node in enumerate(nodes, start=1):
                with _native(node):
                    path = write_volume_for_job(node, folder / INPUTS / f"timepoint{number}_{k}")
                inputs.setdefault(f"channels_{number}", []).append(str(path))
                nodeNames[path] = node.GetName()
                yield
        given["masksOf"] = []
        for number, (node, volumeNode, more) in enumerate(zip(maskNodes, volumeNodes, furtherNodes), start=1):
            inputs.setdefault("masks", [])
            with _native(node, volumeNode, *more):
                path, which = _write_mask(node, [volumeNode, *more], folder / INPUTS / f"mask{number}.nrrd")
            inputs["masks"].append(str(path))
            given["masksOf"].append(given["contrasts"][number - 1][which] if which else "")
            nodeNames[path] = node.GetName()
            yield
        parameters = {name: value for name, value in given.items() if value and name not in _NOT_IN_JOBS}
        if given.get("contrasts"):
            parameters["channel_names"] = given["contrasts"]
        if given.get("calibrateImage"):
            parameters["calibrate_image"] = True
        if moved:
            parameters["diameters"] = [{key: one[key] for key in ("timepoint", "lesion", "which", "ends")}
                                       for one in moved]  # fmt: skip
        model = None
        if given.get("modelId") and not maskNodes:
            registry = Registry()
            task = next((card.task for card in registry.cards() if card.id == given["modelId"]), "lesion")
            model = registry.choose(task, given["modelId"]).to_record()
        Job("compare", inputs, parameters, model).write(folder)
        return warnings, nodeNames


def _dates_of(volumeNodes) -> list[str]:
    """Dates from DICOM where all are known and in order (those of anonymized scans are often all the same)."""
    dates = [dicom_origin.date_of(node) for node in volumeNodes]
    return dates if all(dates) and sorted(set(dates)) == dates else []


def _as_corrections(links) -> list[dict]:
    return [{"text": "", "links": [link]} for link in links]


def _write_mask(segmentationNode, volumeNodes, path):
    """All segments of a segmentation as one mask on the grid of one of the scans; empty ones count as nothing there.

    Returns:
        The path, and the index of the scan.
    """
    import SimpleITK as sitk

    from MRISegSuiteLib.images.canonical import same_grid
    from MRISegSuiteLib.images.writing import write_image
    from MRISegSuiteLib.scene.exporting import image_of_volume

    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    scans = [image_of_volume(node) for node in volumeNodes]
    which, together = 0, None
    for segment_id in ids:
        image, _ = label_image_of_segmentation(segmentationNode, {segment_id: 1}, volumeNodes[which])
        if together is None:
            which = next((n for n, scan in enumerate(scans) if same_grid(image, scan)), None)
            if which is None:
                raise BadArguments(
                    f'The segmentation "{segmentationNode.GetName()}" lies on another grid than '
                    f'"{volumeNodes[0].GetName()}".',
                    "Set the volume as its source geometry in the Segment Editor: the scan's own grid is measured.",
                )
        image.CopyInformation(scans[which])
        image = sitk.Cast(image, sitk.sitkUInt8)
        together = image if together is None else sitk.Maximum(together, image)
    if together is None:
        together = sitk.Image(scans[0].GetSize(), sitk.sitkUInt8)
        together.CopyInformation(scans[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_image(together, path), which


@contextmanager
def _native(*nodes):
    """While a file of the job is written the scan lies where it was scanned, not where a former result put it."""
    ours = []
    for node in nodes:
        transform = node.GetParentTransformNode()
        if transform is not None and (transform.GetAttribute("MRISegSuite.Part") or "").startswith(_OURS):
            ours.append((node, transform.GetID()))
            node.SetAndObserveTransformNodeID(None)
    try:
        yield
    finally:
        for node, transform_id in ours:
            node.SetAndObserveTransformNodeID(transform_id)
