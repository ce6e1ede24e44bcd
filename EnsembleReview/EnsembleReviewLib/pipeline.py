"""The ensemble task: from images and experts to one segmentation, its uncertainty, agreement, hot spots and report.

Runs in the worker process (task ``ensemble``). The steps are functions of their own below, in the order in which they
run.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import SimpleITK as sitk

from MRISegSuiteLib.errors import BadArguments, BadInput, WrongContent
from MRISegSuiteLib.images.canonical import same_grid
from MRISegSuiteLib.images.channels import channel_of
from MRISegSuiteLib.images.reading import as_single_3d, read_image_file, read_volume, require_numbers
from MRISegSuiteLib.images.structures import structure_of
from MRISegSuiteLib.jobs import Job, JobContext, Result

from .agreement import agreement_on
from .expert_panel import REGIONS, VOTES, ExpertPanel
from .experts.from_files import opinions_of_files
from .experts.interface import Abstains, Case, Channel, ask
from .experts.medgemma import Advice, MedGemma
from .experts.registry import models_of
from .experts.sam3 import Sam3Expert
from .fusion import FusionSettings, fuse
from .hot_spots import find_hot_spots
from .opinions import Abstention, Opinion
from .results import STAGES, Findings, write_results
from .traffic_light import AgreementSettings, light_of

#: Where each step ends, as a fraction of the whole job: with models to run, and without.
_WITH_MODELS = {"read": 0.05, "ask": 0.80, "measure": 0.88}
_WITHOUT_MODELS = {"read": 0.20, "ask": 0.35, "measure": 0.60}


def run(job: Job, context: JobContext) -> Result:
    """Ask a panel, fuse what it says, and measure where it disagrees.

    Inputs: ``image``: the image on whose grid everything is; ``channels``: further images (list); ``masks``: files
    with the opinions of experts that have answered already (list). Without an image the first mask's grid is taken.
    Parameters: ``channel_names`` (of the image and the channels, in this order; found from the file names by default),
    ``experts`` (ids of models; where neither this nor masks are given, every glioma model that works on the channels),
    ``labels`` (name -> value of label maps), ``mask_names`` (what to call the masks), ``fusion`` (majority, staple,
    weighted, confidence), ``weights`` (expert -> weight), ``tie``, ``staple_region``, ``staple_prior`` (see
    fusion.methods), ``vote`` (regions or labels, see expert_panel), ``device``, ``settings`` (path of another
    agreement.json), ``without`` (list: "report" leaves it and its pictures out), ``jackknife_masks`` (True adds the
    fusions without each voice as files, for volumes of single lesions), ``sam3`` (see experts.sam3) and ``medgemma``
    (see experts.medgemma), both off where they are not given.

    Raises:
        SuiteError: of the kind that names what is wrong.
    """
    settings, limits, vote = _checked(job.parameters)
    mask_paths = _as_list(job.inputs.get("masks"))
    experts = _experts(job.parameters, bool(mask_paths), _channel_names(job))
    share = _WITH_MODELS if experts else _WITHOUT_MODELS
    context.progress("Reading the images", 0.01)
    case, reference = read_case(job, context, mask_paths)
    context.progress("Reading the masks", share["read"])
    opinions = opinions_of_files(
        mask_paths, case.grid, job.parameters.get("labels"), job.parameters.get("mask_names") or (), context.warn,
        reference,
    )  # fmt: skip
    _refuse_same_names(opinions, experts)
    advice = _advice(job.parameters, case, context, share)
    answers = _ask_all(experts, case, context, share)
    opinions += [answer for answer in answers if isinstance(answer, Opinion)]
    abstentions = [answer for answer in answers if isinstance(answer, Abstention)]
    for abstention in abstentions:
        context.warn(f"{abstention.title} abstained: {abstention.why}")
    for opinion in opinions:
        for text in opinion.warnings:
            context.warn(f"{opinion.title}: {text}")
    if not opinions:
        why = "; ".join(f"{a.title}: {a.why}" for a in abstentions) or "There is no model for gliomas here."
        raise BadInput(f"Nobody on the panel has an answer. {why}",
                       "Give masks (--masks), choose models (--experts), or add one (mriseg models add PATH).")
    context.progress("Fusing", share["ask"])
    findings = examine(ExpertPanel(opinions, case.grid, abstentions, vote), settings, limits, context)
    findings.channels = [channel.name for channel in case.channels]
    context.progress("Writing the results", share["measure"])
    image = case.channels[0].image if case.channels else None
    return write_results(findings, image, job, context, share["measure"], advice)


def examine(panel: ExpertPanel, settings: FusionSettings, limits: AgreementSettings, context: JobContext) -> Findings:
    """Fuse and measure; what a person must know becomes a warning."""
    fusion = fuse(panel, settings)
    for text in fusion.notes:
        context.warn(text)
    for text in _lonely_structures(panel):
        context.warn(text)
    agreements = [agreement_on(panel, fusion, structure, limits.tolerance_mm) for structure in panel.structures]
    spots, numbers = find_hot_spots(panel, fusion.masks, limits.hot_spots)
    return Findings(panel, fusion, agreements, [light_of(a, limits) for a in agreements], limits, spots, numbers)


def _lonely_structures(panel: ExpertPanel) -> list[str]:
    """What has to be said about structures that nobody can compare."""
    if len(panel.groups) < 2:
        return ["There is one independent opinion only: nothing can be said about agreement."]
    lonely = [structure for structure in panel.structures if len(panel.voices_on(structure)) < 2]
    if len(lonely) == len(panel.structures):
        known = "; ".join(f"{o.title}: {', '.join(o.answers)}" for o in panel.opinions)
        return [f"No structure is known to two experts, so none can be compared ({known}). Give the structures the "
                "same names (--labels)."]
    texts = []
    for voice, names in itertools.groupby(lonely, lambda structure: panel.experts_on(structure)):
        titles = " and ".join(opinion.title for opinion in panel.opinions if opinion.expert in voice)
        texts.append(f"{_listed([structure_of(name, 0).title for name in names])}: one independent opinion only "
                     f"({titles}). Nobody confirms it, and nothing can be said about agreement there.")
    return texts


def _listed(names: list[str]) -> str:
    """One sentence part: "Tumor core and enhancing tumor"."""
    names = [names[0], *(name[:1].lower() + name[1:] for name in names[1:])]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def read_case(job: Job, context: JobContext, mask_paths: list[str]) -> tuple[Case, str]:
    """The images, on the grid of the first; and what to call that grid in messages."""
    paths, names = _image_paths(job), _channel_names(job)
    if not paths:
        if not mask_paths:
            raise BadArguments("The job has neither images nor masks.", "Give one of them.")
        grid = read_image_file(mask_paths[0])
        if grid.GetNumberOfComponentsPerPixel() > 1:  # a .seg.nrrd with several layers
            grid = sitk.VectorIndexSelectionCast(grid, 0)
        return Case(as_single_3d(grid, mask_paths[0]), [], job.device, context.log), mask_paths[0]
    channels: list[Channel] = []
    for path, name in zip(paths, names, strict=True):
        image = _read_image(path, context)
        if channels and not same_grid(image, channels[0].image):
            context.warn(f"{path} lies on another grid than {paths[0]}: it was resampled to it (linear). The two must "
                         "be registered for that to be right.")
            image = sitk.Resample(image, channels[0].image, sitk.Transform(), sitk.sitkLinear, 0.0)
        channels.append(Channel(name, image))
    return Case(channels[0].image, channels, job.device, context.log), paths[0]


def _image_paths(job: Job) -> list[str]:
    return [*_as_list(job.inputs.get("image")), *_as_list(job.inputs.get("channels"))]


def _channel_names(job: Job) -> list[str]:
    """What each image is, as given or as its file's name says. Raises BadArguments."""
    paths = _image_paths(job)
    names = job.parameters.get("channel_names") or [channel_of(_stem(path)) or "" for path in paths]
    if len(names) != len(paths):
        raise BadArguments(f"{len(names)} channel names were given for {len(paths)} images.", "Name each image once.")
    return names


