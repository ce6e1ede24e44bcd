"""Test a knee model on virtual knees of subjects that it was never trained on, through the real path: inference, and
the cleaning up that follows it in the pipeline.

    PYTHONPATH=MRISegSuite:KneeSeg:Training python -m knee_training.evaluate --labels FOLDER --model ID --out FILE.json

Three sets are imaged from every held-out label map: ``dess`` and ``qdess`` (double-echo steady state with water
excitation, which leaves 0.25 to 5 % of the fat: marrow and fat pads as dark as in real scans; slices of 0.7 mm as in
the Osteoarthritis Initiative, and of 1.4 mm as in many qDESS protocols) and ``any`` (whatever protocol and scanner the
training might draw).
"""

from __future__ import annotations

import argparse
import json
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KneeSegLib.cleaning import clean_labels
from KneeSegLib.virtual_knee import acquisition, anatomy_labels, contrast

from .slabs import virtual_knee
from .subjects import split


def as_image(array: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    """A canonical array (slices, rows, columns) as an image with its place in the world."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    image.SetDirection(anatomy_labels.CANONICAL_DIRECTION)
    return image


def held_out_knee(path: Path, kind: str, seed: int) -> tuple[sitk.Image, sitk.Image]:
    """A virtual MR volume of a held-out label map, and its truth (values of ``anatomy_labels``)."""
    rng = np.random.default_rng([seed, hash_of(path.name), kind != "any"])
    knee = virtual_knee(path, rng)
    if kind != "any":
        step = {"dess": 1, "qdess": 2}[kind]
        protocol = contrast.Protocol(
            "dess", rng.uniform(16, 25), 0, rng.uniform(20, 30), np.exp(rng.uniform(-6, -3)), "rss"
        )
        protocol.echo_ms = protocol.repetition_ms * 0.3
        scanner = acquisition.Scanner(
            float(rng.uniform(0.3, 0.42)),
            step,
            step,
            float(rng.uniform(0.01, 0.05)),
            float(rng.uniform(0.05, 0.3)),
            float(rng.uniform(0.03, 0.12)),
        )
    else:
        protocol, scanner = contrast.random_protocol(rng), acquisition.random_scanner(rng)
    image, truth = acquisition.acquire(knee, protocol, scanner, rng)
    spacing = (scanner.slice_step * knee.spacing[0], scanner.pixel_mm, scanner.pixel_mm)
    return as_image(image, spacing), as_image(truth, spacing)


def hash_of(name: str) -> int:
    """A number from a name that is the same in every process."""
    import zlib

    return zlib.crc32(name.encode())


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two masks; NaN where both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else float("nan")


def _one(job: tuple[str, str, str, int]) -> dict:
    from MRISegSuiteLib.models import Registry
    from MRISegSuiteLib.models.inference import segment

    path, kind, model, seed = job
    image, truth = held_out_knee(Path(path), kind, seed)
    prediction = segment(image, Registry().get(model), "auto")
    labels, _ = clean_labels(prediction.labels, {n: prediction.names[n] for n in anatomy_labels.TARGET_NAMES})
    found, wanted = sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(truth)
    scores = {
        name: dice(found == prediction.names[name], wanted == value)
        for name, value in anatomy_labels.TARGET_NAMES.items()
    }
    print(kind, Path(path).name, {n: round(s, 3) for n, s in scores.items()}, flush=True)
    return {"map": Path(path).name, "set": kind, "dice": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--model", required=True, help="id of the model in the registry")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sets", default="dess,qdess,any")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th label map only")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    paths = split(given.labels)[1][:: given.every]
    jobs = [(str(p), kind, given.model, given.seed) for kind in given.sets.split(",") for p in paths]
    with get_context("spawn").Pool(given.processes) as pool:
        rows = pool.map(_one, jobs, chunksize=1)
    summary = {}
    for kind in given.sets.split(","):
        for name in anatomy_labels.TARGET_NAMES:
            values = [r["dice"][name] for r in rows if r["set"] == kind and np.isfinite(r["dice"][name])]
            summary.setdefault(kind, {})[name] = {
                "mean": round(float(np.mean(values)), 4),
                "sd": round(float(np.std(values, ddof=1)), 4),
                "n": len(values),
            }
    given.out.write_text(json.dumps({"summary": summary, "knees": rows}, indent=1))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
