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

from .cases import AXES, NORMALIZATION, WHOLE
from .experts import EXPERTS, Expert
from .train import GENERATED_CASES, run_name

MODELS = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Resources" / "Models"
TEXTS = Path(__file__).with_name("card_texts.json")


def card_content(expert: Expert, texts: dict, entry: dict, scores: dict | None) -> dict:
    """The model card as JSON."""
    own, shared = texts[expert.id], texts["shared"]
    used = ["generated", *(["brats_2013"] if expert.real else [])]
    if expert.real and expert.channels == ("FLAIR",):
        used.insert(1, "brats_2018")
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
            "channels": [{"name": name, "modality": "MR", "description": shared["channels"][name],
                          "normalization": NORMALIZATION} for name in expert.channels],
            "axes": AXES,
            "spacing_mm": expert.card_spacing,
            "crop": "foreground",
        },
        "output": {"activation": "sigmoid", "structures": [
            {"name": name, "channel": number, "value": number + 1} for number, name in enumerate(expert.structures)]},
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
    """Dice a structure, its mean and each case; and of the panel. See evaluate.py for the form of ``scores``."""
    what = "each left out of a training" if expert.real else "no real case was trained on"
    found = {(structure, case): value for case, names in scores["dice"].items()
             for structure, value in names.get(expert.id, {}).items()}  # fmt: skip
    rows = []
    for structure in expert.structures:
        values = {case: value for (name, case), value in found.items() if name == structure}
        rows.append(_mean_row(f"{len(values)} real cases, {what}", structure, values))
        for case, value in values.items():
            data = f"BraTS 2018, {case}" if case.startswith("case_") else case
            rows.append({"data": data, "metric": "Dice", "structure": structure, "value": round(value, 4), "n": 1,
                         "note": what})  # fmt: skip
    for case, names in scores.get("other_source", {}).items():
        rows += [{"data": f"TCIA, {case}, never trained on; against the majority of five published algorithms",
                  "metric": "Dice", "structure": structure, "value": round(value, 4), "n": 1}
                 for structure, value in names.get(expert.id, {}).items()]  # fmt: skip
    for structure, values in scores.get("generated", {}).get(expert.id, {}).items():
        rows.append(_mean_row("generated tumors that were held out, after the training on generated ones", structure,
                              dict(enumerate(values))))
    panel = {case: names["majority"][WHOLE] for case, names in scores["dice"].items() if "majority" in names}
    if expert.channels == ("FLAIR",):
        what = f"{len(panel)} real cases, majority of the three experts on FLAIR, each left out of their trainings"
        rows.append(_mean_row(what, WHOLE, panel))
    return rows


def _mean_row(data: str, structure: str, values: dict) -> dict:
    numbers = list(values.values())
    return {"data": data, "metric": "Dice", "structure": structure, "value": round(float(np.mean(numbers)), 4),
            "sd": round(float(np.std(numbers, ddof=1)), 4), "n": len(numbers)}  # fmt: skip


def publish(expert: Expert, weights: Path, models: Path, scores: dict | None = None) -> Path:
    """Write the model's folder under ``models`` and return it."""
    network = expert.network()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.eval()
    folder = models / expert.id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "weights.pt2"
    write_torch_export(network, torch.zeros(2, len(expert.channels), *expert.patch), path, expert.free_axes)
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    content = card_content(expert, texts, file_entry(path, path.name), scores)
    Card(content, folder)
    write_json(folder / "model.json", content)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expert", choices=EXPERTS, action="append", help="default: all")
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
