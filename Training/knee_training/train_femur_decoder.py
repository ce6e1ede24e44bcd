"""Training of the neural femur shape model: decoder and one latent vector a bone, together."""

from __future__ import annotations

import math
import time

import numpy as np
import torch

from KneeSegLib.shape.linear import LinearShapeModel
from KneeSegLib.shape.neural import NeuralShapeModel
from KneeSegLib.shape.target import PlacedTarget
from KneeSegLib.shape.triplanar import TriplanarDecoder

CHANNELS, FEATURES, HIDDEN = (96, 96, 64, 48, 32), 24, (96, 96)
#: Points kept of each bone, points and bones of a step.
KEPT, POINTS, BONES = 120_000, 4096, 6
RATE, LATENT_RATE, NEAR = 2e-3, 4e-3, 0.1


def new_decoder(latent: int) -> TriplanarDecoder:
    """A decoder with random weights, as torch begins such layers."""
    layers = {"first": torch.nn.Linear(latent, 4 * CHANNELS[0])}
    for n, (a, b) in enumerate(zip((CHANNELS[0], *CHANNELS), CHANNELS)):
        layers[f"grow.{n}"] = torch.nn.ConvTranspose2d(a, b, 3, 2, 1, 1)
        layers[f"norm.{n}"] = torch.nn.LayerNorm([b, 2 ** (n + 2), 2 ** (n + 2)])
    layers["last"] = torch.nn.Conv2d(CHANNELS[-1], 3 * FEATURES, 3, padding=1)
    widths = (FEATURES + 3, *HIDDEN, 2)
    for n, (a, b) in enumerate(zip(widths, widths[1:])):
        layers[f"read.{n}"] = torch.nn.Linear(a, b)
    return TriplanarDecoder(
        {f"{name}.{kind}": tensor for name, layer in layers.items() for kind, tensor in layer.named_parameters()}
    )


def train(linear: LinearShapeModel, placed: list[PlacedTarget], minutes: float, seed: int) -> NeuralShapeModel:
    """A decoder of as many numbers as the linear model has, for the same bones in the same space."""
    torch.manual_seed(seed)
    size = (np.array(linear.mean.shape[1:]) - 1) * linear.step
    centre, radius = linear.origin + size / 2, float(size.max() / 2)
    points, wanted = [], []
    for number, one in enumerate(placed):
        samples = one.sample(KEPT, seed + number)
        points.append(torch.from_numpy(((samples.points - centre) / radius).astype(np.float32)))
        wanted.append(torch.from_numpy((samples.distances / radius).astype(np.float32)).clamp(-NEAR, NEAR))
    decoder = new_decoder(linear.size)
    latents = torch.nn.Embedding(len(placed), linear.size)
    torch.nn.init.normal_(latents.weight, std=0.1)
    optimizer = torch.optim.Adam(
        [{"params": list(decoder.weights.values()), "lr": RATE}, {"params": latents.parameters(), "lr": LATENT_RATE}]
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    begin, step, smooth = time.time(), 0, None
    while (share := (time.time() - begin) / 60 / minutes) < 1:
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * min(1, (step + 1) / 50) * (0.5 * (1 + math.cos(math.pi * share)) * 0.99 + 0.01)
        bones = torch.randperm(len(placed))[:BONES]
        picks = [torch.randint(len(points[b]), (POINTS,)) for b in bones]
        where = torch.stack([points[b][p] for b, p in zip(bones, picks)])
        truth = torch.stack([wanted[b][p] for b, p in zip(bones, picks)])
        latent = latents(bones)
        found = decoder.distances(decoder.planes(latent), where)
        error = (found.clamp(-NEAR, NEAR) - truth).abs().mean()
        loss = error + 1e-4 * (latent**2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.weights.values(), 1.0)
        optimizer.step()
        step += 1
        smooth = error.item() if smooth is None else 0.98 * smooth + 0.02 * error.item()
        if step % 200 == 0:
            print(f"step {step}  {100 * share:.0f} %  error {smooth * radius:.3f} mm", flush=True)
    return NeuralShapeModel(
        decoder, centre, radius, linear.cut, linear.origin, linear.origin + size, 1.0, NEAR,
        spread=latents.weight.detach().std(0).numpy(),
    )  # fmt: skip
