"""How unsure the panel is, voxel by voxel, in bits (0 to 1 for one structure).

With p the mean of what the experts say (weighted by voice): the entropy of p is the whole uncertainty. Where experts
give probabilities, the mean of their own entropies is the part that each of them admits; what is left is the mutual
information between the answer and the choice of the expert: disagreement proper (Houlsby et al. 2011, BALD).
"""

from __future__ import annotations

import numpy as np

from .expert_panel import ExpertPanel
from .fusion.methods import mean_probability


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of a yes or no with probability ``p`` of yes, in bits; 0 for 0 and 1."""
    p = np.clip(p, 0.0, 1.0)
    q = 1.0 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(np.where(p > 0, p * np.log2(p), 0.0) + np.where(q > 0, q * np.log2(q), 0.0))


def entropy(panel: ExpertPanel, structure: str) -> np.ndarray:
    """Entropy of the mean answer on a structure, float32, bits, inside the panel's box."""
    patterns, weights = panel.patterns(structure), panel.weights_on(structure)
    if all(panel.probability(expert, structure) is None for expert in patterns.experts):
        return patterns.map(binary_entropy(patterns.share(weights)).astype(np.float32))
    return binary_entropy(mean_probability(panel, structure, weights)).astype(np.float32)


def mutual_information(panel: ExpertPanel, structure: str) -> np.ndarray | None:
    """Mutual information of answer and expert, float32, bits; None where fewer than two voices give probabilities."""
    experts = panel.experts_on(structure)
    speaking = [expert for expert in experts if panel.probability(expert, structure) is not None]
    voices = [group for group in panel.voices_on(structure) if set(group) & set(speaking)]
    if len(voices) < 2:
        return None
    weights = dict(zip(experts, panel.weights_on(structure), strict=True))
    total = sum(weights[expert] for expert in speaking)
    mean = np.zeros([part.stop - part.start for part in panel.box])
    own = np.zeros_like(mean)
    for expert in speaking:
        p = panel.probability(expert, structure)
        mean += weights[expert] / total * p
        own += weights[expert] / total * binary_entropy(p)
    return np.maximum(binary_entropy(mean) - own, 0.0).astype(np.float32)


def largest(panel: ExpertPanel, measure) -> np.ndarray | None:
    """The largest value over all structures of :func:`entropy` or :func:`mutual_information`; None where none has."""
    maps = [array for structure in panel.structures if (array := measure(panel, structure)) is not None]
    return np.maximum.reduce(maps) if maps else None
