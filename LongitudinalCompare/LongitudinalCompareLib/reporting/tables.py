"""The numbers of a comparison as tables of the report and as measurements of result.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from MRISegSuiteLib.jobs.result import Measurement
from MRISegSuiteLib.reports.html_report import Table

from ..change.calibration import Calibration
from ..change.compare import Change, LesionChange
from ..change.growth import Growth
from ..response.assess import ChangeCategory
from ..timepoints import Timepoint

_NATIVE = "voxels of the mask in its own grid"
_HALFWAY = "both masks moved into the halfway space, nearest neighbor"

#: Columns of the table of change in the report, name -> meaning (for ``Report.outcomes``).
OUTCOMES = {
    "Change": {
        "volume_baseline": "Volume at baseline, in its own grid.",
        "volume_followup": "Volume at follow-up, in its own grid.",
        "volume_change_percent": "Change of the volume with its 95 % interval; a dash where the baseline is zero.",
        "log_volume_ratio": "ln(V2 / V1) with its 95 % interval.",
        "growth_rate": "(V2 - V1) / time.",
        "specific_growth_rate": "SGR = 100 ln(V2 / V1) / time.",
        "doubling_time": "Time ln 2 / ln(V2 / V1); negative: halving time.",
        "expansion_rate": "Velocity of diametric expansion: growth of the diameter of a ball of this volume.",
    },
    "Diameters": {
        "longest_diameter_baseline": "Longest diameter in the acquisition plane at baseline.",
        "longest_diameter_followup": "The same at follow-up.",
        "perpendicular_diameter_baseline": "Longest chord at right angles to it, within the lesion, in that slice.",
        "perpendicular_diameter_followup": "The same at follow-up.",
        "maximum_3d_diameter_baseline": "Largest distance of two points of the surface at baseline.",
        "maximum_3d_diameter_followup": "The same at follow-up.",
    },
    "Smallest real change": {
        "smallest_real_decrease": "Decreases smaller than this may be measuring alone (95 %).",
        "smallest_real_increase": "Increases smaller than this may be measuring alone (95 %).",
    },
    "Overlap in the halfway space": {
        "Dice": "Overlap of the masks, 1 where they are the same. Describes likeness, not change.",
        "HD95": "95 % Hausdorff distance between the surfaces.",
        "ASSD": "Mean distance between the surfaces.",
    },
}


def measurements(change: Change, structure: str = "lesion") -> list[Measurement]:
    """Every number of a comparison, the whole mask as region ``whole``, lesions as ``lesion_1`` and so on."""
    made: list[Measurement] = []
    for one in (change.total, *change.lesions):
        made += _of_lesion(one, structure, "whole" if one.number == 0 else f"lesion_{one.number}")
    if change.overlap is not None:
        for name, value, unit in (
            ("Dice", change.overlap.dice, "1"),
            ("HD95", change.overlap.hd95_mm, "mm"),
            ("ASSD", change.overlap.assd_mm, "mm"),
        ):
            made.append(Measurement(name, structure, "whole", value, unit, _HALFWAY))
    return made


def _of_lesion(one: LesionChange, structure: str, region: str) -> list[Measurement]:
    def row(name, value, unit, method, interval=None):
        return Measurement(name, structure, region, value, unit, method, interval)

    growth, interval = one.growth, one.interval
    rows = [
        row("volume_baseline", growth.baseline_mm3, "mm3", _NATIVE),
        row("volume_followup", growth.followup_mm3, "mm3", _NATIVE),
        row(
            "volume_change_percent",
            growth.percent,
            "%",
            "100 (V2 - V1) / V1",
            interval.percent_interval if interval else None,
        ),
        row(
            "log_volume_ratio",
            growth.log_ratio,
            "1",
            "ln(V2 / V1)",
            (interval.low, interval.high) if interval else None,
        ),
    ]
    if growth.days is not None:
        rows += _rates(growth, row)
    if interval:
        decrease, increase = interval.smallest_real_percent
        rows.append(row("smallest_real_decrease", decrease, "%", "95 % interval of no change"))
        rows.append(row("smallest_real_increase", increase, "%", "95 % interval of no change"))
    if one.number:
        for time, found in (("baseline", one.baseline_diameters), ("followup", one.followup_diameters)):
            if found:
                rows.append(row(f"longest_diameter_{time}", found.longest_mm, "mm", "longest Feret in any slice"))
                rows.append(
                    row(
                        f"perpendicular_diameter_{time}",
                        found.perpendicular_mm,
                        "mm",
                        "longest chord inside, same slice",
                    )
                )
                rows.append(row(f"maximum_3d_diameter_{time}", found.maximum_3d_mm, "mm", "largest distance in 3D"))
    return rows


def _rates(growth: Growth, row) -> list[Measurement]:
    return [
        row("growth_rate", growth.rate_cm3_per_day, "cm3/day", "(V2 - V1) / time"),
        row("specific_growth_rate", growth.specific_rate_percent_per_day, "%/day", "100 ln(V2 / V1) / time"),
        row("doubling_time", growth.doubling_days, "day", "time ln 2 / ln(V2 / V1)"),
        row("expansion_rate", growth.expansion_mm_per_year, "mm/year", "change of (6 V / pi)^(1/3) in time"),
    ]


def lesion_table(change: Change) -> Table:
    """One row a lesion: what became of it."""
    rows = []
    for one in change.lesions:
        percent = one.growth.percent if one.status not in ("new", "resolved") else None
        real = "–" if one.interval is None else "yes" if one.interval.is_real else "no"
        before, after = one.baseline_diameters, one.followup_diameters
        rows.append(
            (
                f"Lesion {one.number}",
                one.status + (" (was below the smallest size)" if one.was_too_small else ""),
                one.growth.baseline_mm3 / 1000,
                one.growth.followup_mm3 / 1000,
                percent,
                f"±{100 * math.expm1(one.interval.half_width):.0f} %" if one.interval else "–",
                real,
                _pair(before),
                _pair(after),
            )
        )
    note = ""
    if change.matching is not None:
        note = (
            f"Lesions are components of {change.baseline.connectivity} neighbors of at least "
            f"{change.baseline.smallest_mm3:.1f} mm³ ({change.baseline.left_out} and {change.followup.left_out} "
            f"smaller ones count in the whole volume only). They are matched in the halfway space with a tolerance of "
            f"{change.matching.tolerance_mm:.2f} mm. Volumes and diameters are measured in each scan's own grid. "
            "Diameters: longest × perpendicular, in the acquisition plane."
        )
    columns = ("", "status", "baseline, ml", "follow-up, ml", "change, %", "95 %", "real change", "baseline, mm",
               "follow-up, mm")  # fmt: skip
    return Table("Lesions", columns, rows, note)


def _pair(diameters) -> str:
    return "–" if diameters is None else f"{diameters.longest_mm:.1f} × {diameters.perpendicular_mm:.1f}"


def uncertainty_table(change: Change) -> Table | None:
    """What the interval of the whole volume is made of; None where there is no interval."""
    interval = change.total.interval
    if interval is None:
        return None
    rows = [(part.name, f"±{100 * 1.96 * part.sd:.1f} %", part.source) for part in interval.parts]
    if interval.scale_shift:
        rows.append(
            (
                "scale between the scans",
                f"{100 * math.expm1(interval.scale_shift):+.1f} %",
                "found by the registration; not corrected, the interval holds both cases",
            )
        )
    low, high = interval.percent_interval
    rows.append(("all together", f"{low:+.1f} to {high:+.1f} %", "95 % interval of the change"))
    decrease, increase = interval.smallest_real_percent
    return Table(
        "How sure the change is",
        ("", "on ln(V2 / V1), 95 %", "from"),
        rows,
        f"Smallest real change of this pair: {decrease:+.1f} % and {increase:+.1f} %. What lies between may be "
        "measuring alone.",
    )


def calibration_table(calibrations: Sequence[Calibration]) -> Table | None:
    """Known growth put into this patient's scan, and what was measured."""
    if not calibrations:
        return None
    rows = [
        (
            "mask, re-gridded" if one.level == "mask" else "scan, segmented again",
            len(one.trials),
            ", ".join(dict.fromkeys(f"{100 * math.expm1(trial.true_log):+.0f} %" for trial in one.trials)),
            f"{100 * math.expm1(one.bias):+.2f} %",
            f"±{100 * math.expm1(1.96 * one.spread):.2f} %",
            one.missed,
            f"{one.seconds:.0f} s" if one.level == "image" else "–",
        )
        for one in calibrations
    ]
    return Table(
        "Calibration with known growth in this scan",
        ("", "trials", "put in", "bias", "95 % of errors", "missed", "took"),
        rows,
        "What a single scan cannot tell (another scanner, another day) is not in here.",
    )


