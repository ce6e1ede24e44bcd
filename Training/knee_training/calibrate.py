"""Find what to add to the cartilages' logits so that the network draws as much cartilage as there is.

    PYTHONPATH=MRISegSuite:KneeSeg:Training
        python -m knee_training.calibrate --labels FOLDER --model ID --out FILE.json

Soft Dice, and pixels around cartilage that weigh more, make a network draw cartilage too large where it is unsure.
One number a structure, found on virtual knees of TRAINING subjects, brings the volumes back. ``publish --offsets``
takes it into the weights. Dice hardly changes; volume and thickness do.
"""

from __future__ import annotations

import argparse
import json
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KneeSegLib.virtual_knee.anatomy_labels import FEMORAL_CARTILAGE, TARGET_NAMES

from .evaluate import held_out_knee
from .subjects import split

CARTILAGES = {name: value for name, value in TARGET_NAMES.items() if value >= FEMORAL_CARTILAGE}
#: Another seed than the evaluation's: no image is used for both.
SEED = 7


def volume_matching_offsets(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Logit offsets with which each cartilage takes as many voxels as it has in truth.

    Args:
        logits: (7, N) of N voxels, all those that may be cartilage; values of ``anatomy_labels`` count the rows.
        truth: (N,) label values.
    """
    offsets = dict.fromkeys(CARTILAGES, 0.0)
    # Where two cartilages touch they compete, so the offsets are found in turns.
    for _ in range(4):
        for name, value in CARTILAGES.items():
            others = logits.copy()
            for other, given in offsets.items():
                others[CARTILAGES[other]] += given
            # A voxel goes to this structure once the offset exceeds its lead over the others.
            lead = np.delete(others, value, 0).max(0) - logits[value]
            wanted = int((truth == value).sum())
            offsets[name] = float(np.partition(lead, wanted - 1)[wanted - 1])
    return offsets


def _one(job: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    from MRISegSuiteLib.models import Registry
    from MRISegSuiteLib.models.inference import segment

    path, model = job
    image, truth = held_out_knee(Path(path), "qdess", SEED)
    maps = segment(image, Registry().get(model), "auto", want_probabilities=True).probabilities
    names = ["background", *TARGET_NAMES]
    probability = np.stack([sitk.GetArrayViewFromImage(maps[name]) for name in names])
    labels = sitk.GetArrayViewFromImage(truth)
    near = (probability[FEMORAL_CARTILAGE:].max(0) > 0.02) | (labels >= FEMORAL_CARTILAGE)
    print(Path(path).name, flush=True)
    return np.log(np.clip(probability[:, near], 1e-6, 1)), labels[near]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--model", required=True, help="id of the model in the registry, published without offsets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--every", type=int, default=8, help="take every so many-th label map only")
    given = parser.parse_args()
    paths = split(given.labels)[0][:: given.every]
    with get_context("spawn").Pool(given.processes) as pool:
        cases = pool.map(_one, [(str(p), given.model) for p in paths], chunksize=1)
    offsets = volume_matching_offsets(np.concatenate([c[0] for c in cases], 1), np.concatenate([c[1] for c in cases]))
    given.out.write_text(json.dumps(offsets, indent=1))
    print(json.dumps(offsets))


if __name__ == "__main__":
    main()
