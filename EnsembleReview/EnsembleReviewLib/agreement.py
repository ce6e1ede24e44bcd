"""How well the experts agree on a structure, and how far the fused volume depends on any one of them.

Agreement is not accuracy: experts trained on the same data are wrong together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from MRISegSuiteLib.measures import jackknife
from MRISegSuiteLib.measures.surface_distance import Surface

from .expert_panel import ExpertPanel
from .fusion.methods import Fusion, FusionSettings, fused_mask, fused_volume_mm3, pairwise_dice


@dataclass(frozen=True)
class Pair:
    """Two experts on one structure. Distances in mm; infinity where only one of them sees the structure."""

    first: str
    second: str
    dice: float
    surface_dice: float
    hd95_mm: float
    assd_mm: float
    independent: bool


@dataclass(frozen=True)
class Interval:
    """A jackknife estimate: ``value`` plus and minus ``half_width`` (t quantile times ``standard_error``)."""

    value: float
    standard_error: float
    half_width: float
    left_out: dict[str, float] = field(default_factory=dict)

    @property
    def low(self) -> float:
        return self.value - self.half_width

    @property
    def high(self) -> float:
        return self.value + self.half_width


@dataclass(frozen=True)
class Agreement:
    """Agreement on one structure.

    Attributes:
        structure: its name.
        voices: number of independent opinions on it.
        pairs: every two experts.
        volumes_mm3: expert -> volume.
        volume_cv: standard deviation (n - 1) by mean of the volumes, one for each voice; NaN for fewer than two, and
            0 where all are empty.
        kappa: Fleiss' kappa in the union of all masks; NaN where it is not defined.
        dice_to_others: expert -> Dice with the fusion of all others; with the fusion it is part of it would flatter.
        volume: of the fusion, in mm3, with the panel-disagreement interval where there are three voices.
    """

    structure: str
    voices: int
    pairs: list[Pair]
    volumes_mm3: dict[str, float]
    volume_cv: float
    kappa: float
    dice_to_others: dict[str, float]
    volume: Interval

    def over_pairs(self, measure: str) -> list[float]:
        """The values of a measure ("dice", "hd95_mm" …) over the pairs of independent experts."""
        return [getattr(pair, measure) for pair in self.pairs if pair.independent]


def agreement_on(
    panel: ExpertPanel, fusion: Fusion, structure: str, tolerance_mm: float = 1.0
) -> Agreement:
    """All measures of agreement on one structure.

    Args:
        panel, fusion: the opinions and what was made of them.
        structure: one of the panel's.
        tolerance_mm: of the surface Dice.
    """
    patterns = panel.patterns(structure)
    voices = panel.voices_on(structure)
    sizes = patterns.counts @ patterns.votes * panel.voxel_mm3
    volumes = dict(zip(patterns.experts, map(float, sizes), strict=True))
    return Agreement(
        structure,
        len(voices),
        _pairs(panel, structure, tolerance_mm),
        volumes,
        coefficient_of_variation([float(np.mean([volumes[expert] for expert in group])) for group in voices]),
        fleiss_kappa_in_union(patterns.votes, patterns.counts, _voice_numbers(panel, structure)),
        _dice_to_others(panel, structure, fusion.settings),
        jackknife_volume(panel, fusion, structure),
    )


def _pairs(panel: ExpertPanel, structure: str, tolerance_mm: float) -> list[Pair]:
    patterns = panel.patterns(structure)
    dice = pairwise_dice(patterns.votes, patterns.counts)
    numbers = _voice_numbers(panel, structure)
    surfaces = [Surface(panel.mask(expert, structure), panel.spacing) for expert in patterns.experts]
    pairs = []
    for a, b in itertools.combinations(range(len(surfaces)), 2):
        distances = surfaces[a].compare(surfaces[b])
        pairs.append(Pair(patterns.experts[a], patterns.experts[b], float(dice[a, b]),
                          distances.surface_dice(tolerance_mm), distances.hd95, distances.assd,
                          bool(numbers[a] != numbers[b])))
    return pairs


def _voice_numbers(panel: ExpertPanel, structure: str) -> np.ndarray:
    numbers = {expert: number for number, group in enumerate(panel.groups) for expert in group}
    return np.array([numbers[expert] for expert in panel.experts_on(structure)])


def coefficient_of_variation(values: Sequence[float]) -> float:
    """Standard deviation with n - 1 by the mean; NaN for fewer than two values, 0 where all are 0."""
    if len(values) < 2:
        return math.nan
    mean = float(np.mean(values))
    return float(np.std(values, ddof=1)) / mean if mean > 0 else 0.0


def fleiss_kappa_in_union(votes: np.ndarray, counts: np.ndarray, voices: Sequence[int] | None = None) -> float:
    """Fleiss' kappa (1971) of yes and no over the voxels that at least one expert calls the structure.

    In the union, because the empty rest of an image, however large it happens to be, would count as agreement.

    Args:
        votes: (patterns, experts) bool. counts: (patterns,) voxels.
        voices: (experts,) the independent voice that each belongs to; experts of one voice share its vote, and pairs
            within a voice are not counted. With one expert a voice it is Fleiss' formula.

    Returns:
        1 where all agree everywhere; NaN for fewer than two voices, or an empty union (nothing to agree on there).
    """
    voices = np.arange(votes.shape[1]) if voices is None else np.asarray(voices)
    numbers, sizes = np.unique(voices, return_counts=True)
    inside = votes.any(axis=1)
    counts = np.where(inside, counts, 0).astype(np.float64)
    if len(numbers) < 2 or counts.sum() == 0:
        return math.nan
    weight = 1.0 / sizes[np.searchsorted(numbers, voices)]
    pair_weight = np.outer(weight, weight) * (voices[:, None] != voices[None])
    yes = votes.astype(np.float64)
    agree = np.einsum("pi,ij,pj->p", yes, pair_weight, yes) + np.einsum("pi,ij,pj->p", 1 - yes, pair_weight, 1 - yes)
    observed = float(counts @ agree) / (pair_weight.sum() * counts.sum())
    share = float(counts @ (yes @ weight)) / (weight.sum() * counts.sum())
    chance = share**2 + (1 - share) ** 2
    return 1.0 if chance >= 1.0 - 1e-12 else (observed - chance) / (1.0 - chance)


def _dice_to_others(panel: ExpertPanel, structure: str, settings: FusionSettings) -> dict[str, float]:
    """Dice of each expert with the majority of the other voices; empty where there is no other."""
    patterns = panel.patterns(structure)
    weights = panel.weights_on(structure)
    numbers = _voice_numbers(panel, structure)
    found = {}
    for column, expert in enumerate(patterns.experts):
        others = weights * (numbers != numbers[column])
        if others.sum() == 0:
            continue
        fused = patterns.votes @ (others / others.sum()) > 0.5 + 1e-9
        pair = np.stack([fused, patterns.votes[:, column]], axis=1)
        found[expert] = float(pairwise_dice(pair, patterns.counts)[0, 1])
    return found


def jackknife_volume(panel: ExpertPanel, fusion: Fusion, structure: str) -> Interval:
    """Volume of the fusion with the panel-disagreement interval: fused again without each voice.

    Of the panel alone: it does not say how far all of them are from the truth, and another scan adds to it.
    """
    value = float(np.count_nonzero(fusion.masks[structure])) * panel.voxel_mm3
    voices = panel.voices_on(structure)
    if len(voices) < 3:
        return Interval(value, math.nan, math.nan)
    left_out = {
        " + ".join(group): fused_volume_mm3(panel, structure, fusion.settings, frozenset(group)) for group in voices
    }
    estimates = list(left_out.values())
    return Interval(value, jackknife.standard_error(estimates), jackknife.half_width(estimates), left_out)


def jackknife_masks(panel: ExpertPanel, fusion: Fusion, structure: str) -> np.ndarray:
    """The fusion of a structure and those without each voice as one array of bits, inside the panel's box: bit 0 is
    the fusion of all, bit n that without voice n (in the order of ``panel.voices_on``), for volumes of any part of it.

    With fewer than three voices there is bit 0 only, as there is no jackknife.
    """
    voices = panel.voices_on(structure)
    masks = [fusion.masks[structure]]
    if len(voices) >= 3:
        masks += [fused_mask(panel, structure, fusion.settings, frozenset(group)) for group in voices]
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if np.iinfo(kind).bits >= len(masks))
    bits = np.zeros(masks[0].shape, kind)
    for number, mask in enumerate(masks):
        bits |= mask.astype(kind) << kind(number)
    return bits
