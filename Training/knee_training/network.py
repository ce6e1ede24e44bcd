"""The embedded knee network: a 2D U-Net a slice, whose coarse levels look at the neighboring slices too.

Knee scans have fine pixels and thick slices of very different thickness (0.7 to 4.5 mm). Convolving within slices at
full resolution, and across slices only where pixels are coarse (1.6 mm and more), fits that and is cheap on a CPU.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Convolution, group normalization, activation; ``stride`` 2 halves rows and columns."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(self.norm(self.convolution(x)), 0.01)


class AcrossSlices(nn.Module):
    """Residual mixing of each pixel with the same pixel one slice before and after."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: torch.Tensor, slices: int) -> torch.Tensor:
        count, channels, height, width = x.shape
        stack = x.reshape(count // slices, slices, channels, height, width).permute(0, 2, 1, 3, 4)
        mixed = self.convolution(stack).permute(0, 2, 1, 3, 4).reshape(count, channels, height, width)
        return x + functional.leaky_relu(self.norm(mixed), 0.01)


class KneeNet(nn.Module):
    """(B, 1, D, H, W) image -> (B, classes, D, H, W) logits; H and W are multiples of 32.

    Two by two pixels are folded into channels on the way in and unfolded on the way out: nothing is lost, and the
    costly full-resolution layers shrink to one small correction of the logits by the image.
    """

    def __init__(self, classes: int = 7, widths: tuple[int, ...] = (32, 64, 96, 128, 160)) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(Block(4, widths[0]), Block(widths[0], widths[0]))
        self.down = nn.ModuleList(Block(a, b, 2) for a, b in zip(widths, widths[1:]))
        self.encode = nn.ModuleList(Block(b, b) for b in widths[1:])
        self.across = nn.ModuleList(AcrossSlices(b) for b in widths[1:])
        # At the coarsest level a few cheap layers let every place see the whole window.
        self.context = nn.ModuleList(Block(widths[-1], widths[-1]) for _ in range(3))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.decode = nn.ModuleList(Block(2 * a, a) for a in widths[:-1])
        self.refine = nn.ModuleList(Block(a, a) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4 * classes, 1)
        self.correct = nn.Conv2d(classes + 1, classes, 3, padding=1)
        # Thin cartilage is decided by single pixels: a last look at logits and image together, at full resolution.
        self.sharpen = nn.Sequential(
            nn.Conv2d(classes + 1, 16, 3, padding=1), nn.LeakyReLU(0.01), nn.Conv2d(16, classes, 3, padding=1)
        )
        nn.init.zeros_(self.sharpen[2].weight)
        self.coarse_head = nn.Conv2d(widths[1], classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.with_coarse(image)[0]

    def with_coarse(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits at full and at a quarter of the resolution (the latter only guides the training)."""
        batch, channels, slices, height, width = image.shape
        pixels = image.permute(0, 2, 1, 3, 4).reshape(batch * slices, channels, height, width)
        x = functional.pixel_unshuffle(pixels, 2).contiguous(memory_format=torch.channels_last)
        skips = [self.stem(x)]
        for down, encode, across in zip(self.down, self.encode, self.across):
            skips.append(across(encode(down(skips[-1])), slices))
        x = skips.pop()
        for block in self.context:
            x = x + block(x)
        coarse = x
        for level in reversed(range(len(self.down))):
            x = functional.interpolate(self.narrow[level](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.refine[level](self.decode[level](torch.cat([x, skips.pop()], 1)))
            if level == 1:
                coarse = self.coarse_head(x)
        logits = functional.pixel_shuffle(self.head(x), 2)
        both = torch.cat([logits, pixels], 1)
        logits = logits + self.correct(both) + self.sharpen(both)
        return self._stack(logits, batch, slices), self._stack(coarse, batch, slices)

    @staticmethod
    def _stack(x: torch.Tensor, batch: int, slices: int) -> torch.Tensor:
        return x.reshape(batch, slices, *x.shape[1:]).permute(0, 2, 1, 3, 4)
