"""The ways of fusing opinions, and what each decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.structures import NESTED_TUMOR_REGIONS

from ..expert_panel import ExpertPanel
from .staple import Staple, staple

MAJORITY, STAPLE, WEIGHTED, CONFIDENCE = METHODS = ("majority", "staple", "weighted", "confidence")
#: What half of the votes means. The default is that of a majority: half is none.
ABSENT, PRESENT = TIES = ("absent", "present")
#: Where STAPLE counts voxels: the box around all votes with a margin of 10 mm, or the whole image.
BOX, IMAGE = STAPLE_REGIONS = ("box", "image")

#: Shares this close to one half are a tie: sums of weights are rounded.
_ROUNDING = 1e-9

DESCRIPTIONS = {
    MAJORITY: "majority of the votes",
    STAPLE: "STAPLE (Warfield 2004)",
    WEIGHTED: "weighted majority of the votes",
    CONFIDENCE: "mean probability above one half, which is a majority with every vote weighted by how sure it is",
}


@dataclass(frozen=True)
class FusionSettings:
    """How opinions are fused.

    Attributes:
        method: "majority", "staple", "weighted" or "confidence".
        tie: what half of the votes means: "absent" or "present".
        weights: expert -> weight, for "weighted"; without any, each expert's mean Dice with the others is taken.
        staple_region: "box" or "image" (see STAPLE_REGIONS).
        staple_prior: probability of a structure in the region; None for the mean vote.
    """

    method: str = MAJORITY
    tie: str = ABSENT
    weights: Mapping[str, float] = field(default_factory=dict)
    staple_region: str = BOX
    staple_prior: float | None = None

    def __post_init__(self):
        for value, name, known in ((self.method, "fusion", METHODS), (self.tie, "tie", TIES),
                                   (self.staple_region, "staple_region", STAPLE_REGIONS)):
            if value not in known:
                raise BadArguments(f"The {name} is {value!r}.", f"Choose one of {', '.join(known)}.")
        if self.staple_prior is not None and not 0.0 < self.staple_prior < 1.0:
            raise BadArguments(f"The prior of STAPLE is {self.staple_prior!r}.", "Give a number between 0 and 1.")
        if any(not (math.isfinite(weight) and weight >= 0) for weight in self.weights.values()):
            raise BadArguments("A weight is a number of 0 or more.", "Correct the weights.")


@dataclass
class Fusion:
    """What the panel says together, inside the panel's box.

    Attributes:
        settings: how it was fused.
        support: structure -> float32, 0..1: the share of the votes, the posterior, or the mean probability.
        masks: structure -> bool: where the support is above one half.
        weights: structure -> expert -> the weight it had.
        staple: structure -> the outcome of STAPLE, for that method.
        notes: sentences for the user.
    """

    settings: FusionSettings
    support: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    weights: dict[str, dict[str, float]]
    staple: dict[str, Staple] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def fuse(panel: ExpertPanel, settings: FusionSettings | None = None) -> Fusion:
    """Fuse the opinions of a panel, structure by structure. Who does not know a structure has no vote on it.

    Raises:
        BadArguments: weights for nobody of the panel, or none above 0; "confidence" where nobody gives probabilities.
    """
    settings = settings or FusionSettings()
    fusion = Fusion(settings, {}, {}, {})
    _check_weights(panel, settings)
    if settings.method == CONFIDENCE:
        _check_probabilities(panel, fusion)
    for structure in panel.structures:
        patterns = panel.patterns(structure)
        weights = _weights(panel, structure, settings)
        fusion.weights[structure] = dict(zip(patterns.experts, weights.tolist(), strict=True))
        if settings.method == CONFIDENCE:
            support = mean_probability(panel, structure, weights)
            fusion.support[structure] = support.astype(np.float32)
            fusion.masks[structure] = _decided(support, settings.tie)
            continue
        if settings.method == STAPLE:
            found = staple_of(panel, structure, settings)
            fusion.staple[structure], values = found, found.posterior
            fusion.notes += _notes_on(found, structure, patterns.experts)
        else:
            values = patterns.share(weights)
        fusion.support[structure] = patterns.map(values.astype(np.float32))
        fusion.masks[structure] = patterns.map(_decided(values, settings.tie))
    _keep_nested(fusion)
    return fusion


def staple_of(panel: ExpertPanel, structure: str, settings: FusionSettings, without=frozenset()) -> Staple:
    """STAPLE for one structure, with some experts left out."""
    patterns = panel.patterns(structure)
    region = patterns.image_voxels if settings.staple_region == IMAGE else patterns.index.size
    keep = [column for column, expert in enumerate(patterns.experts) if expert not in without]
    weights = panel.weights_on(structure)[keep]
    return staple(patterns.votes[:, keep], patterns.counts_in(region), weights, settings.staple_prior)


def fused_volume_mm3(panel: ExpertPanel, structure: str, settings: FusionSettings, without=frozenset()) -> float:
    """Volume of a structure as fused with some experts left out (of the others, at least one must know it)."""
    decided = _decided(_support_without(panel, structure, settings, without), settings.tie)
    if settings.method == CONFIDENCE:
        return float(np.count_nonzero(decided)) * panel.voxel_mm3
    return float(panel.patterns(structure).counts @ decided) * panel.voxel_mm3


def fused_mask(panel: ExpertPanel, structure: str, settings: FusionSettings, without=frozenset()) -> np.ndarray:
    """The voxels of :func:`fused_volume_mm3`, bool, inside the panel's box."""
    decided = _decided(_support_without(panel, structure, settings, without), settings.tie)
    return decided if settings.method == CONFIDENCE else panel.patterns(structure).map(decided)


