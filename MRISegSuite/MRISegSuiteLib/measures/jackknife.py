"""The jackknife: how far an estimate depends on any one of those it was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats


def standard_error(estimates: Sequence[float]) -> float:
    """sqrt((n - 1) / n sum (theta_(i) - mean)^2) of the estimates without each (Efron and Tibshirani 1993, 11.5)."""
    theta = np.asarray(estimates, dtype=np.float64)
    n = len(theta)
    return math.sqrt((n - 1) / n * float(((theta - theta.mean()) ** 2).sum()))


def half_width(estimates: Sequence[float]) -> float:
    """Half-width of the 95 % interval: t quantile (n - 1 degrees of freedom) times :func:`standard_error`."""
    return float(stats.t.ppf(0.975, len(estimates) - 1)) * standard_error(estimates)
