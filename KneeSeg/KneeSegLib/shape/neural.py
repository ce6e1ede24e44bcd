"""A neural shape model: an auto-decoder of signed distances (Park et al. 2019) on three feature planes.

Only the worker calls this: it needs torch, which is imported when it is called.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .array_files import read_arrays
from .target import Samples
from .triplanar import TriplanarDecoder, from_published

if TYPE_CHECKING:
    import torch

#: Fitting: steps at most, points a step, and how many steps without progress end it.
_STEPS, _BATCH, _PATIENCE = 600, 4000, 60
#: Loss has to fall by this share to count as progress.
_PROGRESS = 0.005
#: Points that are decoded at once.
_CHUNK = 65536


@dataclass
class NeuralShapeModel:
    """A decoder and the space that it works in.

    Attributes:
        decoder: latent vector and points within -1..1 -> signed distances there.
        centre, radius: a point p of the model's space lies at ``(p - centre) / radius`` for the decoder.
        cut: height in the model's space above which there is no bone.
        low, high: (3,) corners of the box that holds the bone.
        step: of the grid on which surfaces are made.
        near: distances are cut off here, in the decoder's unit.
        rate, stiffness: of the fit: learning rate, and cost of the mean squared latent number.
        spread: standard deviation of the latent numbers over the population; None where it is not known.
        axes: (3, 3) rotation from the model's axes to those of the knee's frame.
        unit_size: bones are brought to the published models' centre and size (see ``fit.lay_on``).
    """

    decoder: TriplanarDecoder
    centre: np.ndarray
    radius: float
    cut: float
    low: np.ndarray
    high: np.ndarray
    step: float
    near: float = 0.1
    rate: float = 0.005
    stiffness: float = 1e-4
    spread: np.ndarray | None = None
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    unit_size: bool = False

    @property
    def size(self) -> int:
        """How many numbers describe a bone."""
        return self.decoder.latent

    @property
    def origin(self) -> np.ndarray:
        """Place of the first point of the grid on which surfaces are made."""
        return self.low

    @classmethod
    def read(cls, content: bytes) -> NeuralShapeModel:
        """Read a model of our own.

        Raises:
            ValueError: not such a file.
        """
        import torch

        arrays = read_arrays(content)
        weights = {n[8:]: torch.from_numpy(a.astype(np.float32)) for n, a in arrays.items() if n[:8] == "decoder."}
        decoder = TriplanarDecoder(weights)
        try:
            numbers = {n: float(arrays[n]) for n in ("radius", "cut", "step", "near", "rate", "stiffness")}
            places = {n: arrays[n].astype(np.float64) for n in ("centre", "low", "high", "spread")}
        except KeyError as error:
            raise ValueError(f"it is no neural shape model ({error})") from error
        return cls(decoder, **numbers, **places)

    def write(self, path) -> None:
        """Write the decoder in half precision."""
        tensors = self.decoder.weights.items()
        state = {f"decoder.{name}": tensor.detach().cpu().numpy().astype(np.float16) for name, tensor in tensors}
        more = {n: getattr(self, n) for n in
                ("centre", "radius", "cut", "low", "high", "step", "near", "rate", "stiffness", "spread")}  # fmt: skip
        np.savez_compressed(path, **state, **more)

    def fit(
        self, samples: Samples, seed: int = 0, progress: Callable[[float], None] | None = None
    ) -> tuple[np.ndarray, str]:
        """The latent vector that tells the samples best, and how it was found.

        Adam on the mean absolute error of the distances, cut off at ``near``, plus ``stiffness`` times the mean
        squared latent number, from the zero vector. Ends early when a smoothed loss no longer falls.
        """
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        decoder = self.decoder.to(device)
        generator = torch.Generator().manual_seed(seed)
        points = torch.from_numpy(((samples.points - self.centre) / self.radius).astype(np.float32))
        wanted = torch.from_numpy((samples.distances / self.radius).astype(np.float32)).clamp(-self.near, self.near)
        wanted = wanted[:, : decoder.surfaces]
        latent = torch.zeros(1, self.size, device=device, requires_grad=True)
        optimizer = torch.optim.Adam([latent], lr=self.rate)
        best, smooth, since, steps = np.inf, None, 0, 0
        for steps in range(1, _STEPS + 1):
            chosen = torch.randint(len(points), (_BATCH,), generator=generator)
            found = decoder.distances(decoder.planes(latent), points[chosen][None].to(device))[0]
            error = (found.clamp(-self.near, self.near) - wanted[chosen].to(device)).abs().mean()
            loss = error + self.stiffness * (latent**2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            smooth = error.item() if smooth is None else 0.9 * smooth + 0.1 * error.item()
            if smooth < (1 - _PROGRESS) * best:
                best, since = smooth, 0
            else:
                since += 1
            if progress is not None and steps % 10 == 0:
                progress(steps / _STEPS)
            if since >= _PATIENCE:
                break
        return latent.detach().cpu().numpy()[0].astype(np.float64), f"Adam, {steps} steps on the {device.upper()}"

    def field(self, numbers: np.ndarray) -> np.ndarray:
        """Signed distances (surfaces, X, Y, Z) of a bone on the grid ``low`` to ``high``, in the model's unit.

        Every fourth point first; near a surface then all of them.
        """
        import torch

        shape = tuple(int(n) // 4 * 4 + 5 for n in (self.high - self.low) / self.step)
        axes = [torch.arange(n) for n in shape]
        with torch.no_grad():
            latent = torch.from_numpy(np.asarray(numbers, np.float32))[None]
            planes = self.decoder.planes(latent)
            coarse = self._decode(planes, torch.cartesian_prod(*(a[::4] for a in axes)))
            coarse = coarse.T.reshape(1, -1, *(len(a[::4]) for a in axes))
            field = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]
            near = (field.abs() < 4 * self.step).any(0)
            field[:, near] = self._decode(planes, torch.nonzero(near)).T
        return field.numpy()

    def _decode(self, planes: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Distances (N, surfaces), in the model's unit, at points (N, 3) of the grid."""
        import torch

        places = torch.from_numpy(self.low).float() + index.float() * self.step
        places = (places - torch.from_numpy(self.centre).float()) / self.radius
        parts = [
            self.decoder.distances(planes, part[None])[0] for part in places.split(_CHUNK)
        ]
        return torch.cat(parts) * self.radius


def read_published(content: bytes) -> NeuralShapeModel:
    """The model in a published checkpoint (``{"epoch", "model", "optimizer"}``).

    Its bones are right ones in LPS axes, with a radius of 1 about the mean of their surface.

    Raises:
        ValueError: it would run code, or has another layout.
    """
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, pickle's own among them
        raise ValueError(f"it cannot be read without running code from it ({type(error).__name__})") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError("it holds no table of tensors")
    model = NeuralShapeModel(
        from_published(state), np.zeros(3), 1.0, np.inf, np.full(3, -1.05), np.full(3, 1.05), 2.1 / 128,
        axes=np.diag([-1.0, -1.0, 1.0]), unit_size=True,
    )  # fmt: skip
    mean = model.field(np.zeros(model.size))[0]
    if not (mean.min() < 0 < mean.max()):
        raise ValueError("its mean has no surface")
    # Its bones are cut flat: the mean's highest point is the cut.
    inside = np.nonzero((mean < 0).any((0, 1)))[0]
    model.cut = float(model.low[2] + inside[-1] * model.step)
    return model
