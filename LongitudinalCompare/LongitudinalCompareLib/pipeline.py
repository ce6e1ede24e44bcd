"""The compare task: from two or more scans of one patient to an alignment, what changed, a category and a report.

Runs in the worker process (task ``compare``). The steps are functions of their own below, in the order in which they
run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput
from MRISegSuiteLib.images.reading import read_volume
from MRISegSuiteLib.jobs import Job, JobContext, Result

from .change.calibration import Calibration, calibrate_masks
from .change.matching import LinkOverride
from .change.uncertainty import UncertaintySettings
from .comparison import MovedDiameter, compare
from .registration.alignment import align
from .registration.deformable import require_deformable
from .registration.engines import DEFAULT as DEFAULT_ENGINE
from .registration.engines import Engine, EngineMissing, find_engine
from .registration.preparation import Prepared, prepare
from .response.criteria_files import DEFAULT as DEFAULT_CRITERION
from .response.criteria_files import criterion
from .results import write_results
from .segmenting import Segmenter, brain_masks, calibrate_scan, segment_all, segmenter_of
from .sessions import WITHIN_SESSION, settle
from .timepoints import Channel, Timepoint, contrasts_of, days_of, label_of, read_mask, read_scan

ANATOMIES = ("auto", "brain", "body")
_KNOWN = {
    "labels", "structure", "dates", "criteria", "engine", "anatomy", "links", "diameters", "calibrate",
    "test_retest_wcv", "device", "jacobian", "channel_names", "within_session",
    "experts", "calibrate_image", "brain_model",
}  # fmt: skip
#: Where each step ends, as a fraction of the whole job; and where known growth is put into the scan, which takes most.
_SHARE = {"read": 0.05, "session": 0.12, "segment": 0.25, "prepare": 0.45, "register": 0.80, "calibrate": 0.81,
          "measure": 0.90}  # fmt: skip
_SHARE_OF_LONG = {"read": 0.02, "session": 0.04, "segment": 0.12, "prepare": 0.16, "register": 0.28, "calibrate": 0.92,
                  "measure": 0.95}  # fmt: skip
#: A brain does not change its size by more; the search for it may err.
_MASKS_APART = 1.15
#: Trials of a calibration with the scan itself: two scans each.
_TRIALS, _MOST_TRIALS = 5, 50


def run(job: Job, context: JobContext) -> Result:
    """Align scans and say what changed.

    Inputs: ``images``: two or more scans, the baseline first, in the order of time; ``channels_1``, ``channels_2`` …:
    further contrasts of timepoint 1, 2 … (lists); ``masks``: for each timepoint the mask of its lesions, in the grid
    of one of its scans; ``registration_masks``: for each a brain (or body) mask from elsewhere, in the space of
    ``images``, which are what is registered between the timepoints; ``dicom_1``, ``dicom_2`` …: JSON file with the
    list of the DICOM files that the scan of a timepoint came from (for DICOM SEG and SR, where ``images`` are not the
    DICOM folders themselves).
    Parameters: ``channel_names`` (for each timepoint the names of its contrasts, that of ``images`` first; found
    from the file names by default), ``within_session`` (auto: contrasts that do not lie on their reference are
    registered to it; always; never), ``labels`` (name -> value of label maps), ``structure`` (which of them; all
    together by default), ``dates`` (YYYY-MM-DD for each scan; read from DICOM by default), ``criteria`` (id of a
    response criterion, or its file; "none"), ``engine`` (greedy, simpleitk, ants), ``anatomy`` (auto, brain,
    body), ``links`` (a person's corrections of which lesion is which: list of {baseline_point, followup_point,
    linked}, LPS, mm, and where these are not the first two timepoints {baseline_timepoint, timepoint}, from 1),
    ``diameters`` (those that a person moved: list of {timepoint (from 1), lesion, which
    (longest, perpendicular), ends (LPS, mm)}), ``calibrate`` (False leaves out the calibration of the mask),
    ``calibrate_image`` (True, or a number of trials: known growth is put into the baseline's own scan and
    segmented anew, two scans a trial), ``test_retest_wcv`` (within-subject coefficient of variation of a repeated
    scan and segmentation), ``jacobian`` (True adds a map of local expansion by a deformable registration, for the
    eye), ``brain_model`` (id of a model that finds the brain to register in, instead of the built-in search, where no
    ``registration_masks`` are given), ``experts`` (ids of models, or "glioma" for every model of that task: a panel
    that segments each timepoint, see the task ``ensemble``), ``device``. Where no masks are given, the experts or the
    job's model segment the scans; without any they are aligned and compared without volumes.

    Raises:
        SuiteError: of the kind that names what is wrong.
    """
    paths, mask_paths, brain_paths = _checked(job)
    names = contrasts_of(paths, _further(job, len(paths)), job.parameters.get("channel_names"))
    engine = choose_engine(job.parameters.get("engine"), context)
    with_jacobian = bool(job.parameters.get("jacobian"))
    if with_jacobian:
        require_deformable()  # said before anything is computed
    chosen = _criterion(job)
    settings = _settings(job)
    links = _links(job)
    moved = _moved(job)
    days = days_of(paths, job.parameters.get("dates"))
    timepoints = read_timepoints(job, paths, names, mask_paths, days, context)
    brains, brain_model = _brains(timepoints, brain_paths, job, context)
    timepoints = settle_all(timepoints, brains, engine, job, context)
    share = _shares(job)
    segmenter = segmenter_of(job, context) if not mask_paths else None
    if segmenter is not None:
        timepoints = segment_all(timepoints, segmenter, share["session"], share["segment"])
    if timepoints[0].mask is None:
        context.warn(
            "No masks and no model were given: the scans are aligned and compared by eye and by their gray values, "
            "and nothing is measured. Volumes and a change category need masks, a model, or experts."
        )
    if days[0] is None:
        context.warn("The dates of the scans are not known: there are no growth rates.")
    prepared = prepare_all(timepoints, brains, job, context)
    alignment = align(prepared, engine, _within(context, share["prepare"], share["register"]))
    for number, pair in enumerate(alignment.pairs, start=1):
        name = timepoints[number].label
        for text in pair.gate.reasons:
            context.warn(f"Registration of the {name} ({pair.gate.state}): {text}")
        if pair.gate.state == "failed":
            context.warn(
                f"The registration of the {name} failed: volumes are measured in each scan's own grid, nothing is "
                "compared voxel by voxel."
            )
    calibrations = _calibrate(timepoints, segmenter, job, context)
    context.progress("Measuring the change", share["calibrate"])
    spreads = [one.spread for one in calibrations if one.level == "image" and np.isfinite(one.spread)]
    found = compare(timepoints, prepared, alignment, chosen, settings, links, moved, with_jacobian, *spreads)
    for text in found.notes:
        context.warn(text)
    model, files = (segmenter.record(), segmenter.files) if segmenter is not None else (None, {})
    sources = [job.inputs.get(f"dicom_{n}") for n in range(1, len(paths) + 1)]
    result = write_results(found, calibrations, model, context, share["measure"], files, sources)
    if brain_model is not None:
        result.parameters["brain_model"] = brain_model
    return result


def _shares(job: Job) -> dict[str, float]:
    return _SHARE_OF_LONG if job.parameters.get("calibrate_image") else _SHARE


def _checked(job: Job) -> tuple[list[str], list[str], list[str]]:
    """The files of the job.

    Raises:
        BadArguments: too few, too many, or an unknown parameter.
    """
    paths, masks, brains = (_as_list(job.inputs.get(role)) for role in ("images", "masks", "registration_masks"))
    if len(paths) < 2:
        raise BadArguments(f"A comparison needs two scans or more, not {len(paths)}.", "Name the baseline first.")
    for role, files in (("masks", masks), ("registration masks", brains)):
        if files and len(files) != len(paths):
            raise BadArguments(
                f"{len(files)} {role} were given for {len(paths)} scans.", "Give one for each scan, in the same order."
            )
    further = _further(job, len(paths))
    known = {"images", "masks", "registration_masks",
             *(f"{role}_{n}" for role in ("channels", "dicom") for n in range(1, len(paths) + 1))}
    unknown = sorted(set(job.inputs) - known)
    if unknown:
        raise BadArguments(f"The job has an unknown input {unknown[0]!r}.", f"Known are {', '.join(sorted(known))}.")
    scans = [*paths, *(path for more in further for path in more)]
    if len(set(scans)) < len(scans):
        raise BadArguments("One scan was named twice.", "Name each timepoint's own scan.")
    unknown = sorted(set(job.parameters) - _KNOWN)
    if unknown:
        known = ", ".join(sorted(_KNOWN))
        raise BadArguments(f"The job has an unknown parameter {unknown[0]!r}.", f"Known are {known}.")
    if brains and job.parameters.get("brain_model"):
        raise BadArguments("Both a brain model and registration masks were given.", "Give one of them.")
    anatomy = job.parameters.get("anatomy", "auto")
    if anatomy not in ANATOMIES:
        raise BadArguments(f"The anatomy is {anatomy!r}.", f"Choose {', '.join(ANATOMIES)}.")
    experts = job.parameters.get("experts", [])
    if not isinstance(experts, list) or not all(isinstance(one, str) and one for one in experts):
        raise BadArguments(f"The experts are {experts!r}.", 'Give a list of ids of models, or ["glioma"].')
    if experts and (masks or job.model):
        raise BadArguments("Experts were given beside masks or a model.", "One of them makes the masks.")
    trials = job.parameters.get("calibrate_image", False)
    if trials is not False and trials is not True and not (type(trials) is int and 2 <= trials <= _MOST_TRIALS):
        raise BadArguments(f"calibrate_image is {trials!r}.", f"Give true, or 2 to {_MOST_TRIALS} trials.")
    if trials and not (experts or job.model):
        raise BadArguments(
            "Known growth can only be put into the scan where a model or a panel segments it.",
            "Give --model or --experts; masks that are given are calibrated by themselves.",
        )
    how = job.parameters.get("within_session", "auto")
    if how not in WITHIN_SESSION:
        raise BadArguments(f"within_session is {how!r}.", f"Choose {', '.join(WITHIN_SESSION)}.")
    return paths, masks, brains


def _further(job: Job, count: int) -> list[list[str]]:
    """Files of the further contrasts of each timepoint."""
    return [_as_list(job.inputs.get(f"channels_{n}")) for n in range(1, count + 1)]


def choose_engine(name: str | None, context: JobContext) -> Engine:
    """The engine of that name; without one the default, or SimpleITK's where the default is not installed.

    Raises:
        EngineMissing: the engine that was asked for is not there.
    """
    try:
        return find_engine(name or DEFAULT_ENGINE)
    except EngineMissing as error:
        if name:
            raise
        context.warn(f"{error.message} SimpleITK's own registration was used instead. {error.hint}")
        return find_engine("simpleitk")


def _criterion(job: Job):
    name = job.parameters.get("criteria")
    if name == "none":
        return None
    return criterion(name or DEFAULT_CRITERION)


def _settings(job: Job) -> UncertaintySettings:
    wcv = job.parameters.get("test_retest_wcv")
    if wcv is None:
        return UncertaintySettings()
    if isinstance(wcv, bool) or not isinstance(wcv, (int, float)) or not 0 <= wcv < 1:
        raise BadArguments(f"test_retest_wcv is {wcv!r}.", "Give a part between 0 and 1, e.g. 0.1 for 10 %.")
    return UncertaintySettings(test_retest_wcv=float(wcv))


def _links(job: Job) -> list[LinkOverride]:
    found = []
    for record in job.parameters.get("links") or []:
        try:
            points = [tuple(float(x) for x in record[name]) for name in ("baseline_point", "followup_point")]
            between = int(record.get("baseline_timepoint", 1)) - 1, int(record.get("timepoint", 2)) - 1
            if any(len(point) != 3 for point in points) or not isinstance(record["linked"], bool):
                raise ValueError
        except (KeyError, TypeError, ValueError) as exception:
            raise BadArguments(
                f"A corrected link is {record!r}.",
                "It takes baseline_point and followup_point (three numbers, LPS, mm) and linked (true or false).",
            ) from exception
        found.append(LinkOverride(*points, record["linked"], between))
    return found


def _moved(job: Job) -> list[MovedDiameter]:
    found = []
    for record in job.parameters.get("diameters") or []:
        try:
            ends = tuple(tuple(float(x) for x in end) for end in record["ends"])
            if [len(end) for end in ends] != [3, 3] or record["which"] not in ("longest", "perpendicular"):
                raise ValueError
            found.append(MovedDiameter(int(record["timepoint"]) - 1, int(record["lesion"]), record["which"], ends))
        except (KeyError, TypeError, ValueError) as exception:
            raise BadArguments(
                f"A moved diameter is {record!r}.",
                "It takes timepoint, lesion, which (longest or perpendicular) and ends (two points, LPS, mm).",
            ) from exception
    return found


def read_timepoints(
    job: Job,
    paths: Sequence[str],
    names: Sequence[Sequence[str]],
    mask_paths: Sequence[str],
    days: Sequence[int | None],
    context: JobContext,
) -> list[Timepoint]:
    """All scans and masks, checked."""
    labels, structure = job.parameters.get("labels"), job.parameters.get("structure")
    timepoints = []
    for number, (path, more) in enumerate(zip(paths, _further(job, len(paths)), strict=True)):
        context.progress("Reading the scans", _shares(job)["read"] * number / len(paths))
        image = read_scan(path, context.warn)
        channels = [Channel(name, one, read_scan(one, context.warn)) for name, one in zip(names[number][1:], more)]
        name, mask, mask_of = names[number][0], None, None
        if mask_paths:
            scans = {name: image} | {channel.name: channel.image for channel in channels}
            mask, on = read_mask(mask_paths[number], scans, labels, structure, context.warn)
            mask_of = on if on != name else None
        label = label_of(number, len(paths))
        timepoints.append(Timepoint(path, image, mask, days[number], label, name, tuple(channels), mask_of))
    references = sorted({one.name for one in timepoints if one.name})
    if len(references) > 1:
        context.warn(f"The timepoints are registered by different contrasts ({', '.join(references)}).")
    return timepoints


def _brains(timepoints: Sequence[Timepoint], brain_paths: Sequence[str], job: Job, context: JobContext):
    """The brain mask of each timepoint (None: to be searched for), and the record of the model that made them."""
    if brain_paths:
        return [read_volume(path).image for path in brain_paths], None
    if job.parameters.get("brain_model"):
        return brain_masks(timepoints, job.parameters["brain_model"], job, context, _shares(job)["read"])
    return [None] * len(timepoints), None


def settle_all(
    timepoints: Sequence[Timepoint], brains: Sequence[sitk.Image | None], engine: Engine, job: Job,
    context: JobContext,
) -> list[Timepoint]:
    """Every timepoint with its contrasts where they belong, see :func:`sessions.settle`."""
    done = []
    how, anatomy = job.parameters.get("within_session", "auto"), job.parameters.get("anatomy", "auto")
    for number, one in enumerate(timepoints):
        if one.channels and how != "never":
            part = (_shares(job)["session"] - _shares(job)["read"]) * number / len(timepoints)
            context.progress(f"Looking whether the contrasts of the {one.label} lie on each other",
                             _shares(job)["read"] + part)  # fmt: skip
        done.append(settle(one, how, engine, anatomy, brains[number], context.warn))
    return done


def prepare_all(
    timepoints: Sequence[Timepoint], brains: Sequence[sitk.Image | None], job: Job, context: JobContext
) -> list[Prepared]:
    """What the registration sees of each scan; lesions do not steer it."""
    prepared = []
    for number, one in enumerate(timepoints):
        part = (_shares(job)["prepare"] - _shares(job)["segment"]) * number / len(timepoints)
        context.progress("Finding the brain" if number == 0 else f"Finding the brain of the {one.label}",
                         _shares(job)["segment"] + part)  # fmt: skip
        try:
            made = prepare(one.image, job.parameters.get("anatomy", "auto"), brains[number], one.mask)
        except ValueError as exception:
            raise BadInput(
                f"{one.path} cannot be registered: {exception}.", "Check the scan and its registration mask."
            ) from exception
        context.log.info("%s: mask of the %s, %.0f ml", one.label, made.found.kind, made.found.volume_ml)
        prepared.append(made)
    volumes = [one.found.volume_ml for one in prepared]
    if max(volumes) > _MASKS_APART * min(volumes):
        context.warn(
            "The masks that the registration looks at differ in size ("
            + ", ".join(f"{volume:.0f}" for volume in volumes)
            + " ml): look at the alignment, or give masks to register in (--registration-masks)."
        )
    kinds = {one.found.kind for one in prepared}
    if len(kinds) > 1:
        context.warn(
            "The scans look differently to the search for a brain (" + " and ".join(sorted(kinds)) + "): look at the "
            "alignment, or give masks to register in."
        )
    return prepared


def _calibrate(
    timepoints: Sequence[Timepoint], segmenter: Segmenter | None, job: Job, context: JobContext
) -> list[Calibration]:
    """Known growth put into the baseline's own mask and measured on the follow-up's grid; and, where asked for, put
    into the baseline's own scan and segmented anew."""
    first, last = timepoints[0], timepoints[-1]
    wanted = job.parameters.get("calibrate_image")
    if first.mask is None or not np.any(sitk.GetArrayViewFromImage(first.mask)):
        if wanted:
            context.warn("No calibration with known growth: there is no lesion in the baseline to grow.")
        return []
    done = []
    if job.parameters.get("calibrate") is not False:
        carrier = last.channel(last.mask_of)
        done.append(calibrate_masks(first.mask, last.image if carrier is None else carrier.image))
    if wanted:
        share, trials = _shares(job), _TRIALS if wanted is True else wanted
        done.append(calibrate_scan(first, segmenter, trials, context, share["register"], share["calibrate"]))
        context.warn(done[-1].sentence)
    return done


def _as_list(value) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _within(context: JobContext, low: float, high: float):
    return lambda stage, fraction: context.progress(stage, low + fraction * (high - low))
