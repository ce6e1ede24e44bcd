"""The neural shape decoder: a latent vector makes three feature planes, and a small network reads distances off them.

The layout is that of published knee shape models (Gatti et al. 2023-25), so that their checkpoints can be read: linear
layer, transposed convolutions with layer normalization (and nothing else between them), one convolution with tanh;
plane features are summed, joined by the position, and read by a perceptron that ends in tanh.

Only the worker calls this: it needs torch, which is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Planes reach this much farther than 1 on each side.
_MARGIN = 1 + 0.1 + 1e-5
#: Coordinates that each plane sees: first along its columns, then along its rows.
_PLANES = ((0, 2), (1, 2), (0, 1))


@dataclass
class TriplanarDecoder:
    """Signed distances from a latent vector.

    Attributes:
        weights: ``first`` (linear), ``grow.<n>`` (transposed convolutions), ``norm.<n>``, ``last`` (convolution),
            ``read.<n>`` (linear), each ``.weight`` and ``.bias``.

    Raises:
        ValueError: tensors are missing, or do not fit each other.
    """

    weights: dict[str, torch.Tensor]

    def __post_init__(self):
        try:
            self.latent = self.weights["first.weight"].shape[1]
            self.rounds = sum(name.startswith("grow.") for name in self.weights) // 2
            self.depth = sum(name.startswith("read.") for name in self.weights) // 2
            self.features = self.weights["last.weight"].shape[0] // 3
            self.surfaces = self.weights[f"read.{self.depth - 1}.weight"].shape[0]
            self._try()
        except (KeyError, IndexError, RuntimeError) as error:
            raise ValueError(f"its tensors are no triplanar decoder: {error}") from error

    def _try(self) -> None:
        import torch

        with torch.no_grad():
            like = self.weights["first.weight"]
            self.distances(self.planes(like.new_zeros(1, self.latent)), like.new_zeros(1, 1, 3))

    def to(self, device: str) -> TriplanarDecoder:
        """The same on another device."""
        return TriplanarDecoder({name: tensor.to(device) for name, tensor in self.weights.items()})

    def planes(self, latent: torch.Tensor) -> torch.Tensor:
        """Feature planes (B, 3, features, size, size) of latent vectors (B, latent)."""
        import torch
        from torch.nn import functional

        x = self._linear("first", latent).reshape(len(latent), -1, 2, 2)
        for n in range(self.rounds):
            x = functional.conv_transpose2d(x, *self._pair(f"grow.{n}"), stride=2, padding=1, output_padding=1)
            x = functional.layer_norm(x, x.shape[1:], *self._pair(f"norm.{n}"))
        x = torch.tanh(functional.conv2d(x, *self._pair("last"), padding=1))
        return x.reshape(len(latent), 3, self.features, *x.shape[2:])

    def distances(self, planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Distances (B, N, surfaces) from planes (B, 3, features, size, size) at points (B, N, 3) within -1..1."""
        import torch
        from torch.nn import functional

        total = 0.0
        for number, axes in enumerate(_PLANES):
            where = (points[..., axes] / _MARGIN).clamp(-1, 1)[:, None]
            total = total + functional.grid_sample(
                planes[:, number], where, mode="bilinear", padding_mode="border", align_corners=True
            )
        x = torch.cat([total[:, :, 0].transpose(1, 2), points], -1)
        for n in range(self.depth - 1):
            x = torch.relu(self._linear(f"read.{n}", x))
        return torch.tanh(self._linear(f"read.{self.depth - 1}", x))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        return functional.linear(x, *self._pair(name))

    def _pair(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]


def from_published(state: Mapping[str, torch.Tensor]) -> TriplanarDecoder:
    """The decoder of a published checkpoint; sizes are read off its tensors.

    Args:
        state: the ``model`` of the checkpoint: ``vae_decoder.fc``, ``vae_decoder.layers.*`` (and a second copy of
            these as ``vae_decoder.decoder.*``), ``sdf_decoder.layers.*`` with weight normalization.

    Raises:
        ValueError: another layout.
    """
    state = {name: value for name, value in state.items() if not name.startswith("vae_decoder.decoder.")}
    if any(name.endswith("running_mean") for name in state):
        raise ValueError("it normalizes by batch, and only normalization by layer is supported")
    rounds = sum(name.startswith("vae_decoder.layers.") and name.endswith(".weight") for name in state) // 2
    names = {"vae_decoder.fc": "first", f"vae_decoder.layers.{2 * rounds}.0": "last"}
    names |= {f"vae_decoder.layers.{2 * n}": f"grow.{n}" for n in range(rounds)}
    names |= {f"vae_decoder.layers.{2 * n + 1}": f"norm.{n}" for n in range(rounds)}
    ours = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if layer in names and kind in ("weight", "bias"):
            ours[f"{names[layer]}.{kind}"] = tensor.float()
        elif layer.startswith("sdf_decoder.layers.") and kind in ("weight", "bias", "weight_v"):
            number = layer.removeprefix("sdf_decoder.layers.")
            if kind == "weight_v":  # direction and length of each row, apart
                length, kind = state.get(f"{layer}.weight_g"), "weight"
                if length is None:
                    raise ValueError(f"the tensor {layer}.weight_g is missing")
                tensor = length * tensor / tensor.norm(dim=1, keepdim=True)
            ours[f"read.{number}.{kind}"] = tensor.float()
        elif kind != "weight_g":
            raise ValueError(f"the tensor {name} is not known here")
    if {"last.weight", "read.0.weight"} <= set(ours):
        features, odd = divmod(ours["last.weight"].shape[0], 3)
        if odd or ours["read.0.weight"].shape[1] != features + 3:
            raise ValueError("its planes are not summed, or tell distances of their own: that is not supported")
    return TriplanarDecoder(ours)
