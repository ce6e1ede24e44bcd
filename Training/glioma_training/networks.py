"""The experts' networks: (B, C, D, H, W), as ``cases.prepared`` makes it, to logits (B, structures, D, H, W)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: What was cut away, padding and all that is darker than fluid are one value; so is all that shines.
DARKEST, BRIGHTEST = 1.8, 10.0


def bounded(image: torch.Tensor) -> torch.Tensor:
    """The input of a network, with 0 where nothing is."""
    return image.clamp(DARKEST, BRIGHTEST) - DARKEST


class Block(nn.Module):
    """Convolution (2D or 3D), group normalization where wanted, activation.

    Normalization takes out how bright a slice or volume is as a whole, and a large tumor with it: what leads straight
    from the image to the answer goes without.
    """

    def __init__(self, convolution, inputs: int, outputs: int, stride: int = 1, dilation: int = 1,
                 norm: bool = True) -> None:
        super().__init__()
        self.convolution = convolution(inputs, outputs, 3, stride, dilation, dilation, bias=not norm)
        self.norm = nn.GroupNorm(4, outputs) if norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(self.norm(self.convolution(x)), 0.01)


class UNet(nn.Module):
    """U-Net, two blocks a level on the way down, one on the way up; sizes are multiples of 2 ** (levels - 1)."""

    def __init__(self, convolution, inputs: int, widths: tuple[int, ...], outputs: int = 1) -> None:
        super().__init__()
        self.mode = "trilinear" if convolution is nn.Conv3d else "bilinear"
        self.first = nn.Sequential(
            Block(convolution, inputs, widths[0], norm=False), Block(convolution, widths[0], widths[0], norm=False)
        )
        self.down = nn.ModuleList(
            nn.Sequential(Block(convolution, a, b, 2), Block(convolution, b, b)) for a, b in zip(widths, widths[1:])
        )
        self.narrow = nn.ModuleList(convolution(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(
            Block(convolution, 2 * a, a, norm=level > 0) for level, a in enumerate(widths[:-1])
        )
        self.head = convolution(widths[0], outputs, 1)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = [self.first(x)]
        for step in self.down:
            levels.append(step(levels[-1]))
        return levels

    def decode(self, levels: list[torch.Tensor]) -> torch.Tensor:
        x = levels[-1]
        for level in reversed(range(len(self.down))):
            x = functional.interpolate(self.narrow[level](x), scale_factor=2.0, mode=self.mode, align_corners=False)
            x = self.up[level](torch.cat([x, levels[level]], 1))
        return self.head(x)


class VolumeNet(nn.Module):
    """A 3D U-Net."""

    def __init__(self, channels: int = 1, structures: int = 1, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.net = UNet(nn.Conv3d, channels, widths, structures)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net.decode(self.net.encode(bounded(image)))


class NestedNet(VolumeNet):
    """A 3D U-Net whose structures lie each within the one before: none is more likely than what holds it.

    A structure's probability is that of the one around it times its own within that, so every output learns at every
    voxel. (The smaller of two logits is nested, too, but only that one learns: the enhancing tumor's once stayed
    above the core's for good, and the two came out the same.)
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        own = super().forward(image)
        if self.training:
            own = own.float()  # trained in bfloat16, which cannot tell probabilities near 1 apart
        within = functional.logsigmoid(own).cumsum(1).clamp(max=-1e-6)
        return within - torch.log(-torch.expm1(within))


class SliceNet(nn.Module):
    """A 2D U-Net a slice that sees the slices before and after; its coarsest level mixes further slices in."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 64)) -> None:
        super().__init__()
        self.net = UNet(nn.Conv2d, 3, widths)
        self.across = nn.Conv3d(widths[-1], widths[-1], (3, 1, 1), padding=(1, 0, 0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        batch, _, slices, height, width = image.shape
        around = functional.pad(bounded(image)[:, 0], (0, 0, 0, 0, 1, 1))
        stack = torch.stack([around[:, :-2], around[:, 1:-1], around[:, 2:]], 2)
        levels = self.net.encode(stack.reshape(batch * slices, 3, height, width))
        deep = levels[-1]
        volume = deep.reshape(batch, slices, *deep.shape[1:]).transpose(1, 2)
        mixed = self.across(volume).transpose(1, 2).reshape(deep.shape)
        levels[-1] = deep + functional.leaky_relu(mixed, 0.01)
        return self.net.decode(levels).reshape(batch, 1, slices, height, width)


class DilatedNet(nn.Module):
    """Residual blocks of growing and shrinking dilation at one resolution: context without pooling."""

    def __init__(self, width: int = 16, dilations: tuple[int, ...] = (1, 2, 4, 8, 4, 2, 1)) -> None:
        super().__init__()
        self.first = Block(nn.Conv3d, 1, width, norm=False)
        self.blocks = nn.ModuleList(Block(nn.Conv3d, width, width, 1, d) for d in dilations)
        self.head = nn.Conv3d(width, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(bounded(image))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)
