"""Turn a training's weights into an embedded model: torch export and model card.

    PYTHONPATH=MRISegSuite:Training python -m glioma_training.publish --expert glioma-volume --run RUN
        [--scores scores.json]

What only a person can say (what was seen on real scans) stays in ``card_texts.json`` beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.models import Card
from MRISegSuiteLib.models.exporting import write_torch_export
from MRISegSuiteLib.models.verified_files import file_entry

from .cases import AXES, NORMALIZATION
from .experts import EXPERTS, Expert
from .train import GENERATED_CASES, run_name

MODELS = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Resources" / "Models"
TEXTS = Path(__file__).with_name("card_texts.json")
STRUCTURE = "whole_tumour"


def card_content(expert: Expert, texts: dict, entry: dict, scores: dict | None) -> dict:
    """The model card as JSON."""
    own, shared = texts[expert.id], texts["shared"]
    used = ["generated", *(["brats_2018", "brats_2013"] if expert.real else [])]
    procedure = own["procedure"].format(
        generated_cases=GENERATED_CASES, generated_steps=expert.generated_steps, real_steps=expert.real_steps)
    return {
        "schema_version": 1,
        "id": expert.id,
        "version": texts["version"],
        "title": own["title"],
        "description": own["description"],
        "task": "glioma",
        "backend": "torch_export",
        "files": [entry],
        "input": {
            "channels": [{"name": "FLAIR", "modality": "MR", "description": shared["channel"],
                          "normalization": NORMALIZATION}],
            "axes": AXES,
            "spacing_mm": expert.card_spacing,
            "crop": "foreground",
        },
        "output": {"activation": "sigmoid", "structures": [{"name": STRUCTURE, "channel": 0, "value": 1}]},
        "inference": {
            "patch": list(expert.patch),
            "overlap": [0.5, 0.5, 0.5],
            "blending": "gaussian",
            "batch": 1,
            # Columns run to the left: averaging both orders makes left and right tumors exact mirror images.
            "mirror_axes": [2],
        },
        "license": own["license"],
        "terms": own["terms"],
        "training": {"data": [shared["data"][name] for name in used], "procedure": procedure,
                     "software": "PyTorch 2.13"},
        "performance": performance(expert, scores) if scores else [],
        "seen_on_real_scans": own["seen_on_real_scans"],
        "known_failures": own["known_failures"] + shared["known_failures"],
        "intended_use": shared["intended_use"],
        "medical_device": False,
        "references": shared["references"],
    }  # fmt: skip


def performance(expert: Expert, scores: dict) -> list[dict]:
    """Dice a case and its mean, and those of the panel of all experts; see evaluate.py for the form of ``scores``."""
    left_out = "left out of the training" if expert.real else "no real case was trained on"
    rows = []
    for name, what in ((expert.id, left_out),
                       ("majority", "all three experts, the case left out of every training, fused by majority")):
        values = {case: found[name] for case, found in scores["dice"].items() if name in found}
        rows.append({
            "data": f"{len(values)} BraTS 2018 cases, {what}", "metric": "Dice", "structure": STRUCTURE,
            "value": round(float(np.mean(list(values.values()))), 4),
            "sd": round(float(np.std(list(values.values()), ddof=1)), 4), "n": len(values),
        })  # fmt: skip
        if name == expert.id:
            rows += [{"data": f"BraTS 2018, {case}, {what}", "metric": "Dice", "structure": STRUCTURE,
                      "value": round(value, 4), "n": 1} for case, value in values.items()]  # fmt: skip
    return rows


def publish(expert: Expert, weights: Path, models: Path, scores: dict | None = None) -> Path:
    """Write the model's folder under ``models`` and return it."""
    network = expert.network()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.eval()
    folder = models / expert.id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.pt2"
    write_torch_export(network, torch.zeros(2, 1, *expert.patch), path, expert.free_axes)
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    content = card_content(expert, texts, file_entry(path, path.name), scores)
    Card(content, folder)
    write_json(folder / "model.json", content)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expert", choices=EXPERTS, action="append", help="default: all of them")
    parser.add_argument("--run", type=Path, required=True, help="the --out of the training")
    parser.add_argument("--scores", type=Path, help="what glioma_training.evaluate wrote")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of models to write to")
    given = parser.parse_args()
    scores = json.loads(given.scores.read_text(encoding="utf-8")) if given.scores else None
    for name in given.expert or EXPERTS:
        folder = publish(EXPERTS[name], given.run / run_name(EXPERTS[name], None), given.models, scores)
        print(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
