"""Turn the femur shape models of a run into embedded models with their cards.

    PYTHONPATH=MRISegSuite:KneeSeg:Training python -m knee_training.publish_shapes --run RUN

RUN is the folder that ``build_femur_shapes`` wrote. What only a person can say stands in ``shape_card_texts.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from KneeSegLib.shape import TASK
from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.models import Card
from MRISegSuiteLib.models.verified_files import file_entry

from .publish import MODELS

TEXTS = Path(__file__).with_name("shape_card_texts.json")
DATA = "femora of held-out subjects, expert label maps, 0.7 x 0.365 x 0.365 mm"
MEASURED = {
    "bone": ("ASSD", "femur"),
    "articular": ("ASSD", "femur with its cartilage"),
}


def card_content(texts: dict, kind: str, entry: dict, scores: dict) -> dict:
    """The card of one of the models as JSON."""
    own = texts[kind]
    performance = [
        {
            "data": DATA,
            "metric": metric,
            "structure": structure,
            "value": scores[key]["mean"],
            "sd": scores[key]["sd"],
            "n": len(scores["bones"]),
            "unit": "mm",
            "note": "reconstruction: average symmetric surface distance to the real surface",
        }
        for key, (metric, structure) in MEASURED.items()
    ]
    return {
        "schema_version": 1,
        **{name: own[name] for name in ("id", "version", "title", "description")},
        "task": TASK,
        "backend": f"{kind}_shape",
        "backend_options": {"bone": "femur", "population": texts["population"]},
        "files": [entry],
        **{name: texts[name] for name in ("license", "terms")},
        "training": {"data": texts["data"], "procedure": own["procedure"]},
        "performance": performance,
        "seen_on_real_scans": texts["seen_on_real_scans"],
        "known_failures": [*texts["known_failures"], *own["known_failures"]],
        "intended_use": texts["intended_use"],
        "medical_device": False,
        "references": own["references"],
    }


def publish(run: Path, kind: str, models: Path = MODELS) -> Path:
    """Write the folder of one model (``linear`` or ``neural``) and return it."""
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))[kind]
    folder = models / texts[kind]["id"]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "shape.npz"
    shutil.copyfile(run / f"{kind}.npz", file)
    content = card_content(texts, kind, file_entry(file, file.name), scores)
    Card(content, folder)
    write_json(folder / "model.json", content)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--kinds", default="linear,neural")
    given = parser.parse_args()
    for kind in given.kinds.split(","):
        folder = publish(given.run, kind)
        print(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
