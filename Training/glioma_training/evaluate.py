"""Leave-case-out Dice of each expert and of the panel, through the code that users run.

    PYTHONPATH=MRISegSuite:EnsembleReview:Training python -m glioma_training.evaluate --data FOLDER --run RUN
        --out scores.json [--masks FOLDER]

For every BraTS 2018 case the networks trained without it are published into the run's folder and asked as the ensemble
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
from MRISegSuiteLib.measures.overlap import dice
from MRISegSuiteLib.models import Card

from .cases import WHOLE_TUMOUR_FOLDER, GliomaCase, real_cases
from .experts import EXPERTS
from .publish import STRUCTURE, publish
from .train import run_name

FUSIONS = ("majority", "confidence")


def masks_of_panel(case: GliomaCase, run: Path, left_out: str | None) -> dict[str, np.ndarray]:
    """Whole tumor (bool) by each expert, and by each way of fusing them."""
    flair, _ = case.images()
    asked = Case(flair, [Channel("FLAIR", flair)], "cpu")
    opinions = []
    for expert in EXPERTS.values():
        folder = publish(expert, run / run_name(expert, left_out), run / "models" / (left_out or "all"))
        opinions.append(ask(ModelExpert(Card.read(folder)), asked, lambda stage, fraction: None))
    panel = ExpertPanel(opinions, flair)
    masks = {opinion.expert: opinion.mask(STRUCTURE) for opinion in opinions}
    return masks | {way: panel.whole(fuse(panel, FusionSettings(way)).masks[STRUCTURE]) for way in FUSIONS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the shared data")
    parser.add_argument("--run", type=Path, required=True, help="the --out of the trainings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--masks", type=Path, help="folder to keep the masks in, to look at")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scores: dict[str, dict[str, float]] = {}
    for case in real_cases(given.data):
        if case.flair.parent.parent.name != WHOLE_TUMOUR_FOLDER:
            continue
        masks = masks_of_panel(case, given.run, case.id)
        truth = sitk.GetArrayFromImage(case.images()[1]) > 0
        scores[case.id] = {name: dice(mask, truth) for name, mask in masks.items()}
        print(case.id, {name: round(value, 3) for name, value in scores[case.id].items()}, flush=True)
        if given.masks:
            given.masks.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(given.masks / f"{case.id}.npz", **masks)
    names = list(next(iter(scores.values())))
    means = {name: float(np.mean([found[name] for found in scores.values()])) for name in names}
    given.out.write_text(json.dumps({"mean": means, "dice": scores}, indent=1))
    print(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