def _read_image(path: str, context: JobContext) -> sitk.Image:
    volume = read_volume(path)
    for text in volume.warnings:
        context.warn(text)
    array = sitk.GetArrayViewFromImage(volume.image)
    require_numbers(array, path)
    if array.min() == array.max():
        raise WrongContent(f"{path} is constant: every voxel is {float(array.flat[0]):g}.", "Give the scan itself.")
    return volume.image


def _ask_all(experts, case: Case, context: JobContext, share: dict[str, float]) -> list[Opinion | Abstention]:
    answers = []
    for number, expert in enumerate(experts):
        begin = share["read"] + (share["ask"] - share["read"]) * number / len(experts)
        width = (share["ask"] - share["read"]) / len(experts)

        def progress(stage, fraction, title=expert.title, begin=begin, width=width):
            context.progress(f"{title}: {stage[:1].lower()}{stage[1:]}", begin + fraction * width)

        answers.append(ask(expert, case, progress))
    return answers


def _experts(given: dict, has_masks: bool, channels: list[str]) -> list:
    """Everybody who is asked. Raises BadArguments."""
    ids, sam3 = given.get("experts"), given.get("sam3")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise BadArguments(f"The experts are {ids!r}.", "Give a list of ids of models.")
    experts = [] if ids is None and has_masks else models_of(ids, channels=channels)
    if sam3 is not None:
        experts.append(Sam3Expert.from_record(_an_object("sam3", sam3)))
    return experts


