"""Change between two timepoints of a knee, region by region, and which of it is more than measuring alone explains."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..measure import KneeMeasurement
from .matching import MatchedBone, match_bone

#: Outcomes whose change is told, and their units.
OUTCOMES = {"ThCtAB": "mm", "ThCcAB": "mm", "VC": "mm3", "dABp": "%"}
METHOD = (
    "each timepoint measured in its own space; regions and joint surface matched by rigid registration of the bones"
)
#: Repeatability of the measuring itself: ``Testing/Benchmarks/bench_repeatability.py`` writes it.
REPEATABILITY_FILE = Path(__file__).resolve().parents[2] / "Resources" / "Repeatability" / "resampling.json"


@dataclass
class KneeChange:
    """What changed from baseline to follow-up.

    Attributes:
        rows: structure, region, name (``<outcome>_baseline``, ``_followup``, ``_change``), value, unit, method; a
            change has ``sdc``, the smallest detectable change, where it is known.
        bones: bone -> both times, matched.
        warnings: sentences for the user.
    """

    rows: list[dict] = field(default_factory=list)
    bones: dict[str, MatchedBone] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def smallest_detectable_change(sd: float) -> float:
    """``1.96 sqrt(2) SD``: what two measurements of an unchanged knee differ by in 5 % of cases at most.

    Args:
        sd: standard deviation of repeated measurements of one knee.
    """
    return 1.96 * np.sqrt(2.0) * sd


def read_repeatability(path: Path = REPEATABILITY_FILE) -> dict[tuple[str, str, str], float]:
    """(structure, region, outcome) -> SD of repeated measurements."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    return {tuple(key.split("/")): float(value) for key, value in record["sd"].items()}


def compare_knees(
    baseline: KneeMeasurement,
    followup: KneeMeasurement,
    repeatability: dict[tuple[str, str, str], float] | None = None,
) -> KneeChange:
    """Change of every region of every cartilage.

    Args:
        baseline, followup: the knee at two times.
        repeatability: see :func:`read_repeatability`.

    Returns:
        The change; a bone that is not there at both times, or cannot be registered, is said and left out.
    """
    repeatability = repeatability or {}
    result = KneeChange()
    if baseline.side != followup.side:
        result.warnings.append(
            f"Baseline is a {baseline.side} knee, follow-up a {followup.side} one: are they the same knee?"
        )
    for bone in sorted(set(baseline.bones) ^ set(followup.bones)):
        result.warnings.append(f"The {bone} is there at one time only: its cartilage is not compared.")
    for bone in baseline.bones:
        if bone not in followup.bones:
            continue
        try:
            matched = match_bone(baseline.bones[bone], followup.bones[bone])
        except ValueError as error:
            result.warnings.append(f"The {bone} is not compared: {error}.")
            continue
        result.bones[bone] = matched
        if matched.fit.residual > 1.0:
            result.warnings.append(
                f"The two surfaces of the {bone} fit each other to {matched.fit.residual:.1f} mm only: is it the same "
                "knee, segmented in the same way?"
            )
        for name, former in matched.baseline.cartilages.items():
            sizes = [float(np.prod(one.knee.spacing)) for one in (baseline, followup)]
            times = [former.rows(name, sizes[0], 1), matched.followup.cartilages[name].rows(name, sizes[1], 1)]
            result.rows.extend(_changes(*times, repeatability))
    return result


def _changes(before: list[dict], after: list[dict], repeatability) -> list[dict]:
    later = {(r["region"], r["name"]): r["value"] for r in after}
    rows = []
    for old in before:
        key = (old["region"], old["name"])
        if old["name"] not in OUTCOMES or key not in later:
            continue
        new = later[key]
        common = {k: old[k] for k in ("structure", "region", "unit")} | {"method": METHOD}
        rows.append(common | {"name": f"{old['name']}_baseline", "value": old["value"]})
        rows.append(common | {"name": f"{old['name']}_followup", "value": new})
        change = common | {"name": f"{old['name']}_change", "value": new - old["value"]}
        sd = repeatability.get((old["structure"], old["region"], old["name"]))
        if sd is not None:
            change["sdc"] = smallest_detectable_change(sd)
        rows.append(change)
    return rows