def calibration_measurements(calibrations: Sequence[Calibration], structure: str) -> list[Measurement]:
    """Bias and spread of each calibration; region ``calibration_mask`` or ``calibration_image``."""
    made = []
    for one in calibrations:
        region = f"calibration_{one.level}"
        method = f"known growth put into this {'mask' if one.level == 'mask' else 'scan'}, {len(one.trials)} trials"
        for name, value, unit in (
            ("calibration_bias", 100 * math.expm1(one.bias), "%"),
            ("calibration_spread_log", one.spread, "1"),
            ("calibration_trials", float(len(one.trials)), "1"),
            ("calibration_missed", float(one.missed), "1"),
        ):
            made.append(Measurement(name, structure, region, value, unit, method))
    return made


def category_table(categories: Sequence[ChangeCategory]) -> Table | None:
    """Change categories, one row a criterion and follow-up."""
    if not categories:
        return None
    rows = []
    for one in categories:
        interval = one.percent_interval
        rows.append(
            (
                one.criterion.title,
                one.category,
                one.certainty,
                one.text,
                _percent(one.percent_from_baseline),
                "–" if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f} %",
                _percent(one.percent_from_nadir),
            )
        )
    notes = []
    for one in {c.criterion.id: c for c in categories}.values():
        status = "checked against the publication" if one.criterion.verified else "NOT YET CHECKED by a clinician"
        notes.append(
            f"{one.criterion.title}, version {one.criterion.version}: thresholds {status}. {one.criterion.source} "
            f"Not assessed: {'; '.join(one.not_assessed)}."
        )
    columns = ("", "category", "certainty", "in words", "from baseline", "95 %", "from nadir")
    return Table(
        "Change category",
        columns,
        rows,
        "A change category describes measurements. It is no diagnosis and no best response; a person decides and "
        "signs. " + " ".join(notes),
    )


