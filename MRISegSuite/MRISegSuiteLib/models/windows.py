"""Sliding windows over a volume that may be larger than memory: MONAI's inferer, slab by slab."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: The stitched probabilities of one slab take at most about this much.
SLAB_BYTES = 768 << 20


@dataclass(frozen=True)
class WindowSettings:
    """How windows are laid and blended (sizes in voxels, array order)."""

    patch: tuple[int, int, int]
    overlap: tuple[float, float, float]
    blending: str
    batch: int
    mirror_axes: tuple[int, ...]
    device: str
    #: ``softmax`` or ``sigmoid``: probabilities are blended. ``none``: logits are.
    activation: str
    channels: int
    slab_bytes: int = SLAB_BYTES


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: as MONAI's ``dense_patch_slices`` lays them."""
    if size <= patch:
        return [0]
    step = max(1, int(patch * (1 - overlap)))
    count = math.ceil((size - patch) / step) + 1
    return [min(index * step, size - patch) for index in range(count)]


def count_runs(shape, settings: WindowSettings) -> int:
    """How often the network is called for a volume of this shape, overlapping slabs included."""
    in_plane = math.prod(
        len(window_starts(shape[axis], settings.patch[axis], settings.overlap[axis])) for axis in (1, 2)
    )
    runs = 0
    for first, last, _, _ in slabs(shape, settings):
        windows = len(window_starts(last - first, settings.patch[0], settings.overlap[0])) * in_plane
        runs += math.ceil(windows / settings.batch)
    return runs


def slabs(shape, settings: WindowSettings) -> list[tuple[int, int, int, int]]:
    """Parts of a volume along its first axis: ``(first, last, core_first, core_last)``.

    The cores follow each other without a gap. A part holds exactly the windows of the whole volume that touch its
    core, so the answer in the core is the same as without slabs.
    """
    depth, patch = shape[0], settings.patch[0]
    plane_bytes = 4 * (settings.channels + 2) * max(shape[1], settings.patch[1]) * max(shape[2], settings.patch[2])
    planes = max(1, settings.slab_bytes // plane_bytes)
    if depth <= max(planes, patch):
        return [(0, depth, 0, depth)]
    starts = window_starts(depth, patch, settings.overlap[0])
    core = max(planes - 2 * patch, patch)
    parts = []
    for core_first in range(0, depth, core):
        core_last = min(core_first + core, depth)
        touching = [start for start in starts if start < core_last and start + patch > core_first]
        parts.append((touching[0], touching[-1] + patch, core_first, core_last))
    return parts


def predict(
    network, volume: np.ndarray, settings: WindowSettings, on_run: Callable[[], None]
) -> Iterator[tuple[int, np.ndarray]]:
    """Run the network over a volume.

    Args:
        network: called with float32 (B, C, D, H, W) on ``settings.device``; gives logits.
        volume: float32 (C, D, H, W).
        on_run: called before each run of the network; may raise to stop.

    Yields:
        ``(first plane, float32 (K, planes, H, W))``, from front to back.
    """
    import torch
    from monai.inferers.inferer import SlidingWindowInferer

    def predictor(window):
        on_run()
        # A copy: with one window a run MONAI passes a view of the image, and a network may work in place.
        return _averaged_over_mirrors(network, window.clone(), settings)

    # Windows are computed on the device, the stitched answer (the large one) stays in main memory.
    inferer = SlidingWindowInferer(
        settings.patch,
        sw_batch_size=settings.batch,
        overlap=settings.overlap,
        mode=settings.blending,
        sw_device=torch.device(settings.device),
        device=torch.device("cpu"),
        progress=False,
    )
    network.to(settings.device)
    with torch.inference_mode():
        for first, last, core_first, core_last in slabs(volume.shape[1:], settings):
            part = torch.from_numpy(np.ascontiguousarray(volume[:, first:last]))[None]
            answer = inferer(part, predictor)[0]
            yield core_first, answer[:, core_first - first : core_last - first].numpy()


def _averaged_over_mirrors(network, window, settings):
    import torch

    total = None
    for axes in _subsets(settings.mirror_axes):
        dimensions = [axis + 2 for axis in axes]
        logits = network(torch.flip(window, dimensions) if axes else window)
        if isinstance(logits, (tuple, list)):
            logits = logits[0]
        answer = _activated(logits.float(), settings.activation)
        answer = torch.flip(answer, dimensions) if axes else answer
        total = answer if total is None else total + answer
    return total / 2 ** len(settings.mirror_axes)


def _activated(logits, activation):
    if activation == "softmax":
        return logits.softmax(1)
    return logits.sigmoid() if activation == "sigmoid" else logits


def _subsets(axes):
    for bits in range(2 ** len(axes)):
        yield [axis for place, axis in enumerate(axes) if bits >> place & 1]
