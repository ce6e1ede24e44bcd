"""Build the femur shape models (principal components, neural auto-decoder) from the TRAINING subjects' label maps.

    PYTHONPATH=MRISegSuite:KneeSeg:Training python -m knee_training.build_femur_shapes --labels FOLDER --out RUN

Held-out subjects (``subjects.py``) are used for nothing but the scores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KneeSegLib.anatomy import canonical_knee
from KneeSegLib.registration import Similarity
from KneeSegLib.shape.fit import fit_shape, lay_on, model_surfaces
from KneeSegLib.shape.linear import LinearShapeModel
from KneeSegLib.shape.target import PlacedTarget, ShapeTarget, shape_target

from .label_maps import OAI_NAMES
from .subjects import split, subject_of

#: Grid of the linear model, mm; its values are cut off here; and free space about the bone.
STEP_MM, FAR_MM, MARGIN_MM = 2.0, 8.0, 6.0
#: Numbers that describe a bone, in both models.
NUMBERS = 32
#: The femur ends this many times its width above its lowest point.
CUT = 0.7
STIFFNESSES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


def targets_of(paths: list[Path]) -> list[ShapeTarget]:
    """The femora of label maps, in the frame of their knees (left ones mirrored)."""
    return [shape_target(canonical_knee(sitk.ReadImage(str(path)), OAI_NAMES)) for path in paths]


def _grid(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    axes = [np.arange(a, b + STEP_MM, STEP_MM) for a, b in zip(low, high)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return points.reshape(-1, 3), points.shape[:3]


def aligned(targets: list[ShapeTarget], rounds: int = 3) -> tuple[LinearShapeModel, list[PlacedTarget]]:
    """All bones laid on their common mean; the mean as a model without modes."""
    widths = [np.ptp(t.bone.points[:, 0]) for t in targets]
    first = targets[int(np.argsort(widths)[len(widths) // 2])]
    points = first.bone.points
    cut = points[:, 2].min() + CUT * np.ptp(points[:, 0])
    points = points[points[:, 2] < cut]
    low, high = points.min(0) - MARGIN_MM, points.max(0) + MARGIN_MM
    grid, shape = _grid(low, high)
    placed = [PlacedTarget(first, Similarity(np.eye(3), np.zeros(3)), cut)]
    for turn in range(rounds + 1):
        mean = np.mean([_field(one, grid, shape) for one in placed], 0)
        model = LinearShapeModel(mean, np.empty((0, *mean.shape), np.float32), low, STEP_MM, float(cut), 0.0, 0)
        if turn == rounds:
            return model, placed
        surface = model_surfaces(model, np.zeros(0), only_first=True)[0]
        placed = [PlacedTarget(target, *lay_on(model, target, surface)) for target in targets]


def _field(placed: PlacedTarget, grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    distances = np.clip(placed.distances(grid), -FAR_MM, FAR_MM)
    return distances.T.reshape(2, *shape).astype(np.float32)


def linear_model(base: LinearShapeModel, placed: list[PlacedTarget], stiffness: float) -> LinearShapeModel:
    """Principal components of bones that are laid on each other."""
    grid, shape = _grid(base.origin, base.origin + (np.array(base.mean.shape[1:]) - 1.5) * STEP_MM)
    rows = np.stack([_field(one, grid, shape) for one in placed]).reshape(len(placed), -1)
    mean = rows.mean(0)
    _, sizes, directions = np.linalg.svd(rows - mean, full_matrices=False)
    count = min(NUMBERS, len(placed) - 1)
    modes = directions[:count] * (sizes[:count, None] / np.sqrt(len(placed) - 1))
    # The sign of a component is free: the widest bone is at the positive end.
    return LinearShapeModel(
        mean.reshape(2, *shape),
        modes.reshape(count, 2, *shape).astype(np.float32),
        base.origin,
        STEP_MM,
        base.cut,
        stiffness,
        len(placed),
    )


def best_stiffness(base: LinearShapeModel, placed: list[PlacedTarget], subjects: list[str]) -> float:
    """The cost of weights with which bones of subjects that are left out are told best (three folds)."""
    names = sorted(set(subjects))
    errors = np.zeros(len(STIFFNESSES))
    for fold in range(3):
        out = [subject in names[fold::3] for subject in subjects]
        model = linear_model(base, [p for p, o in zip(placed, out) if not o], 0.0)
        for one in (p for p, o in zip(placed, out) if o):
            samples, check = one.sample(8000, 1), one.sample(8000, 2)
            near = np.abs(check.distances[:, 0]) < 2
            for number, stiffness in enumerate(STIFFNESSES):
                model.stiffness = stiffness
                found = model.distances(model.fit(samples)[0], check.points[near])
                errors[number] += np.abs(found - check.distances[near]).mean()
    print("stiffness", dict(zip(STIFFNESSES, np.round(errors / len(placed), 4).tolist())), flush=True)
    return STIFFNESSES[int(np.argmin(errors))]


def score(model, targets: list[ShapeTarget], names: list[str]) -> dict:
    """Reconstruction of bones that the model has not seen: ASSD (mm) of bone and joint surface, seconds a fit."""
    rows = []
    for target, name in zip(targets, names):
        begin = time.time()
        fit = fit_shape(model, target)
        rows.append({"map": name, "bone": fit.assd[0], "articular": fit.assd[1], "seconds": time.time() - begin,
                     "how": fit.how})  # fmt: skip
        print(rows[-1], flush=True)
    return {
        "bones": rows,
        **{
            key: {
                "mean": round(float(np.mean([r[key] for r in rows])), 4),
                "sd": round(float(np.std([r[key] for r in rows], ddof=1)), 4),
            }
            for key in ("bone", "articular", "seconds")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15, help="length of the neural model's training")
    parser.add_argument("--seed", type=int, default=20261121)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    training, held_out = split(given.labels)
    targets = targets_of(training)
    base, placed = aligned(targets)
    subjects = [subject_of(path) for path in training]
    linear = linear_model(base, placed, best_stiffness(base, placed, subjects))
    linear.write(given.out / "linear.npz")
    tests = targets_of(held_out)
    names = [path.name for path in held_out]
    scores = {"linear": score(LinearShapeModel.read(given.out / "linear.npz"), tests, names)}
    (given.out / "scores.json").write_text(json.dumps(scores, indent=1))

    from KneeSegLib.shape.neural import NeuralShapeModel

    from .train_femur_decoder import train

    train(linear, placed, given.minutes, given.seed).write(given.out / "neural.npz")
    neural = NeuralShapeModel.read((given.out / "neural.npz").read_bytes())
    scores["neural"] = score(neural, tests, names)
    (given.out / "scores.json").write_text(json.dumps(scores, indent=1))
    print({kind: {k: v for k, v in found.items() if k != "bones"} for kind, found in scores.items()})


if __name__ == "__main__":
    main()