def reason_table(categories: Sequence[ChangeCategory]) -> Table | None:
    """Why each category, and what is still needed."""
    if not categories:
        return None
    rows = [
        (f"{one.criterion.title}, follow-up {one.timepoint}", " ".join((*one.reasons, one.confirmation)).strip())
        for one in categories
    ]
    return Table("Reasons", ("", "why"), rows)


def contrast_table(timepoints: Sequence[Timepoint]) -> Table | None:
    """The further contrasts of each session; None where there are none."""
    rows = []
    for one in timepoints:
        for channel in one.channels:
            beside = f"{channel.beside_mm:.2f} mm" if math.isfinite(channel.beside_mm) else "far, or not looked at"
            done = "as it lies" if channel.matrix is None else "registered within the session"
            rows.append((one.label, channel.name, beside, done))
    if not rows:
        return None
    return Table(
        "Contrasts within each session", ("", "contrast", "beside the reference", "used"), rows,
        "How far each contrast lies beside the one that is registered between the timepoints, as its file has it.",
    )  # fmt: skip


def gate_table(state: str, reasons: Sequence[str], values: Mapping[str, str]) -> Table:
    """The registration's quality gate: its state, why, and what it looked at."""
    rows = [("state", state), *values.items(), *(("reason", reason) for reason in reasons)]
    return Table("Registration", ("", ""), rows)


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if math.isfinite(value) else "not defined"