def _advice(given: dict, case: Case, context: JobContext, share: dict[str, float]) -> Advice | None:
    """What MedGemma says, None where it was not asked or abstains. It has no vote."""
    if given.get("medgemma") is None:
        return None
    begin, width = share["read"], share["ask"] - share["read"]
    try:
        adviser = MedGemma.from_record(_an_object("medgemma", given["medgemma"]))
        advice = adviser.advise(case, lambda stage, part: context.progress(stage, begin + 0.3 * width * part))
    except Abstains as reason:
        context.warn(f"MedGemma abstained: {reason}")
        return None
    for text in advice.warnings:
        context.warn(text)
    return advice


def _an_object(name: str, value) -> dict:
    if not isinstance(value, dict):
        raise BadArguments(f"The parameter {name} is {value!r}.", 'Give an object such as {"checkpoint": "FOLDER"}.')
    return value


def _refuse_same_names(opinions: list[Opinion], experts: list) -> None:
    taken = {opinion.expert for opinion in opinions} & {expert.id for expert in experts}
    if taken:
        raise BadArguments(f"A mask and a model are both called {sorted(taken)[0]!r}.",
                           "Give the mask another name (mask_names).")


def _checked(given: dict) -> tuple[FusionSettings, AgreementSettings, str]:
    """Raises BadArguments for parameters that make no sense."""
    vote = given.get("vote", REGIONS)
    if vote not in VOTES:
        raise BadArguments(f"The vote is {vote!r}.", f"Choose one of {', '.join(VOTES)}.")
    without = given.get("without") or []
    if not isinstance(without, list) or not set(without) <= set(STAGES):
        raise BadArguments(f"What to leave out is {without!r}.", f"Choose among {', '.join(STAGES)}.")
    weights = given.get("weights") or {}
    if not isinstance(weights, dict) or not all(_is_number(weight) for weight in weights.values()):
        raise BadArguments(f"The weights are {weights!r}.", "Give a number for each expert.")
    prior = given.get("staple_prior")
    if prior is not None and not _is_number(prior):
        raise BadArguments(f"The prior of STAPLE is {prior!r}.", "Give a number between 0 and 1.")
    fusion = FusionSettings(
        given.get("fusion", "majority"), given.get("tie", "absent"), weights, given.get("staple_region", "box"), prior
    )
    path = given.get("settings")
    return fusion, AgreementSettings.read(path) if path else AgreementSettings.read(), vote


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_list(value) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _stem(path: str) -> str:
    return Path(path).name.split(".")[0]
