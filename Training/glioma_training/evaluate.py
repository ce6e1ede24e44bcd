"""Dice of each expert and of the panel, through the code that users run.

    PYTHONPATH=MRISegSuite:EnsembleReview:Training python -m glioma_training.evaluate --data FOLDER --run RUN
        --out scores.json [--expert glioma-regions] [--masks FOLDER]

For every real case the networks trained without it are published into the run's folder and asked as the ensemble
task asks them, on the image as it is; their answers are fused as it fuses them. The networks of all cases are asked
about the case of another source, and those of generated tumors only about generated tumors that they have not seen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from EnsembleReviewLib.expert_panel import ExpertPanel
from EnsembleReviewLib.experts.interface import Case, Channel, ask
from EnsembleReviewLib.experts.registry import ModelExpert
from EnsembleReviewLib.fusion import FusionSettings, fuse
from EnsembleReviewLib.opinions import Opinion
from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.measures.overlap import dice
from MRISegSuiteLib.models import Card

from .cases import CHANNELS, LABEL_MAPS_FOLDER, REGIONS, WHOLE, GliomaCase, cases_of_other_source, real_cases
from .experts import EXPERTS, Expert
from .publish import publish
from .samples import as_image, generated_whole
from .train import GENERATED_CASES, SEED, generated_name, run_name

FUSIONS = ("majority", "confidence")
#: Generated cases that are kept for this; their numbers follow those of the training.
HELD_OUT_CASES = 20
#: Smaller structures of a generated case are left out of its figures.
_LEAST_ML = 0.5


def experts_for(case: GliomaCase, experts: Sequence[Expert]) -> list[Expert]:
    """Those whose figures a case gives: FLAIR alone, or FLAIR and T1c."""
    return [expert for expert in experts if set(expert.channels) == set(case.files)]


def answer(expert: Expert, weights: Path, models: Path, images: Sequence[sitk.Image], names: Sequence[str]) -> Opinion:
    """What a network says about images of these channels."""
    channels = [Channel(name, image) for name, image in zip(names, images, strict=True)]
    published = ModelExpert(Card.read(publish(expert, weights, models)))
    return ask(published, Case(images[0], channels, "cpu"), lambda stage, fraction: None)


def masks_of(opinions: list[Opinion], grid: sitk.Image) -> dict[str, dict[str, np.ndarray]]:
    """Expert or fusion -> structure -> bool array."""
    masks = {opinion.expert: {name: opinion.mask(name) for name in opinion.answers} for opinion in opinions}
    if len(opinions) > 1:
        panel = ExpertPanel(opinions, grid)
        for way in FUSIONS:
            masks[way] = {WHOLE: panel.whole(fuse(panel, FusionSettings(way)).masks[WHOLE])}
    return masks


def on_case(case: GliomaCase, experts: Sequence[Expert], run: Path, left_out: str | None, keep: Path | None) -> dict:
    """Expert or fusion -> structure -> Dice on a real case, with the networks trained without ``left_out``."""
    names = list(case.files)
    images = case.images(names)
    models = run / "models" / case.id
    opinions = [answer(expert, run / run_name(expert, left_out), models, images, names) for expert in experts]
    masks = masks_of(opinions, images[0])
    known = list(dict.fromkeys(name for found in masks.values() for name in found))
    truth = {name: sitk.GetArrayFromImage(image) > 0 for name, image in zip(known, case.truths(known))}
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(keep / f"{case.id}.npz", **{
            f"{who} {name}": mask for who, found in masks.items() for name, mask in found.items()})  # fmt: skip
    return {who: {name: dice(mask, truth[name]) for name, mask in found.items()} for who, found in masks.items()}


def on_generated(expert: Expert, run: Path, data: Path) -> dict[str, list[float]]:
    """Structure -> Dice on each of the generated cases that were held out, where it has that structure."""
    maps = sorted((data / LABEL_MAPS_FOLDER).glob("*.nii.gz"))
    scores: dict[str, list[float]] = {name: [] for name in expert.structures}
    for number in range(GENERATED_CASES, GENERATED_CASES + HELD_OUT_CASES):
        images, truths = generated_whole(number, maps, run / "cache", SEED)
        images = [as_image(image.astype(np.float32)) for image in images]
        said = answer(expert, run / generated_name(expert), run / "models" / "generated", images, CHANNELS)
        for name in expert.structures:
            truth = np.pad(truths[REGIONS.index(name)] > 127, 1)
            if truth.sum() * np.prod(images[0].GetSpacing()) > 1000 * _LEAST_ML:
                scores[name].append(dice(said.mask(name), truth))
    return scores


def means_of(scores: dict) -> dict[str, float]:
    """Mean over the cases of each expert or fusion and structure."""
    values: dict[str, list[float]] = {}
    for found in scores.values():
        for who, structures in found.items():
            for name, value in structures.items():
                values.setdefault(f"{who} {name}", []).append(value)
    return {name: float(np.mean(numbers)) for name, numbers in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the shared data")
    parser.add_argument("--run", type=Path, required=True, help="the --out of the trainings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--expert", choices=EXPERTS, action="append", help="default: all")
    parser.add_argument("--masks", type=Path, help="folder to keep the masks in, to look at")
    given = parser.parse_args()
    torch.set_num_threads(1)
    experts = [EXPERTS[name] for name in given.expert or EXPERTS]
    scores: dict = {"dice": {}, "other_source": {}, "generated": {}}
    if given.out.exists():
        scores |= json.loads(given.out.read_text(encoding="utf-8"))

    def keep(part: str, key: str, found) -> None:
        scores[part][key] = found
        print(part, key, json.dumps(found), flush=True)
        write_json(given.out, {"mean": means_of(scores["dice"])} | scores)

    for case in real_cases(given.data):
        mine = experts_for(case, experts)
        if mine and case.id not in scores["dice"]:
            keep("dice", case.id, on_case(case, mine, given.run, case.id, given.masks))
    for case in cases_of_other_source(given.data):
        if case.id not in scores["other_source"]:
            keep("other_source", case.id, on_case(case, experts, given.run, None, given.masks))
    for expert in experts:
        if expert.id not in scores["generated"]:
            keep("generated", expert.id, on_generated(expert, given.run, given.data))
    print(json.dumps(means_of(scores["dice"]), indent=1))


if __name__ == "__main__":
    main()
