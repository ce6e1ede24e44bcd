"""Change categories: a criterion applied to lesions over time, with how certain the category is.

Response is judged against the baseline, progression against the nadir (the smallest sum so far). The measured sum has
an interval; a category that holds all over its 95 % interval is definite, one that holds within one standard deviation
is probable, else it is indeterminate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from MRISegSuiteLib.errors import BadInput

from ..change.uncertainty import Z95, UncertaintySettings
from .criteria_files import DIAMETERS, PRODUCTS, Criterion
from .measures import LesionMeasure, TimepointMeasures

COMPLETE, PARTIAL, STABLE, PROGRESSION, NOT_EVALUABLE = "CR", "PR", "SD", "PD", "NE"
DEFINITE, PROBABLE, INDETERMINATE = "definite", "probable", "indeterminate"

#: Rounding in sums must not decide: +20.000000001 % is +20 %.
_ROUNDING = 1e-9

_TEXTS = {
    COMPLETE: "no lesion left (range of complete response)",
    PARTIAL: "decrease beyond the response threshold (range of partial response)",
    STABLE: "between the thresholds (range of stable disease)",
    PROGRESSION: "beyond the progression threshold (range of progressive disease)",
    NOT_EVALUABLE: "not evaluable",
}


@dataclass(frozen=True)
class SignOff:
    """A person's word on a category. Nothing in the suite makes one by itself."""

    name: str
    role: str
    date: str
    agrees: bool
    comment: str = ""


@dataclass(frozen=True)
class ChangeCategory:
    """The category of one follow-up. It says what was measured, not what it means for the patient.

    Attributes:
        category: CR, PR, SD, PD or NE. certainty: definite, probable or indeterminate.
        text: the category in words; ``no measurable change`` where the interval holds no change.
        value, baseline_value, nadir_value: sums in ``unit``; NaN where there is none.
        percent_from_baseline, percent_from_nadir: NaN where the reference is zero.
        percent_interval: 95 % interval of the change from baseline, percent; None where it is not defined.
        is_measurable_change: False where the intervals against baseline and nadir both hold no change.
        targets, new_lesions: numbers of lesions over time.
        reasons: why this category. confirmation: what is still needed for it to count; "" for nothing.
        not_assessed: what the criterion wants besides, for the person who signs.
    """

    criterion: Criterion
    timepoint: int
    category: str
    certainty: str
    text: str
    value: float
    baseline_value: float
    nadir_value: float
    nadir_timepoint: int
    percent_from_baseline: float
    percent_from_nadir: float
    percent_interval: tuple[float, float] | None
    is_measurable_change: bool
    targets: tuple[int, ...]
    new_lesions: tuple[int, ...]
    reasons: tuple[str, ...]
    confirmation: str
    signed: SignOff | None = None

    @property
    def unit(self) -> str:
        return self.criterion.unit

    @property
    def not_assessed(self) -> tuple[str, ...]:
        return self.criterion.not_assessed


def choose_targets(criterion: Criterion, baseline: TimepointMeasures) -> tuple[int, ...]:
    """The largest measurable lesions of the baseline, as many as the criterion takes."""
    chosen, per_organ = [], {}
    by_size = sorted(baseline.lesions.items(), key=lambda entry: -entry[1].value(criterion))
    for track, lesion in by_size:
        count = per_organ.get(lesion.organ, 0)
        if len(chosen) == criterion.targets["most"] or count == criterion.targets["most_per_organ"]:
            continue
        if lesion.is_measurable(criterion):
            chosen.append(track)
            per_organ[lesion.organ] = count + 1
    return tuple(chosen)


