"""Where the experts disagree so much that a person should look: a list of places, largest first.

Two experts' borders always differ by a voxel or so, and those differences hang together all around a lesion. So a hot
spot is one of two things: a place as large as ``Limits.thickness_mm`` across in which the experts disagree ("border"),
found by opening the set of disputed voxels; or disputed voxels that touch nothing all agree on ("apart"), such as a
lesion that only some have seen, however thin it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .expert_panel import ExpertPanel

BORDER, APART = "border", "apart"
_CORNERS = np.ones((3, 3, 3), bool)
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class Limits:
    """What counts as a hot spot.

    Attributes:
        thickness_mm: places of dispute that are thinner than this, along a border, are left out.
        smallest_mm3: smaller places are left out.
        most: no more than this many, the largest.
    """

    thickness_mm: float = 3.0
    smallest_mm3: float = 20.0
    most: int = 200


@dataclass(frozen=True)
class HotSpot:
    """One place of disagreement. Places do not overlap.

    Attributes:
        number: 1, 2, … by falling volume; the value of its voxels in the image of :func:`find_hot_spots`.
        structure: the one in dispute; of nested regions the outermost.
        kind: "border" or "apart" (see the module).
        voxels, volume_mm3: its size.
        center_lps: its voxel nearest to its center of mass, LPS, mm.
        center_ijk: the same voxel's index in the image.
        box_ijk: first and last index, (i, j, k) each, both inside.
        says: expert -> what it mostly says there: the innermost structure in which it puts at least half of the
            place, or "" for none of them.
        shares: expert -> part of the place that it calls ``structure``, 0..1; only experts who know the structure.
        fused_share: part of the place that the fusion calls ``structure``, 0..1.
    """

    number: int
    structure: str
    kind: str
    voxels: int
    volume_mm3: float
    center_lps: tuple[float, float, float]
    center_ijk: tuple[int, int, int]
    box_ijk: tuple[tuple[int, int, int], tuple[int, int, int]]
    says: Mapping[str, str]
    shares: Mapping[str, float]
    fused_share: float

    @property
    def center_ras(self) -> tuple[float, float, float]:
        """``center_lps`` as MRML has it: RAS, mm."""
        x, y, z = self.center_lps
        return -x, -y, z

    @property
    def in_favor(self) -> list[str]:
        """Experts who call at least half of the place ``structure``."""
        return [expert for expert, share in self.shares.items() if share >= 0.5]

    @property
    def against(self) -> list[str]:
        """Experts who call less than half of the place ``structure``."""
        return [expert for expert, share in self.shares.items() if share < 0.5]

    def to_record(self) -> dict:
        """As JSON values; ``in_favor``, ``against`` and ``center_ras`` are there to be read, not needed back."""
        return asdict(self) | {"center_ras": self.center_ras, "in_favor": self.in_favor, "against": self.against}

    @classmethod
    def from_record(cls, record: Mapping) -> HotSpot:
        """The inverse of :meth:`to_record`."""
        fields = {name: record[name] for name in cls.__dataclass_fields__}
        for name in ("center_lps", "center_ijk"):
            fields[name] = tuple(fields[name])
        fields["box_ijk"] = tuple(tuple(corner) for corner in fields["box_ijk"])
        return cls(**fields)


def find_hot_spots(
    panel: ExpertPanel, fused: Mapping[str, np.ndarray], limits: Limits = Limits()
) -> tuple[list[HotSpot], np.ndarray]:
    """The places of disagreement, largest first.

    Args:
        panel: the opinions.
        fused: structure -> the fused mask, bool, inside the panel's box.

    Returns:
        the hot spots, and an array (uint16, inside the panel's box) with the number of each at its voxels.
    """
    shape = tuple(part.stop - part.start for part in panel.box)
    taken = np.zeros(shape, bool)
    found = []  # (structure, kind, box, mask in the box)
    for structure in panel.structures:  # the outermost region first: it takes what is disputed at several levels
        patterns = panel.patterns(structure)
        if len(patterns.experts) < 2:
            continue
        yes = patterns.votes.sum(axis=1)
        disputed = patterns.map((yes > 0) & (yes < len(patterns.experts))) & ~taken
        agreed = patterns.map(yes == len(patterns.experts))
        taken |= disputed
        found += [(structure, *place) for place in _places(disputed, agreed, panel, limits)]
    found.sort(key=lambda place: -int(place[3].sum()))
    found = found[: limits.most]
    numbers = np.zeros(shape, np.uint16)
    for number, (_, _, box, mask) in enumerate(found, start=1):
        numbers[box][mask] = number
    return [
        _hot_spot(number, place, panel, fused) for number, place in enumerate(found, start=1)
    ], numbers


def _places(disputed, agreed, panel: ExpertPanel, limits: Limits):
    """``(kind, box, mask in the box)`` of each place."""
    parts, _ = ndimage.label(disputed, _CORNERS)
    near = np.unique(parts[ndimage.binary_dilation(agreed, _FACES)])
    least = max(1, int(np.ceil(limits.smallest_mm3 / panel.voxel_mm3 - 1e-9)))
    for value, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == value
        if int(part.sum()) < least:
            continue
        if value not in near:
            yield APART, box, part
            continue
        for inner_box, inner in _thick_places(part, panel.spacing, limits.thickness_mm):
            if int(inner.sum()) >= least:
                edges = zip(box, inner_box, strict=True)
                yield BORDER, tuple(slice(a.start + b.start, a.start + b.stop) for a, b in edges), inner


def _thick_places(part: np.ndarray, spacing: np.ndarray, thickness_mm: float):
    """Connected places left by an opening with a ball of diameter ``thickness_mm``: ``(box, mask in the box)``.

    A voxel reaches half of its size to each side of its center, so a plate of n voxels is n times the spacing thick.
    """
    depth = ndimage.distance_transform_edt(np.pad(part, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    # Depth counts from center to center: in the middle of a plate of n voxels it is (n + 1) / 2 of them. One slice
    # that is thick in itself counts with its thickness, so the smallest spacing decides.
    core = depth >= 0.5 * (thickness_mm + spacing.min()) - 1e-6
    if not core.any():
        return
    cores, count = ndimage.label(core, _CORNERS)
    index = np.argwhere(part)
    seeds = np.argwhere(core)
    # Back to the border of the place, each voxel to the nearest core.
    distance, nearest = cKDTree(seeds * spacing).query(index * spacing, distance_upper_bound=0.5 * thickness_mm + 1e-6)
    close = np.isfinite(distance)
    values = np.zeros(part.shape, np.int32)
    values[tuple(index[close].T)] = cores[tuple(seeds[nearest[close]].T)]
    for value, box in enumerate(ndimage.find_objects(values, max_label=count), start=1):
        if box is not None:
            yield box, values[box] == value


def _hot_spot(number, place, panel: ExpertPanel, fused) -> HotSpot:
    structure, kind, box, mask = place
    index = np.argwhere(mask) + [part.start for part in box]
    middle = index[np.argmin((((index - index.mean(axis=0)) * panel.spacing) ** 2).sum(axis=1))]
    offset = np.array([part.start for part in panel.box])
    at = tuple(index.T)
    shares = {}
    patterns = panel.patterns(structure)
    votes = patterns.votes[patterns.index[at]]
    for column, expert in enumerate(patterns.experts):
        shares[expert] = round(float(votes[:, column].mean()), 4)
    first, last = (index + offset).min(axis=0)[::-1], (index + offset).max(axis=0)[::-1]
    return HotSpot(
        number=number,
        structure=structure,
        kind=kind,
        voxels=len(index),
        volume_mm3=len(index) * panel.voxel_mm3,
        center_lps=panel.center_lps(middle),
        center_ijk=tuple(int(i) for i in (middle + offset)[::-1]),
        box_ijk=(tuple(map(int, first)), tuple(map(int, last))),
        says=_sayings(panel, at),
        shares=shares,
        fused_share=round(float(fused[structure][at].mean()), 4),
    )


def _sayings(panel: ExpertPanel, at) -> dict[str, str]:
    """What each expert mostly says at some voxels: the last of the structures (regions come first) that holds."""
    says = {expert: "" for expert in panel.experts}
    for structure in panel.structures:
        patterns = panel.patterns(structure)
        votes = patterns.votes[patterns.index[at]].mean(axis=0)
        for expert, share in zip(patterns.experts, votes, strict=True):
            if share >= 0.5:
                says[expert] = structure
    return says
