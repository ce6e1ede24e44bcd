"""Leave-case-out Dice of each expert and of the panel, through the code that users run.

    PYTHONPATH=MRISegSuite:EnsembleReview:Training python -m glioma_training.evaluate --data FOLDER --run RUN
        --out scores.json [--masks FOLDER]

For every case the networks trained without it are published into the run's folder and asked as the ensemble
task asks them, on the image as it is; their answers are fused as it fuses them.
"""

from __future__ import annotations

import argparse
import json
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

from .cases import WHOLE, GliomaCase, real_cases
from .experts import EXPERTS, Expert
from .publish import publish
from .train import run_name

FUSIONS = ("majority", "confidence")


def experts_for(case: GliomaCase) -> list[Expert]:
    """Those whose figures a case gives: FLAIR alone, or FLAIR and T1c."""
    return [expert for expert in EXPERTS.values() if set(expert.channels) == set(case.files)]


def opinions_on(case: GliomaCase, run: Path) -> list[Opinion]:
    """What the experts say that were trained without the case."""
    channels = [Channel(name, case.images([name])[0]) for name in case.files]
    asked = Case(channels[0].image, channels, "cpu")
    answers = []
    for expert in experts_for(case):
        folder = publish(expert, run / run_name(expert, case.id), run / "models" / case.id)
        answers.append(ask(ModelExpert(Card.read(folder)), asked, lambda stage, fraction: None))
    return answers


def masks_of(opinions: list[Opinion], grid: sitk.Image) -> dict[str, dict[str, np.ndarray]]:
    """Expert or fusion -> structure -> bool array."""
    masks = {opinion.expert: {name: opinion.mask(name) for name in opinion.answers} for opinion in opinions}
    if len(opinions) > 1:
        panel = ExpertPanel(opinions, grid)
        for way in FUSIONS:
            masks[way] = {WHOLE: panel.whole(fuse(panel, FusionSettings(way)).masks[WHOLE])}
    return masks


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
    parser.add_argument("--masks", type=Path, help="folder to keep the masks in, to look at")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scores: dict[str, dict[str, dict[str, float]]] = {}
    if given.out.exists():
        scores = json.loads(given.out.read_text(encoding="utf-8"))["dice"]
    for case in real_cases(given.data):
        if case.id in scores:
            continue
        grid = case.images(["FLAIR"])[0]
        masks = masks_of(opinions_on(case, given.run), grid)
        names = next(iter(masks.values()))
        truth = {name: sitk.GetArrayFromImage(image) > 0 for name, image in zip(names, case.truths(list(names)))}
        scores[case.id] = {
            who: {name: dice(mask, truth[name]) for name, mask in found.items()} for who, found in masks.items()
        }
        print(case.id, json.dumps(scores[case.id]), flush=True)
        write_json(given.out, {"mean": means_of(scores), "dice": scores})
        if given.masks:
            given.masks.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(given.masks / f"{case.id}.npz", **{
                f"{who} {name}": mask for who, found in masks.items() for name, mask in found.items()})  # fmt: skip
    print(json.dumps(means_of(scores), indent=1))


if __name__ == "__main__":
    main()
