"""Train the embedded knee network on virtual knees.

One command does it all, on a GPU when there is one, else on the CPU:

    PYTHONPATH=MRISegSuite:KneeSeg:Training python -m knee_training.train --labels FOLDER --out FOLDER --minutes 90

A run that was stopped goes on from its last checkpoint when it is started again with the same --out.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .network import KneeNet
from .slabs import SIZE, SlabStream, random_slab, virtual_knee
from .subjects import split

WIDTHS = (24, 32, 64, 96, 128)
NAMES = ("background", "femur", "tibia", "patella", "femoral_cartilage", "tibial_cartilage", "patellar_cartilage")


def loss_of(logits: torch.Tensor, coarse: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus soft Dice at full resolution, and cross entropy at a quarter of it.

    Pixels in and around cartilage weigh more in the cross entropy. Soft Dice has a smaller part: it rewards
    cartilage that is drawn too thick.
    """
    classes = logits.shape[1]
    cartilage = (truth >= NAMES.index("femoral_cartilage")).float()
    weight = 1 + 3 * functional.max_pool3d(cartilage, (1, 9, 9), 1, (0, 4, 4))
    entropy = (functional.cross_entropy(logits, truth, reduction="none") * weight).sum() / weight.sum()
    probability = logits.softmax(1)
    wanted = functional.one_hot(truth, classes).movedim(-1, 1).to(probability.dtype)
    axes = (0, 2, 3, 4)
    overlap, total = (probability * wanted).sum(axes), probability.sum(axes) + wanted.sum(axes)
    dice = (2 * overlap[1:] + 50) / (total[1:] + 50)
    return entropy + 0.5 * (1 - dice.mean()) + 0.4 * functional.cross_entropy(coarse, truth[..., ::4, ::4])


def dice_scores(model: torch.nn.Module, slabs: list, device: str) -> list[float]:
    """Dice a class (background left out) over all validation slabs together."""
    both = torch.zeros(len(NAMES))
    either = torch.zeros(len(NAMES))
    model.eval()
    with torch.no_grad():
        for image, truth in slabs:
            found = model(image[None].to(device))[0].argmax(0).cpu()
            for value in range(len(NAMES)):
                a, b = found == value, truth == value
                both[value] += (a & b).sum()
                either[value] += a.sum() + b.sum()
    model.train()
    return (2 * both / either.clamp(min=1))[1:].tolist()


def checkpoint(model, mean, optimizer, step: int, minutes: float) -> dict:
    """All that is needed to go on: plain tensors and numbers, readable with ``weights_only=True``."""
    return {
        "model": model.state_dict(),
        "mean": mean.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "minutes": minutes,
    }


def save(path: Path, state: dict) -> None:
    """Write a checkpoint aside, then put it in place."""
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    os.replace(aside, path)


def train(
    labels: Path,
    out: Path,
    minutes: float,
    batch: int,
    size: int,
    workers: int,
    threads: int,
    seed: int,
    rate: float,
    start: Path | None = None,
) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    training, held_out = split(labels)
    print(f"{len(training)} label maps to train on, {len(held_out)} held out, on {device}", flush=True)
    stream = SlabStream(training, seed + int(time.time()) if (out / "last.pt").exists() else seed, size)
    ahead = 6 if workers else None
    loader = iter(torch.utils.data.DataLoader(stream, batch_size=batch, num_workers=workers, prefetch_factor=ahead))
    rng = np.random.default_rng(seed + 1)
    # Validation slabs guide nothing: the last weights are kept, whatever they score.
    validation = [
        random_slab(knee, rng, size=size) for knee in (virtual_knee(p, rng) for p in held_out[::4]) for _ in range(8)
    ]
    model = KneeNet(len(NAMES), WIDTHS).to(device)
    if start:
        # Layers that the earlier network did not have keep their random weights.
        weights = torch.load(start, map_location=device, weights_only=True)["mean"]
        missing = model.load_state_dict(weights, strict=False).missing_keys
        print(f"starting from {start}; new layers: {missing}", flush=True)
    mean = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    step, spent = 0, 0.0
    if (out / "last.pt").exists():
        state = torch.load(out / "last.pt", map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["minutes"]
    begun = time.time() - spent * 60
    smooth = None
    while True:
        share = (time.time() - begun) / 60 / minutes
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * share)) * 0.99 + 0.01)
        image, truth = next(loader)
        logits, coarse = model.with_coarse(image.to(device))
        loss = loss_of(logits, coarse, truth.to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        step += 1
        keep = min(0.998, step / (step + 20))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), model.parameters()):
                slow.lerp_(fast, 1 - keep)
        value = loss.item()
        smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
        if step % 25 == 0:
            print(f"step {step}  {100 * share:.1f} %  loss {smooth:.3f}", flush=True)
        if step % 250 == 0:
            scores = dice_scores(mean, validation, device)
            line = {
                "step": step,
                "minutes": round(share * minutes, 1),
                "loss": round(smooth, 4),
                "dice": {n: round(s, 4) for n, s in zip(NAMES[1:], scores)},
            }
            print(json.dumps(line), flush=True)
            with open(out / "history.jsonl", "a") as history:
                history.write(json.dumps(line) + "\n")
        if step % 50 == 0:
            save(out / "last.pt", checkpoint(model, mean, optimizer, step, share * minutes))
    save(out / "last.pt", checkpoint(model, mean, optimizer, step, minutes))
    print(f"done: {step} steps in {minutes:.0f} minutes, {out / 'last.pt'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, help="folder of *_seg.nii.gz label maps")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the history")
    parser.add_argument(
        "--minutes", type=float, default=90, help="length of the training; the learning rate follows it"
    )
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=SIZE, help="rows and columns of a sample, a multiple of 32")
    parser.add_argument("--workers", type=int, default=1, help="processes that make virtual knees")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the training itself")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="checkpoint of an earlier run to take the first weights from")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
