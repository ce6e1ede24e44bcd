"""How each expert did over all cases, against what was accepted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .review import Record


@dataclass(frozen=True)
class ExpertStatistics:
    """One expert and one structure over all cases.

    Attributes:
        expert, version, structure: of what.
        cases: with an accepted mask and an answer of this expert.
        abstained: cases without an answer (the same for all structures of an expert).
        dice_mean, dice_sd, dice_lowest: Dice against the accepted mask; SD is NaN for fewer than two cases.
        volume_error_ml, volume_error_percent: mean of expert minus accepted. Percent counts cases in which something
            was accepted; NaN where there is none.
        volume_error_absolute_ml: mean of the size of the error.
        run_time_s: mean; NaN where unknown.
    """

    expert: str
    version: str
    structure: str
    cases: int
    abstained: int
    dice_mean: float
    dice_sd: float
    dice_lowest: float
    volume_error_ml: float
    volume_error_absolute_ml: float
    volume_error_percent: float
    run_time_s: float


def expert_statistics(records: Iterable[Record]) -> list[ExpertStatistics]:
    """Statistics for each expert, version and structure, in this order.

    Args:
        records: one a case (see :meth:`store.FeedbackStore.latest`). Rejected cases have no accepted mask and count
            for nothing. The accepted mask began as a fusion of the same experts and was seen by a person: this is how
            well they agree with the reviewed result, not with an independent truth.
    """
    found: dict[tuple[str, str, str], list] = {}
    abstained: dict[tuple[str, str], int] = {}
    times: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record.after is None:
            continue
        for expert in record.experts:
            key = (expert.id, expert.version)
            abstained[key] = abstained.get(key, 0) + bool(expert.abstained)
            if expert.run_time_s is not None:
                times.setdefault(key, []).append(expert.run_time_s)
            for agreement in expert.agreement:
                found.setdefault((*key, agreement.structure), []).append(agreement)
    return [_row(key, found[key], abstained[key[:2]], times.get(key[:2], [])) for key in sorted(found)]


def _row(key, agreements, abstained: int, times) -> ExpertStatistics:
    dice = np.array([a.dice for a in agreements])
    errors = np.array([a.volume_ml - a.accepted_volume_ml for a in agreements])
    relative = [100 * (a.volume_ml / a.accepted_volume_ml - 1) for a in agreements if a.accepted_volume_ml > 0]
    return ExpertStatistics(
        *key, cases=len(agreements), abstained=abstained,
        dice_mean=float(dice.mean()), dice_sd=float(dice.std(ddof=1)) if len(dice) > 1 else math.nan,
        dice_lowest=float(dice.min()), volume_error_ml=float(errors.mean()),
        volume_error_absolute_ml=float(np.abs(errors).mean()),
        volume_error_percent=float(np.mean(relative)) if relative else math.nan,
        run_time_s=float(np.mean(times)) if times else math.nan)