def assess(
    criterion: Criterion,
    timepoints: Sequence[TimepointMeasures],
    settings: UncertaintySettings | None = None,
    targets: Sequence[int] | None = None,
    volume_ratios: Sequence[float | None] | None = None,
) -> tuple[ChangeCategory, ...]:
    """The change category of every follow-up.

    Args:
        timepoints: the baseline first, in the order of time.
        targets: lesions chosen by a person; None takes the largest measurable ones.
        volume_ratios: scale of each follow-up against the baseline by volume, from the registrations.

    Raises:
        BadInput: fewer than two timepoints, a time between them that is not positive, or a target that is not there
            at baseline.
    """
    if len(timepoints) < 2:
        raise BadInput("A change needs two timepoints.", "Give a baseline and at least one follow-up.")
    _require_order(timepoints)
    settings = settings or UncertaintySettings()
    baseline = timepoints[0]
    targets = choose_targets(criterion, baseline) if targets is None else tuple(targets)
    missing = [track for track in targets if track not in baseline.lesions]
    if missing:
        raise BadInput(f"Lesion {missing[0]} is not there at baseline.", "Choose targets of the baseline.")
    found: list[ChangeCategory] = []
    for t in range(1, len(timepoints)):
        found.append(_assess_one(criterion, timepoints, t, targets, settings, volume_ratios, found))
    return tuple(found)


def _assess_one(criterion, timepoints, t, targets, settings, ratios, earlier) -> ChangeCategory:
    now, baseline = timepoints[t], timepoints[0]
    sums = [_sum(criterion, one, targets) for one in timepoints[: t + 1]]
    nadir_at = min(range(t), key=lambda n: sums[n])
    new = tuple(sorted(set(now.lesions) - set(baseline.lesions)))
    first_sum, nadir, value = sums[0], sums[nadir_at], sums[t]
    spreads = [_spread(criterion, timepoints, n, t, targets, settings, ratios) for n in (0, nadir_at)]

    if targets:
        largest = _largest_increase(timepoints[nadir_at], now, targets)
        category, certainty, reasons = _by_sum(criterion, first_sum, nadir, value, largest, spreads, now, targets)
    else:
        category, certainty = NOT_EVALUABLE, INDETERMINATE
        why = "the baseline has no lesion" if not baseline.lesions else "no lesion of the baseline is measurable"
        reasons = [f"No sum: {why}."]
    if new:
        category, certainty, reasons = _with_new(criterion, new, now, category, certainty, reasons)
    changes = [_log_ratio(value, reference) for reference in (first_sum, nadir)]
    ends = [spread.ends(change, Z95) for change, spread in zip(changes, spreads)]
    real = [low > 0 or high < 0 for low, high in ends]
    # One that was there before and only now passes the smallest counted size is no change by itself: with the scans
    # exchanged nobody would call it one.
    appeared = [n for n in new if n not in now.were_too_small or now.lesions[n].is_measurable(criterion)]
    measurable = bool(appeared) or category == COMPLETE or (bool(targets) and (value == 0 or any(real)))
    text = _TEXTS[category]
    if category in (PARTIAL, PROGRESSION) and not measurable:
        reasons.append("The change lies within what repeated measuring may bring.")
    if category == STABLE and not measurable:
        text = "no measurable change"
    if new and not baseline.lesions:
        text = "new lesion; the baseline had none (percent is not defined)"
    interval = None
    if targets and math.isfinite(changes[0]):
        interval = 100 * math.expm1(ends[0][0]), 100 * math.expm1(ends[0][1])
    return ChangeCategory(
        criterion=criterion,
        timepoint=t,
        category=category,
        certainty=certainty,
        text=text,
        value=value if targets else math.nan,
        baseline_value=first_sum if targets else math.nan,
        nadir_value=nadir if targets else math.nan,
        nadir_timepoint=nadir_at,
        percent_from_baseline=_percent(value, first_sum),
        percent_from_nadir=_percent(value, nadir),
        percent_interval=interval,
        is_measurable_change=measurable,
        targets=targets,
        new_lesions=new,
        reasons=tuple(reasons),
        confirmation=_confirmation(criterion, category, timepoints, t, earlier),
    )


