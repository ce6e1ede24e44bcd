"""Turn a training checkpoint into an embedded model: torch export and model card.

    PYTHONPATH=MRISegSuite:KneeSeg:Training python -m knee_training.publish --checkpoint last.pt [--scores scores.json]
        [--mixed-with earlier.pt] [--offsets offsets.json]

What only a person can say (what was seen on real scans) stays in ``card_texts.json`` beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.models import Card
from MRISegSuiteLib.models.exporting import write_torch_export
from MRISegSuiteLib.models.verified_files import file_entry

from .network import KneeNet
from .slabs import PIXEL_MM, UPPER_PERCENTILE
from .train import NAMES, WIDTHS

MODELS = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Resources" / "Models"
TEXTS = Path(__file__).with_name("card_texts.json")
#: Slices, and pixels a side: 179 mm, so that one window holds all of a knee scan. It is wider than the samples of the
#: training; the network is convolutional, and seams between windows cost more than the wider view.
WINDOW_SLICES, WINDOW = 12, 448
SETS = {
    "dess": "virtual knees of held-out subjects, double-echo steady state, water excitation, 0.7 mm slices",
    "qdess": "virtual knees of held-out subjects, double-echo steady state, water excitation, 1.4 mm slices",
    "any": "virtual knees of held-out subjects, random protocol and scanner as in training",
}


def card_content(texts: dict, entry: dict, scores: dict | None, steps: int, minutes: float) -> dict:
    """The model card as JSON."""
    performance = [
        {"data": SETS[kind], "metric": "Dice", "structure": name, "value": row["mean"], "sd": row["sd"], "n": row["n"]}
        for kind, rows in (scores or {"summary": {}})["summary"].items()
        for name, row in rows.items()
    ]
    training = dict(texts["training"])
    training["procedure"] = training["procedure"].format(steps=steps, minutes=round(minutes))
    return {
        "schema_version": 1,
        "id": texts["id"],
        "version": texts["version"],
        "title": texts["title"],
        "description": texts["description"],
        "task": "knee",
        "backend": "torch_export",
        "files": [entry],
        "input": {
            "channels": [
                {
                    "name": "knee",
                    "modality": "MR",
                    "description": "Sagittal knee MRI; qDESS: root of the sum of squares.",
                    "normalization": {
                        "kind": "upper_percentile",
                        "high": UPPER_PERCENTILE,
                        "clip": True,
                        "over": "all",
                    },
                }
            ],
            "axes": "RIP",
            "spacing_mm": [{"min": 0.65, "max": 5.0}, PIXEL_MM, PIXEL_MM],
            "crop": "foreground",
        },
        "output": {
            "activation": "softmax",
            "structures": [{"name": name, "channel": value, "value": value} for value, name in enumerate(NAMES)],
        },
        "inference": {
            "patch": [WINDOW_SLICES, WINDOW, WINDOW],
            "smaller_patches": [[6, WINDOW, WINDOW], [2, WINDOW, WINDOW]],
            "overlap": [0.25, 0.35, 0.35],
            "blending": "gaussian",
            "batch": 1,
            # Slices run to the right: averaging both orders makes left and right knees exact mirror images.
            "mirror_axes": [0],
        },
        "license": texts["license"],
        "terms": texts["terms"],
        "training": training,
        "performance": performance,
        "seen_on_real_scans": texts["seen_on_real_scans"],
        "known_failures": texts["known_failures"],
        "intended_use": texts["intended_use"],
        "medical_device": False,
        "references": texts["references"],
    }


def averaged(weights: dict, others: dict) -> dict:
    """The mean of two trainings' weights, the later of which began with the earlier's.

    An earlier network without the branch ``sharpen`` is one whose branch adds nothing.
    """
    result = {}
    for name, value in weights.items():
        absent = torch.zeros_like(value) if name.startswith("sharpen.2.") else value
        result[name] = (value + others.get(name, absent)) / 2
    return result


def publish(
    checkpoint: Path,
    scores: Path | None,
    models: Path = MODELS,
    mixed_with: Path | None = None,
    offsets: Path | None = None,
) -> Path:
    """Write the model folder and return it. ``offsets`` is what ``calibrate`` found for the same weights."""
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = KneeNet(len(NAMES), WIDTHS)
    weights_of = state["mean"]
    if mixed_with:
        weights_of = averaged(weights_of, torch.load(mixed_with, map_location="cpu", weights_only=True)["mean"])
    network.load_state_dict(weights_of)
    with torch.no_grad():
        for name, offset in (json.loads(offsets.read_text(encoding="utf-8")) if offsets else {}).items():
            network.correct.bias[NAMES.index(name)] += offset
    network.eval()
    folder = models / texts["id"]
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.pt2"
    write_torch_export(network, torch.zeros(2, 1, WINDOW_SLICES, WINDOW, WINDOW), weights, (0, 2))
    measured = json.loads(scores.read_text(encoding="utf-8")) if scores else None
    content = card_content(texts, file_entry(weights, weights.name), measured, state["step"], state["minutes"])
    Card(content, folder)
    write_json(folder / "model.json", content)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--mixed-with", type=Path, help="earlier checkpoint to average the weights with")
    parser.add_argument("--offsets", type=Path, help="what calibrate wrote for these weights")
    parser.add_argument("--scores", type=Path, help="what evaluate wrote")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of models to write to")
    given = parser.parse_args()
    folder = publish(given.checkpoint, given.scores, given.models, given.mixed_with, given.offsets)
    print(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