def _support_without(panel: ExpertPanel, structure: str, settings: FusionSettings, without) -> np.ndarray:
    """Support of each vote pattern with some experts left out; of each voxel for the fusion by confidence."""
    patterns = panel.patterns(structure)
    if settings.method == CONFIDENCE:
        weights = panel.weights_on(structure) * [expert not in without for expert in patterns.experts]
        return mean_probability(panel, structure, weights)
    if settings.method == STAPLE:
        return staple_of(panel, structure, settings, without).posterior
    keep = [column for column, expert in enumerate(patterns.experts) if expert not in without]
    weights = _weights(panel, structure, settings, without)
    return patterns.votes[:, keep] @ (weights / weights.sum())


def mean_probability(panel: ExpertPanel, structure: str, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of what the experts give; the mask of one without probabilities counts as 0 and 1."""
    total = np.zeros([part.stop - part.start for part in panel.box])
    for expert, weight in zip(panel.experts_on(structure), weights / weights.sum(), strict=True):
        if weight:
            given = panel.probability(expert, structure)
            total += weight * (panel.mask(expert, structure) if given is None else given)
    return total


def pairwise_dice(votes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(experts, experts) Dice of every pair from vote patterns; 1 where both are empty."""
    both = (votes * counts[:, None]).T.astype(np.float64) @ votes
    sizes = np.diag(both)
    total = sizes[:, None] + sizes[None]
    return np.where(total > 0, 2 * both / np.where(total > 0, total, 1), 1.0)


def _weights(panel: ExpertPanel, structure: str, settings: FusionSettings, without=frozenset()) -> np.ndarray:
    """Of those who know the structure and are not left out."""
    patterns = panel.patterns(structure)
    keep = [column for column, expert in enumerate(patterns.experts) if expert not in without]
    if settings.method != WEIGHTED:
        return panel.weights_on(structure)[keep]
    if settings.weights:
        weights = panel.weights_on(structure, {e: settings.weights.get(e, 0.0) for e in patterns.experts})[keep]
        if weights.sum() > 0:
            return weights
        return panel.weights_on(structure)[keep]  # nobody with a weight knows this structure, or is left
    voices = panel.weights_on(structure)[keep]
    dice = pairwise_dice(patterns.votes[:, keep], patterns.counts)
    experts = [patterns.experts[column] for column in keep]
    groups = {expert: number for number, group in enumerate(panel.groups) for expert in group}
    apart = np.array([[groups[a] != groups[b] for b in experts] for a in experts])
    others = apart * voices[None]
    agreement = (dice * others).sum(axis=1) / np.maximum(others.sum(axis=1), 1e-12)
    return voices * agreement if agreement.sum() > 0 else voices


def _decided(support: np.ndarray, tie: str) -> np.ndarray:
    return support > 0.5 + _ROUNDING if tie == ABSENT else support >= 0.5 - _ROUNDING


def _keep_nested(fusion: Fusion) -> None:
    """A region includes the regions inside it, also where its own votes, of more or other experts, say no."""
    nested = [name for name in NESTED_TUMOR_REGIONS if name in fusion.masks]
    for inner, outer in zip(nested[::-1], nested[::-1][1:], strict=False):
        more = fusion.masks[inner] & ~fusion.masks[outer]
        if more.any():
            fusion.masks[outer] = fusion.masks[outer] | more
            fusion.notes.append(
                f"{int(more.sum())} voxels of {inner.replace('_', ' ')} lay outside of the fused "
                f"{outer.replace('_', ' ')}; they were added to it."
            )


def _check_weights(panel: ExpertPanel, settings: FusionSettings) -> None:
    if settings.method != WEIGHTED or not settings.weights:
        return
    known = set(panel.experts) | {abstention.expert for abstention in panel.abstentions}
    unknown = sorted(set(settings.weights) - known)
    if unknown:
        raise BadArguments(
            f"There is a weight for {unknown[0]!r}, who is not in the panel.",
            f"The panel: {', '.join(panel.experts)}.",
        )
    if not any(settings.weights.get(expert, 0.0) > 0 for expert in panel.experts):
        raise BadArguments("No expert of the panel has a weight above 0.", "Give one to at least one of them.")


def _check_probabilities(panel: ExpertPanel, fusion: Fusion) -> None:
    silent = [
        expert for expert in panel.experts
        if all(panel.probability(expert, s) is None for s in panel.structures if expert in panel.experts_on(s))
    ]
    if len(silent) == len(panel.experts):
        raise BadArguments(
            "Nobody on this panel gives probabilities, so there is no confidence to weigh by.",
            "Choose another fusion (majority, staple, weighted), or give probability maps.",
        )
    if silent:
        fusion.notes.append(
            f"{', '.join(silent)} gave masks, not probabilities; they count as entirely sure of every voxel."
        )


def _notes_on(found: Staple, structure: str, experts: list[str]) -> list[str]:
    notes = []
    title = structure.replace("_", " ")
    if not found.converged:
        notes.append(f"STAPLE had not come to rest for {title} after {found.iterations} iterations.")
    worse = [e for e, p, q in zip(experts, found.sensitivity, found.specificity, strict=True) if p + q < 1.0]
    if worse:
        notes.append(f"STAPLE holds {', '.join(worse)} for worse than chance on {title}: do not trust this fusion.")
    return notes