def _by_sum(criterion, baseline, nadir, value, increase_mm, spreads, now, targets):
    """Category, certainty and reasons from the sum of targets."""
    others = [track for track in now.lesions if track not in targets]
    # without targets that are left, nothing is said about lesions smaller than the smallest that is counted
    if value == 0 and not others:
        return COMPLETE, PROBABLE, ["All lesions are gone; one below the smallest counted size would not be seen."]
    category = _rule(criterion, baseline, nadir, value, increase_mm)

    def holds(sds: float) -> bool:
        """The same category all over the interval; the increase of the largest lesion goes with the sum."""
        for end in (end for spread in spreads for end in spread.ends(0.0, sds)):
            grown = increase_mm + math.expm1(end) * _longest(now, targets)
            if _rule(criterion, baseline, nadir, value * math.exp(end), grown) != category:
                return False
        return True

    certainty = DEFINITE if holds(Z95) else PROBABLE if holds(1.0) else INDETERMINATE
    unit, size = {"mm": ("mm", 1.0), "mm2": ("mm²", 1.0), "mm3": ("ml", 1000.0)}[criterion.unit]
    count = f"{len(targets)} target{'s' if len(targets) > 1 else ''}"
    reasons = [
        f"Sum of {count}: {value / size:.1f} {unit}; baseline {baseline / size:.1f}, nadir {nadir / size:.1f} {unit}."
    ]
    if value == 0:
        reasons.append("The targets are gone, other lesions are not.")
    wanted = criterion.progression
    if category != PROGRESSION and nadir > 0 and 100 * (value / nadir - 1) >= wanted["percent"] - _ROUNDING:
        reasons.append(
            f"Up by {wanted['percent']:g} % and more from the nadir, but not by "
            + (
                f"{wanted['sum_increase'] / size:g} {unit}."
                if value - nadir < wanted["sum_increase"]
                else f"{wanted['one_lesion_increase_mm']:g} mm in any target."
            )
        )
    return category, certainty, reasons


def _rule(criterion: Criterion, baseline: float, nadir: float, value: float, increase_mm: float) -> str:
    """The category of a sum, without new lesions."""
    wanted = criterion.progression
    rounding = _ROUNDING * max(baseline, 1.0)
    if nadir == 0:
        grown = value > 0  # a target that was gone is back
    else:
        grown = (
            value >= nadir * (1 + wanted["percent"] / 100) - rounding
            and value - nadir >= wanted["sum_increase"] - rounding
            and (not wanted["one_lesion_increase_mm"] or increase_mm >= wanted["one_lesion_increase_mm"] - rounding)
        )
    if grown:
        return PROGRESSION
    return PARTIAL if value <= baseline * (1 + criterion.response_percent / 100) + rounding else STABLE


def _with_new(criterion, new, now, category, certainty, reasons):
    """Progression for a new lesion; how certain follows from its size, as whether it is one is for a person to say.

    A lesion that was there at baseline but too small to be counted is no new one; it is told, and where it has grown
    to a measurable size a person has to decide.
    """
    measurable = [track for track in new if now.lesions[track].is_measurable(criterion)]
    known = [track for track in new if track in now.were_too_small]
    reasons = list(reasons)
    if known:
        reasons.append(f"{_named(known)}: there before, below the smallest counted size.")
    truly = [track for track in new if track not in known]
    if truly:
        reasons.append(f"New: {_named(truly)}" + _none_measurable(truly, measurable))
    if not truly and not measurable:
        return category, certainty, reasons
    if category == PROGRESSION and certainty == DEFINITE:
        return category, certainty, reasons
    if any(track in measurable for track in truly) or (category, certainty) == (PROGRESSION, PROBABLE):
        return PROGRESSION, PROBABLE, reasons
    return PROGRESSION, INDETERMINATE, reasons


def _named(tracks) -> str:
    return ("lesion " if len(tracks) == 1 else "lesions ") + ", ".join(map(str, tracks))


