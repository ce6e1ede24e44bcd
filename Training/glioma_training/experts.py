"""Who the experts are: network, grid, and what they learn from. Their errors should differ, so all of that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .cases import REGIONS, WHOLE
from .networks import DilatedNet, NestedNet, SliceNet, VolumeNet


@dataclass(frozen=True)
class Expert:
    """One expert.

    Attributes:
        id: of its model.
        network: makes the network, untrained.
        spacing: mm of the network's grid in training, array order.
        card_spacing: the same as the model card says it.
        sizes: windows in training, voxels.
        patch: window at inference.
        free_axes: axes of (B, C, D, H, W) whose size the exported network leaves open.
        real: whether real cases follow the generated tumors.
        generated_steps, real_steps: length of the two parts of the training.
        real_rate: learning rate of the second part. real_share: part of its samples that are real.
        kept: share of the weights after the generated tumors in the final ones; the rest is of the second part.
        missed: how much more a missed voxel costs than one too many, in the cross entropy.
        channels, structures: by name; structures in the order of the outputs.
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
    real_rate: float = 2e-3
    real_share: float = 0.75
    kept: float = 0.0
    missed: float = 1.0
    channels: tuple[str, ...] = ("FLAIR",)
    structures: tuple[str, ...] = (WHOLE,)


EXPERTS = {
    expert.id: expert
    for expert in (
        Expert("glioma-volume", VolumeNet, (4.0, 4.0, 4.0), [4.0, 4.0, 4.0], ((40, 52, 40),), (40, 52, 40), (0,),
               True, 200, 250),
        Expert("glioma-slices", SliceNet, (3.0, 3.0, 3.0), [{"min": 3.0, "max": 7.0}, 3.0, 3.0], ((10, 72, 56),),
               (16, 72, 56), (0, 2), True, 250, 300, (1, 1, 1, 2)),
        Expert("glioma-generated", DilatedNet, (5.0, 5.0, 5.0), [5.0, 5.0, 5.0], ((32, 44, 32),), (32, 44, 32), (0,),
               False, 350, 0, missed=4.0),
        Expert("glioma-regions", lambda: NestedNet(2, 3, (12, 24, 48, 96)), (2.0, 2.0, 2.0), [2.0, 2.0, 2.0],
               ((56, 64, 56),), (56, 64, 56), (0,), True, 4000, 150, real_rate=5e-4, real_share=0.5,
               kept=0.5, channels=("FLAIR", "T1c"), structures=REGIONS),
    )
}  # fmt: skip
