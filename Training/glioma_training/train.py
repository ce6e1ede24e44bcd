"""Train one of the glioma experts: first on generated tumors, then (where it is to) on real cases.

    PYTHONPATH=MRISegSuite:Training python -m glioma_training.train --expert glioma-volume --data FOLDER --out RUN
        [--leave-out case_3]

The part on generated tumors is done once for each expert and kept in --out: it has seen no real case, so the
trainings that leave a case out all begin with it. Steps are counted, not minutes: a slower computer makes the same.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .cases import LABEL_MAPS_FOLDER, real_cases
from .experts import EXPERTS, Expert
from .samples import Samples, generated_arrays, real_arrays

GENERATED_CASES = 200
SEED = 20261127
GENERATED_RATE = 3e-3


def loss_of(logits: torch.Tensor, truth: torch.Tensor, missed: float = 1.0) -> torch.Tensor:
    """Cross entropy and soft Dice (a structure) against the part of each voxel that is the structure.

    ``missed``: how much more a missed voxel costs in the cross entropy than one too many.
    """
    logits = logits.float()
    probability = logits.sigmoid()
    axes = (0, 2, 3, 4)
    dice = (2 * (probability * truth).sum(axes) + 20) / (probability.sum(axes) + truth.sum(axes) + 20)
    weight = torch.tensor(missed)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight)
    return entropy * 3 + 1 - dice.mean()


def fit(network: torch.nn.Module, samples: Samples, steps: int, rate: float, name: str) -> torch.nn.Module:
    """Train for some steps; returns the exponential mean of the weights."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # a third faster on a CPU
    mean = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    smooth = None
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        image, truth = samples.batch()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image.contiguous(memory_format=torch.channels_last_3d))
        loss = loss_of(logits, truth, samples.expert.missed)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        keep = min(0.97, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), network.parameters()):
                slow.lerp_(fast, 1 - keep)
        smooth = loss.item() if smooth is None else 0.96 * smooth + 0.04 * loss.item()
        if (step + 1) % 50 == 0:
            spent = time.process_time()
            print(f"{name}: step {step + 1} of {steps}, loss {smooth:.3f}, {spent:.0f} CPU-s", flush=True)
    return mean


def save(path: Path, weights: dict) -> None:
    """Plain tensors, written aside and put in place."""
    aside = path.with_suffix(f".{os.getpid()}.part")
    torch.save(weights, aside)
    os.replace(aside, path)


def generated_name(expert: Expert) -> str:
    """The file of the weights after the generated tumors."""
    return f"{expert.id}_generated.pt"


def run_name(expert: Expert, left_out: str | None) -> str:
    """The file of a training's weights."""
    if not expert.real:
        return generated_name(expert)
    return f"{expert.id}_{'without_' + left_out if left_out else 'all'}.pt"


def train(expert: Expert, data: Path, out: Path, left_out: str | None, generated_cases: int = GENERATED_CASES,
          generated_steps: int | None = None, real_steps: int | None = None, start: Path | None = None) -> Path:
    """Train and return the file of the weights.

    Args:
        left_out: id of a real case that is not trained on.
        start: weights that the part on generated tumors goes on from, at half the rate.
    """
    torch.manual_seed(SEED)
    out.mkdir(parents=True, exist_ok=True)
    network = expert.network()
    maps = sorted((data / LABEL_MAPS_FOLDER).glob("*.nii.gz"))
    generated = [generated_arrays(number, maps, expert, out / "cache", SEED) for number in range(generated_cases)]
    first = out / generated_name(expert)
    if not first.exists():
        steps = expert.generated_steps if generated_steps is None else generated_steps
        samples = Samples([], generated, expert, np.random.default_rng(SEED))
        if start:
            network.load_state_dict(torch.load(start, weights_only=True))
        rate = GENERATED_RATE / 2 if start else GENERATED_RATE
        mean = fit(network, samples, steps, rate, f"{expert.id}, generated")
        save(first, mean.state_dict())
    if not expert.real:
        return first
    network.load_state_dict(torch.load(first, weights_only=True))
    cases = real_cases(data)
    if left_out and left_out not in {case.id for case in cases}:
        raise SystemExit(f"there is no case {left_out}; there are {', '.join(case.id for case in cases)}")
    cases = [case for case in cases if case.id != left_out and case.has(expert.channels, expert.structures)]
    real = [real_arrays(case, expert, out / "cache") for case in cases]
    steps = expert.real_steps if real_steps is None else real_steps
    name = f"{expert.id}, without {left_out}" if left_out else f"{expert.id}, all"
    samples = Samples(real, generated, expert, np.random.default_rng(SEED))
    mean = fit(network, samples, steps, expert.real_rate, name)
    path, learned = out / run_name(expert, left_out), torch.load(first, weights_only=True)
    save(path, {key: value.lerp(learned[key], expert.kept) for key, value in mean.state_dict().items()})
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expert", choices=EXPERTS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the shared data")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and prepared arrays")
    parser.add_argument("--leave-out", metavar="CASE", help="id of a real case that is not to be trained on")
    parser.add_argument("--start", type=Path, help="weights to go on from with generated tumors")
    parser.add_argument("--generated-steps", type=int, help="another number of steps on generated tumors")
    parser.add_argument("--generated-cases", type=int, default=GENERATED_CASES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = train(EXPERTS[given.expert], given.data, given.out, given.leave_out, given.generated_cases,
                 given.generated_steps, start=given.start)
    print(f"done: {path}, {time.process_time():.0f} CPU-s", flush=True)


if __name__ == "__main__":
    main()
