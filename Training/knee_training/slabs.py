"""Training samples: stacks of neighboring slices of virtual knees, endless and random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from KneeSegLib.virtual_knee import acquisition, anatomy_labels, contrast
from KneeSegLib.virtual_knee.deformation import deform
from KneeSegLib.virtual_knee.tissues import TissueMap, build_tissues

from .label_maps import read_labels, smooth_outlines

#: The model's space: pixel size in mm; slices, and rows and columns of a sample unless the training says otherwise.
PIXEL_MM = 0.4
SLICES = 3
SIZE = 384
UPPER_PERCENTILE = 99.5


def virtual_knee(path: Path, rng: np.random.Generator, strength: float = 1.0) -> TissueMap:
    """A new virtual knee grown from a label map file."""
    labels, spacing = read_labels(path)
    labels = smooth_outlines(anatomy_labels.trim_shafts(labels))
    return build_tissues(deform(labels, spacing, rng, strength=strength), spacing, rng)


def random_slab(
    knee: TissueMap, rng: np.random.Generator, slices: int = SLICES, size: int = SIZE
) -> tuple[torch.Tensor, torch.Tensor]:
    """One training sample: image float32 (1, slices, size, size) scaled to 0..1, truth int64 (slices, size, size)."""
    protocol, scanner = contrast.random_protocol(rng), acquisition.random_scanner(rng)
    depth, height, length = knee.target.shape
    joint_rows = np.flatnonzero((knee.target == anatomy_labels.TIBIAL_CARTILAGE).any((0, 2)))
    joint = joint_rows.mean() if len(joint_rows) else height / 2
    spread = 90.0 if rng.random() < 0.15 else 45.0
    wander = 256 / size  # a wider field of view is placed with more care, else much of it would be empty
    centre = (joint + rng.normal(-20, spread) * wander, length / 2 + rng.normal(0, 35) * wander)
    span = slices * scanner.slice_step
    # Mostly where there is cartilage; now and then anywhere, for what the network must leave alone.
    wanted = np.flatnonzero((knee.target >= anatomy_labels.FEMORAL_CARTILAGE).any((1, 2)))
    if len(wanted) and rng.random() < 0.75:
        first = int(rng.choice(wanted)) - int(rng.integers(0, span))
    else:
        first = int(rng.integers(0, max(1, depth - span + 1)))
    first = min(max(first, 0), max(depth - span, 0))
    pixels = int(np.ceil(size * PIXEL_MM / scanner.pixel_mm)) + 2
    image, truth = acquisition.acquire(
        knee,
        protocol,
        scanner,
        rng,
        first,
        slices,
        centre,
        (pixels, pixels),
        rng.normal(0, 6),
        float(np.exp(rng.normal(0, 0.05))),
    )
    # To the model's pixels, as inference does it.
    step = PIXEL_MM / scanner.pixel_mm
    at = (np.arange(size) - (size - 1) / 2) * step + (pixels - 1) / 2
    line = torch.from_numpy((2 * at / (pixels - 1) - 1).astype(np.float32))
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij")[::-1], -1)[None]
    sample = torch.nn.functional.grid_sample
    image = sample(torch.from_numpy(image)[None], grid, mode="bilinear", align_corners=True)[0]
    truth = sample(torch.from_numpy(truth.astype(np.float32))[None], grid, mode="nearest", align_corners=True)[
        0
    ].long()
    # At inference the window is the whole volume's. Bright soft tissue is about 1 here, so a slab of air and skin
    # does not stretch its window beyond what its volume would have.
    top = max(float(np.percentile(image[:, ::3, ::3].numpy(), UPPER_PERCENTILE)), 1.0) * float(
        np.exp(rng.normal(0.3, 0.3))
    )
    image = (image / max(top, 1e-6)).clamp(0, 1)
    if rng.random() < 0.4:
        image = image ** float(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        image, truth = image.flip(0), truth.flip(0)
    return image[None], truth


class SlabStream(torch.utils.data.IterableDataset):
    """Endless slabs from a pool of virtual knees that is renewed one knee at a time."""

    def __init__(
        self, paths: list[Path], seed: int, size: int = SIZE, pool: int = 8, slabs_per_knee: int = 250
    ) -> None:
        self.paths, self.seed, self.size, self.pool, self.slabs_per_knee = paths, seed, size, pool, slabs_per_knee

    def __iter__(self):
        torch.set_num_threads(1)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        order: list[Path] = []
        knees: list[TissueMap] = []
        while True:
            if not order:
                order = [self.paths[i] for i in rng.permutation(len(self.paths))]
            knees.append(virtual_knee(order.pop(), rng))
            if len(knees) > self.pool:
                knees.pop(0)
            # The pool fills quickly first, so that early samples are not all of one knee.
            for _ in range(self.slabs_per_knee if len(knees) == self.pool else 30):
                yield random_slab(knees[int(rng.integers(len(knees)))], rng, size=self.size)
