"""STAPLE (Warfield, Zou and Wells 2004) by expectation maximization on the histogram of vote patterns.

All voxels with the same votes have the same posterior, so the E and M steps over patterns weighted by their counts are
those over voxels, exactly. The start and the prior are those of ITK's filter: the mean vote, and its mean over the
region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: EM ends when no sensitivity or specificity moves more than this.
_STILL = 1e-9
_MOST_ITERATIONS = 2000


@dataclass(frozen=True)
class Staple:
    """The outcome for one structure.

    Attributes:
        posterior: (patterns,) probability that the structure is there, given the votes.
        sensitivity, specificity: (experts,) as estimated, against the posterior.
        prior: of the structure within the region.
        region_voxels: how many voxels the region has.
        iterations: how many it took; converged: whether it came to rest.
    """

    posterior: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    prior: float
    region_voxels: int
    iterations: int
    converged: bool


def staple(
    votes: np.ndarray, counts: np.ndarray, weights: np.ndarray | None = None, prior: float | None = None
) -> Staple:
    """Estimate the truth and the experts' performance together.

    Args:
        votes: (patterns, experts) bool.
        counts: (patterns,) voxels of the region with each pattern.
        weights: (experts,) exponent of each expert's likelihood: 1 for an independent one, one half each for two that
            count as one.
        prior: probability of the structure in the region; None for the mean vote, as ITK has it.

    Raises:
        ValueError: the prior is not between 0 and 1, or the region is empty.
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum()
    if total <= 0:
        raise ValueError("the region of STAPLE is empty")
    votes = np.asarray(votes, dtype=bool)
    weights = np.ones(votes.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    posterior = votes @ (weights / weights.sum())
    if prior is None:
        prior = float(counts @ posterior / total)
    elif not 0.0 < prior < 1.0:
        raise ValueError(f"a prior lies between 0 and 1, not {prior}")
    sensitivity = specificity = np.full(votes.shape[1], np.nan)
    if prior in (0.0, 1.0):  # nobody, or everybody, says yes everywhere: there is nothing to estimate
        return Staple(posterior, sensitivity, specificity, prior, int(round(total)), 0, True)
    yes, converged, iteration = votes.astype(np.float64), False, 0
    for iteration in range(1, _MOST_ITERATIONS + 1):
        inside, outside = counts * posterior, counts * (1.0 - posterior)
        former = np.concatenate([sensitivity, specificity])
        sensitivity = _part(inside @ yes, inside.sum())
        specificity = _part(outside @ (1.0 - yes), outside.sum())
        with np.errstate(divide="ignore", under="ignore"):
            if_there = _log_likelihood(votes, sensitivity, weights) + np.log(prior)
            if_not = _log_likelihood(~votes, specificity, weights) + np.log1p(-prior)
        posterior = _logistic(if_there, if_not)
        if np.nanmax(np.abs(np.concatenate([sensitivity, specificity]) - former), initial=0.0) < _STILL and (
            iteration > 1
        ):
            converged = True
            break
    return Staple(posterior, sensitivity, specificity, prior, int(round(total)), iteration, converged)


def _part(counts: np.ndarray, total: float) -> np.ndarray:
    return np.clip(counts / total, 0.0, 1.0) if total > 0 else np.ones_like(counts)


def _log_likelihood(right: np.ndarray, rate: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over experts of the log probability of their vote: ``rate`` where it is right, 1 - ``rate`` where not."""
    return np.where(right, np.log(rate), np.log1p(-rate)) @ weights


def _logistic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """exp(first) / (exp(first) + exp(second)); 0 where both are impossible, which no voxel that occurs is."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        result = 1.0 / (1.0 + np.exp(second - first))
    return np.where(np.isnan(result), 0.0, result)
