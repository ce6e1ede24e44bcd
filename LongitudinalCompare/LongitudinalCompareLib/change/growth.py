"""Growth between two volumes: log ratio, percent, rates, doubling time, expansion of the diameter.

Formulas: specific growth rate and doubling time as in Mehrara et al., Med Phys 2007 (exponential growth); velocity of
diametric expansion (VDE) as in Mandonnet et al., Ann Neurol 2003, from the diameter of a ball of the same volume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from MRISegSuiteLib.errors import BadInput

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Growth:
    """How a volume went from ``baseline_mm3`` to ``followup_mm3``; NaN where something is not defined.

    Attributes:
        log_ratio: ln(V2 / V1); NaN where either volume is zero.
        percent: 100 (V2 - V1) / V1; NaN where the baseline is zero: a new lesion has no percentage.
        days: time between the scans; None where the dates are not known, and then no rate is.
        rate_cm3_per_day: (V2 - V1) / days.
        specific_rate_percent_per_day: SGR = 100 ln(V2 / V1) / days.
        doubling_days: days ln 2 / ln(V2 / V1); negative for a shrinking lesion (its halving time), infinite for an
            unchanged one.
        expansion_mm_per_year: VDE, growth of the diameter (6 V / pi)^(1/3).
    """

    baseline_mm3: float
    followup_mm3: float
    log_ratio: float
    percent: float
    days: float | None
    rate_cm3_per_day: float
    specific_rate_percent_per_day: float
    doubling_days: float
    expansion_mm_per_year: float


def growth_between(baseline_mm3: float, followup_mm3: float, days: float | None = None) -> Growth:
    """The growth from one volume to the other, ``days`` later.

    Raises:
        BadInput: ``days`` is not positive, or a volume is negative or not a number.
    """
    for volume in (baseline_mm3, followup_mm3):
        if not (math.isfinite(volume) and volume >= 0):
            raise BadInput(f"A volume of {volume:g} mm3 cannot be.", "Check the masks.")
    if days is not None and not (math.isfinite(days) and days > 0):
        raise BadInput(
            f"The follow-up scan lies {days:g} days after the baseline; the time between them must be positive.",
            "Check the dates, or swap the scans.",
        )
    both = baseline_mm3 > 0 and followup_mm3 > 0
    log_ratio = math.log(followup_mm3 / baseline_mm3) if both else math.nan
    percent = 100 * (followup_mm3 - baseline_mm3) / baseline_mm3 if baseline_mm3 > 0 else math.nan
    if days is None:
        return Growth(baseline_mm3, followup_mm3, log_ratio, percent, None, *[math.nan] * 4)
    if log_ratio == 0:
        doubling = math.inf
    else:
        doubling = days * math.log(2) / log_ratio
    expansion = (ball_diameter_mm(followup_mm3) - ball_diameter_mm(baseline_mm3)) / days * DAYS_PER_YEAR
    return Growth(
        baseline_mm3,
        followup_mm3,
        log_ratio,
        percent,
        float(days),
        (followup_mm3 - baseline_mm3) / 1000 / days,
        100 * log_ratio / days,
        doubling,
        expansion,
    )


def ball_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the ball of this volume: (6 V / pi)^(1/3)."""
    return (6 * volume_mm3 / math.pi) ** (1 / 3)


def days_between(baseline: date | None, followup: date | None) -> int | None:
    """Days from one date to the other; None where one is not known.

    Raises:
        BadInput: the follow-up is not later than the baseline.
    """
    if baseline is None or followup is None:
        return None
    days = (followup - baseline).days
    if days <= 0:
        raise BadInput(
            f"The follow-up scan ({followup.isoformat()}) is not later than the baseline ({baseline.isoformat()}).",
            "Check the dates, or swap the scans.",
        )
    return days
