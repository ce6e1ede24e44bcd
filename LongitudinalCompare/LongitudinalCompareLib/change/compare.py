"""Two timepoints compared: the whole and every lesion, in numbers with their uncertainty.

Volumes and diameters come from each mask in its own grid. Only what needs a common space (which lesion is which,
Dice, HD95) uses the alignment; where there is none, because the registration failed, it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import SimpleITK as sitk

from MRISegSuiteLib.measures.overlap import dice
from MRISegSuiteLib.measures.surface_distance import surface_distances

from .alignment import Alignment, InCommonSpace, in_common_space
from .diameters import Diameters
from .growth import Growth, growth_between
from .lesions import Lesion, TimepointLesions, find_lesions
from .matching import LinkOverride, Matching, match_lesions
from .panel import PanelVolumes, panel_log_sd
from .uncertainty import LogInterval, UncertaintySettings, VolumeEvidence, log_interval


@dataclass(frozen=True)
class LesionChange:
    """What became of a lesion (or of several that merged or split).

    Attributes:
        number: from 1, the largest first; 0 is the whole mask.
        status: see :class:`~.matching.LesionGroup`; the whole is ``matched``, ``new``, ``resolved`` or ``absent``.
        baseline, followup: the lesions of either timepoint that belong to it.
        growth: volumes and rates.
        interval: on ln(V2 / V1); None where either volume is zero.
        was_too_small: a new (resolved) lesion that has not come from (gone to) nothing, see ``LesionGroup``.
    """

    number: int
    status: str
    baseline: tuple[Lesion, ...]
    followup: tuple[Lesion, ...]
    growth: Growth
    interval: LogInterval | None
    was_too_small: bool = False

    @property
    def baseline_diameters(self) -> Diameters | None:
        """Of the lesion with the longest diameter at baseline."""
        return _longest(self.baseline)

    @property
    def followup_diameters(self) -> Diameters | None:
        return _longest(self.followup)


@dataclass(frozen=True)
class Overlap:
    """How alike the masks are in the halfway space; says nothing about which is right, and less about change than the
    volumes do. ``hd95_mm`` is infinite where one mask is empty."""

    dice: float
    hd95_mm: float
    assd_mm: float


@dataclass(frozen=True)
class Change:
    """Everything that was measured of a pair.

    ``matching`` and ``overlap`` are None, and ``lesions`` is empty, where there is no alignment.
    """

    total: LesionChange
    lesions: tuple[LesionChange, ...]
    matching: Matching | None
    overlap: Overlap | None
    baseline: TimepointLesions = field(repr=False)
    followup: TimepointLesions = field(repr=False)
    settings: UncertaintySettings = field(default_factory=UncertaintySettings)

    def with_status(self, status: str) -> tuple[LesionChange, ...]:
        """The lesions of one status."""
        return tuple(one for one in self.lesions if one.status == status)


def compare_masks(
    baseline: sitk.Image,
    followup: sitk.Image,
    alignment: Alignment | None = None,
    days: float | None = None,
    settings: UncertaintySettings | None = None,
    **more,
) -> Change:
    """:func:`compare_lesions` of two masks, each in its own grid, with the default size and connectivity."""
    return compare_lesions(find_lesions(baseline), find_lesions(followup), alignment, days, settings, **more)


def compare_lesions(
    baseline: TimepointLesions,
    followup: TimepointLesions,
    alignment: Alignment | None = None,
    days: float | None = None,
    settings: UncertaintySettings | None = None,
    overrides: Sequence[LinkOverride] = (),
    panels: tuple[PanelVolumes | None, PanelVolumes | None] = (None, None),
    calibration_sd: float | None = None,
) -> Change:
    """Compare the lesions of two timepoints.

    Args:
        alignment: None where the registration failed or was not done: native volumes only.
        days: time between the scans; without it there are no rates.
        overrides: a person's corrections of links.
        panels: what the experts say of the volumes at baseline and at follow-up, where a panel segmented.
        calibration_sd: spread that calibration with known growth found, see :mod:`.calibration`.

    Raises:
        BadInput: the time between the scans is not positive.
    """
    settings = settings or UncertaintySettings()
    ratio = alignment.volume_ratio if alignment else None

    def change(number, status, before: tuple[Lesion, ...], after: tuple[Lesion, ...], whole=False) -> LesionChange:
        ends = (baseline, before), (followup, after)
        parts = [(one,) if whole else lesions for one, lesions in ends]
        sums = [VolumeEvidence(sum(p.volume_mm3 for p in them), sum(p.variance_mm6 for p in them)) for them in parts]
        labels = [(0,) if whole else [one.label for one in lesions] for _, lesions in ends]
        panel = None
        if all(one.volume_mm3 > 0 for one in sums):
            panel = panel_log_sd(*zip(panels, labels, strict=True))
        return LesionChange(
            number,
            status,
            before,
            after,
            growth_between(sums[0].volume_mm3, sums[1].volume_mm3, days),
            log_interval(sums[0], sums[1], settings, ratio, calibration_sd, panel),
        )

    total = change(0, _whole_status(baseline, followup), baseline.lesions, followup.lesions, whole=True)
    if alignment is None:
        return Change(total, (), None, None, baseline, followup, settings)
    placed = in_common_space(baseline, followup, alignment)
    matching = match_lesions(baseline, followup, alignment, overrides, placed=placed)
    lesions = tuple(
        replace(
            change(
                number,
                group.status,
                tuple(baseline.by_label(n) for n in group.baseline),
                tuple(followup.by_label(n) for n in group.followup),
            ),
            was_too_small=group.was_too_small,
        )
        for number, group in enumerate(matching.groups, start=1)
    )
    return Change(total, lesions, matching, overlap_of(placed), baseline, followup, settings)


def overlap_of(placed: InCommonSpace) -> Overlap:
    """Dice and surface distances of the two whole masks in the halfway space."""
    first, second = placed.baseline != 0, placed.followup != 0
    distances = surface_distances(first, second, [placed.spacing_mm] * 3)
    return Overlap(dice(first, second), distances.hd95, distances.assd)


def _whole_status(baseline: TimepointLesions, followup: TimepointLesions) -> str:
    if baseline.volume_mm3 > 0:
        return "matched" if followup.volume_mm3 > 0 else "resolved"
    return "new" if followup.volume_mm3 > 0 else "absent"


def _longest(lesions: tuple[Lesion, ...]) -> Diameters | None:
    diameters = [one.diameters for one in lesions]
    return max(diameters, key=lambda one: one.longest_mm, default=None)
