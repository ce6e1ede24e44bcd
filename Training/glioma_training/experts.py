"""Who the experts are: network, grid, and what they learn from. Their errors should differ, so all of that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .networks import DilatedNet, SliceNet, VolumeNet


@dataclass(frozen=True)
class Expert:
    """One expert.

    Attributes:
        id: of its model.
        network: makes the network, untrained.
        spacing: mm of the network's grid in training, array order.
        card_spacing: the same as the model card says it.
        sizes: windows in training, voxels; multiples of 8.
        patch: window at inference.
        free_axes: axes of (B, C, D, H, W) whose size the exported network leaves open.
        real: whether real cases follow the generated tumors.
        generated_steps, real_steps: length of the two parts of the training.
        slice_steps: slice distances that training imitates, in slices of the grid.
    """

    id: str
    network: Callable[[], torch.nn.Module]
    spacing: tuple[float, float, float]
    card_spacing: list
    sizes: tuple[tuple[int, int, int], ...]
    patch: tuple[int, int, int]
    free_axes: tuple[int, ...]
    real: bool
    generated_steps: int
    real_steps: int
    slice_steps: tuple[int, ...] = (1,)


EXPERTS = {
    expert.id: expert
    for expert in (
        Expert("glioma-volume", VolumeNet, (3.0, 3.0, 3.0), [3.0, 3.0, 3.0], ((48, 64, 48), (56, 72, 56)),
               (56, 72, 56), (0,), True, 300, 120),
        Expert("glioma-slices", SliceNet, (2.0, 2.0, 2.0), [{"min": 2.0, "max": 7.0}, 2.0, 2.0],
               ((10, 112, 96),), (16, 112, 96), (0, 2), True, 300, 160, (1, 1, 2, 3)),
        Expert("glioma-generated", DilatedNet, (4.0, 4.0, 4.0), [4.0, 4.0, 4.0], ((40, 52, 40),),
               (40, 52, 40), (0,), False, 320, 0),
    )
}  # fmt: skip
