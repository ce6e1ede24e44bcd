"""May two aligned scans be compared voxel by voxel? Good, check or failed, with the reasons.

The numbers were set on real pairs (the same patient at two times, one patient's contrasts, other patients, wrong
turns, halves of a head); see Docs/decisions.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .rigid import displacement_mm, rotation_deg
from .similarity import Similarity

GOOD, CHECK, FAILED = "good", "check", "failed"

#: Inverse consistency, mm: above the first look, above the second it failed.
INCONSISTENCY_MM = (0.5, 2.0)
#: Part of each mask that lies within the other image, overlap of the masks (Jaccard) and part of the smaller mask
#: within the larger: below the first look, below the second it failed. Masks of which one is merely larger lie well
#: all the same: then the search for a brain was at fault, not the registration.
FIELD, OVERLAP, CONTAINED = (0.9, 0.7), (0.7, 0.6), (0.9, 0.75)
#: Drift of scale, as a part, along any axis; and how many times its own noise it must be to be believed.
SCALE, SCALE_TIMES_NOISE = (0.01, 0.05), 2.0
#: No head or limb lies so differently in two scans, degrees: then a header is wrong, or the registration.
ROTATION_DEG = (35.0, 50.0)
#: Scans that lie on each other already (mean displacement, mm) are not asked what was gained: on one grid the images,
#: as they lie, are not interpolated, and look more alike for that alone.
STILL_MM = 0.75
#: Sharpness: the part of what two images share (nmi - 1) that is lost 4 mm beside the place that was found.
SHARPNESS = (0.45, 0.30)


@dataclass(frozen=True)
class Judged:
    """What the gate looks at. Similarities are given both ways (A's grid, B's grid).

    ``moved_mm``: mean displacement inside of the mask from where the scans lay.
    """

    found: tuple[Similarity, Similarity]
    identity: tuple[Similarity, Similarity]
    shifted: Sequence[Similarity]
    inconsistency_mm: float
    determinant: float
    scales: tuple[float, float, float]
    scale_noise: float
    matrix: np.ndarray
    center: np.ndarray
    moved_mm: float
    fields: tuple[float, float]


@dataclass(frozen=True)
class Gate:
    """The judgment.

    Attributes:
        state: "good", "check" (look at it before you believe it) or "failed".
        reasons: sentences: why it is not good; empty where it is.
        numbers: what was measured, by name, for the record.
    """

    state: str
    reasons: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def allows_comparison(self) -> bool:
        """Whether anything may be computed from two timepoints voxel by voxel."""
        return self.state != FAILED


def judge(judged: Judged) -> Gate:
    """The gate's judgment of a registration."""
    numbers = measured(judged)
    reasons: dict[str, list[str]] = {CHECK: [], FAILED: []}

    def look(value: float, limits: tuple[float, float], text: str, above: bool = False) -> None:
        """Record a reason where ``value`` is beyond a limit; what cannot be measured has failed."""
        beyond = (value > limit if above else value < limit for limit in limits)
        check, failed = beyond
        if not math.isfinite(value) or failed:
            reasons[FAILED].append(text)
        elif check:
            reasons[CHECK].append(text)

    n = numbers
    look(n["field_overlap"], FIELD,
         f"The images share too little: {_percent(n['field_overlap'])} of the smaller part.")  # fmt: skip
    look(n["mask_overlap"], OVERLAP, f"The masks overlap by {_percent(n['mask_overlap'])} only.")
    look(n["mask_contained"], CONTAINED,
         f"The masks lie apart: {_percent(n['mask_contained'])} of the smaller one is within the other.")  # fmt: skip
    look(n["sharpness"], SHARPNESS,
         f"What the images have in common hardly depends on the alignment ({_percent(n['sharpness'])} of it is lost"
         " 4 mm aside): are they of the same patient?")  # fmt: skip
    if n["moved_mm"] > STILL_MM:
        look(n["nmi_gain"], (-0.002, -0.02), "The images are less alike than before the registration.")
    apart = n["inverse_consistency_mm"]
    look(apart, INCONSISTENCY_MM, f"The two directions of the registration disagree by {apart:.2f} mm.", above=True)
    look(n["rotation_deg"], ROTATION_DEG,
         f"One image is turned by {n['rotation_deg']:.0f} degrees: check its orientation.", above=True)  # fmt: skip
    known = SCALE_TIMES_NOISE * n["scale_noise"]
    look(n["scale_drift"], tuple(max(limit, known) for limit in SCALE),
         f"The scale differs by {100 * n['scale_drift']:.1f} % between the scans (known to {100 * known:.1f} %): "
         "volumes change with it. Check the scanner's calibration and the patient.", above=True)  # fmt: skip
    if reasons[FAILED]:
        return Gate(FAILED, tuple(reasons[FAILED] + reasons[CHECK]), numbers)
    return Gate(CHECK if reasons[CHECK] else GOOD, tuple(reasons[CHECK]), numbers)


def measured(judged: Judged) -> dict[str, float]:
    """The numbers of a registration, by name; both directions count alike."""
    nmi = _mean(one.nmi for one in judged.found)
    beside = _mean(one.nmi for one in judged.shifted)
    return {
        "pearson": _mean(one.pearson for one in judged.found),
        "nmi": nmi,
        "nmi_identity": _mean(one.nmi for one in judged.identity),
        "nmi_gain": nmi - _mean(one.nmi for one in judged.identity),
        "sharpness": (nmi - beside) / (nmi - 1.0) if nmi > 1.0 else 0.0,
        "inverse_consistency_mm": judged.inconsistency_mm,
        "determinant": judged.determinant,
        "scale_drift": float(max(abs(np.log(scale)) for scale in judged.scales)),
        "scale_noise": judged.scale_noise,
        "field_overlap": min(judged.fields),
        "mask_overlap": min(one.overlap for one in judged.found),
        "mask_contained": min(one.contained for one in judged.found),
        "moved_mm": judged.moved_mm,
        "rotation_deg": rotation_deg(judged.matrix),
        "translation_mm": float(displacement_mm(judged.matrix, np.eye(4), judged.center[None])[0]),
    }


def _mean(values) -> float:
    return float(np.mean(list(values)))


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"
