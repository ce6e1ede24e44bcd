"""From probabilities on the model's grid, plane by plane, to labels on the image's grid.

Probabilities are interpolated, then compared: interpolated labels would have steps of the model's voxels. Classes are
taken one after the other and planes in groups, so the probabilities of all classes on the image's grid never exist at
once unless they are asked for.
"""

from __future__ import annotations

import numpy as np

from .resampling import AxisGrid

_CHUNK_VOXELS = 4_000_000


class LabelAssembly:
    """Collects planes of probabilities and fills the label map.

    Args:
        grids: image and model grid along each array axis.
        box: ``(first, last)`` along each axis: the model voxels that are predicted.
        region: ``(first, last)`` along each axis: the image voxels that get an answer; the rest is background.
        structures: the card's ``{name, channel, value}``.
        activation: ``softmax`` or ``sigmoid``.
        want_probabilities: keep ``probabilities[name]``, float32 on the image's grid.
    """

    def __init__(self, grids: list[AxisGrid], box, region, structures, activation, want_probabilities=False):
        shape = [grid.count for grid in grids]
        largest = max(entry["value"] for entry in structures)
        self.labels = np.zeros(shape, np.uint8 if largest < 256 else np.uint16)
        self.probabilities: dict[str, np.ndarray] | None = None
        if want_probabilities:
            self.probabilities = {
                entry["name"]: np.full(shape, float(entry["value"] == 0), np.float32) for entry in structures
            }
        self._structures, self._activation, self._region = structures, activation, region
        self._weights = [grid.to_image(*region[axis], *box[axis]) for axis, grid in enumerate(grids)]
        self._needed = np.where(self._weights[0].weight > 0, self._weights[0].index, 0).max(1)
        self._held: np.ndarray | None = None
        self._held_first = 0
        self._done = 0

    def add(self, first: int, planes: np.ndarray) -> None:
        """Take the next planes: float32 (K, planes, H, W), beginning at plane ``first`` of the box."""
        if self._held is None:
            self._held, self._held_first = planes, first
        else:
            self._held = np.concatenate([self._held, planes], 1)
        available = first + planes.shape[1]
        rows_ready = int(np.searchsorted(self._needed, available, "left"))
        in_plane = (self._region[1][1] - self._region[1][0]) * (self._region[2][1] - self._region[2][0])
        rows = max(1, _CHUNK_VOXELS // max(1, in_plane))
        while self._done < rows_ready:
            last = min(self._done + rows, rows_ready)
            self._fill(self._done, last)
            self._done = last
        if self._done < len(self._needed):
            keep = int(self._weights[0].index[self._done].min())
            # A copy lets go of the planes that are done.
            self._held = self._held[:, keep - self._held_first :].copy()
            self._held_first = keep
        else:
            self._held = None

    def finish(self) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
        """Labels and, where asked for, the probability of each structure, as arrays in the model's axes."""
        return self.labels, self.probabilities

    def _fill(self, first: int, last: int) -> None:
        weights = self._weights[0].rows(first, last)
        low, high = int(weights.index.min()), int(weights.index.max()) + 1
        high = min(high, self._held_first + self._held.shape[1])
        weights = type(weights)(np.clip(weights.index, low, high - 1) - low, weights.weight)
        begin = self._region[0][0]
        place = (slice(begin + first, begin + last), *(slice(*self._region[axis]) for axis in (1, 2)))
        labels, best = None, None
        for entry in self._structures:
            values = self._held[int(entry["channel"]), low - self._held_first : high - self._held_first]
            for axis in range(3):
                values = (weights if axis == 0 else self._weights[axis]).apply(values, axis)
            if self.probabilities is not None:
                self.probabilities[entry["name"]][place] = values
            if labels is None:
                labels = np.zeros(values.shape, self.labels.dtype)
                best = np.full(values.shape, 0.5 if self._activation == "sigmoid" else -np.inf, np.float32)
            better = values > best
            labels[better] = entry["value"]
            if self._activation != "sigmoid":
                np.copyto(best, values, where=better)
        self.labels[place] = labels