def _none_measurable(tracks, measurable) -> str:
    return "." if any(track in measurable for track in tracks) else "; not measurable by this criterion."


@dataclass(frozen=True)
class _Spread:
    """How well ln(sum now / sum then) is known: standard deviation, and what a scale between the scans adds."""

    sd: float
    shift: float

    def ends(self, log_ratio: float, sds: float) -> tuple[float, float]:
        """The interval ``sds`` standard deviations wide each side; see ``change.uncertainty`` for the scale."""
        return log_ratio - sds * self.sd - max(self.shift, 0.0), log_ratio + sds * self.sd + max(-self.shift, 0.0)


def _spread(criterion, timepoints, reference: int, now: int, targets, settings, ratios) -> _Spread:
    """What moves the whole border (test-retest, panel, scale) is known for volumes; a length follows with a third of
    it, an area with two thirds."""
    power = {DIAMETERS: 1, PRODUCTS: 2}.get(criterion.measure, 3) / 3
    position = {DIAMETERS: settings.position_sd_diameter, PRODUCTS: settings.position_sd_product}
    variance = 2 * position.get(criterion.measure, 0.0) ** 2
    for one in (timepoints[reference], timepoints[now]):
        total = _sum(criterion, one, targets)
        if total > 0:
            voxels = sum(one.lesions[track].voxel_variance(criterion) for track in targets if track in one.lesions)
            variance += voxels / total**2
        variance += (power * settings.test_retest_wcv) ** 2 + (power * one.panel_log_sd) ** 2
    scales = [
        0.0 if n == 0 or not ratios or ratios[n - 1] is None else math.log(ratios[n - 1]) for n in (reference, now)
    ]
    if not ratios or ratios[now - 1] is None:
        variance += (power * 3 * settings.scanner_scale_sd) ** 2
    return _Spread(math.sqrt(variance), power * (scales[1] - scales[0]))


def _sum(criterion: Criterion, timepoint: TimepointMeasures, targets) -> float:
    return sum(timepoint.lesions[track].value(criterion) for track in targets if track in timepoint.lesions)


def _largest_increase(before: TimepointMeasures, now: TimepointMeasures, targets) -> float:
    """Largest growth of the longest diameter of any target, mm."""
    gone = LesionMeasure(0.0, 0.0, 0.0, (), 0.0, 0.0)
    return max(now.lesions.get(t, gone).longest_mm - before.lesions.get(t, gone).longest_mm for t in targets)


def _longest(timepoint: TimepointMeasures, targets) -> float:
    return max((timepoint.lesions[t].longest_mm for t in targets if t in timepoint.lesions), default=0.0)


def _log_ratio(value: float, reference: float) -> float:
    return math.log(value / reference) if value > 0 and reference > 0 else math.nan


def _percent(value: float, reference: float) -> float:
    return 100 * (value / reference - 1) if reference > 0 else math.nan


def _confirmation(criterion, category, timepoints, t, earlier: Sequence[ChangeCategory]) -> str:
    wanted = criterion.confirmation.get(category)
    if wanted is None:
        return ""
    now = timepoints[t].days
    for one in reversed(earlier):
        if one.category != category and not (category == PARTIAL and one.category == COMPLETE):
            break
        before = timepoints[one.timepoint].days
        if now is not None and before is not None and now - before >= wanted["days"]:
            return ""
    return f"Needs another scan at least {wanted['days']:g} days later to be confirmed ({wanted['note']})."


def _require_order(timepoints: Sequence[TimepointMeasures]) -> None:
    days = [one.days for one in timepoints if one.days is not None]
    for earlier, later in zip(days, days[1:]):
        if later <= earlier:
            raise BadInput(
                f"A follow-up scan lies {later - earlier:g} days after the one before it; the time between scans must "
                "be positive.",
                "Put the scans in the order of time.",
            )
