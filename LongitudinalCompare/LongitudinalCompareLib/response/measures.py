"""What criteria are applied to: every lesion at every timepoint, by the number it keeps over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..change.lesions import TimepointLesions
from ..change.timeline import Track
from .criteria_files import DIAMETERS, PRODUCTS, Criterion


@dataclass(frozen=True)
class LesionMeasure:
    """One lesion at one timepoint; of a lesion that has split, the sum of its parts.

    A person who moves a diameter makes another one with ``dataclasses.replace``.

    Attributes:
        longest_mm, product_mm2, volume_mm3: what the criteria add up.
        slices: (longest, perpendicular) in mm of the slices that may count for measurability.
        slice_mm, pixel_mm: distance of slices and largest spacing within them.
        volume_variance_mm6: from partial volume.
        organ: targets an organ are limited by some criteria.
    """

    longest_mm: float
    product_mm2: float
    volume_mm3: float
    slices: tuple[tuple[float, float], ...]
    slice_mm: float
    pixel_mm: float
    volume_variance_mm6: float = 0.0
    organ: str = ""

    def is_measurable(self, criterion: Criterion) -> bool:
        """Large enough, on enough slices, for this criterion."""
        wanted = criterion.targets
        longest = max(wanted["longest_mm"], wanted["slice_distances"] * self.slice_mm)
        enough = [s for s in self.slices if s[0] >= longest and s[1] >= wanted["perpendicular_mm"]]
        return len(enough) >= wanted["slices"]

    def value(self, criterion: Criterion) -> float:
        """What the criterion adds up, in its unit."""
        if criterion.measure == DIAMETERS:
            return self.longest_mm
        return self.product_mm2 if criterion.measure == PRODUCTS else self.volume_mm3

    def voxel_variance(self, criterion: Criterion) -> float:
        """Variance of :meth:`value` from the voxel grid alone.

        Each end of a diameter lies anywhere within a pixel (pixel / sqrt 6 for both ends together), and the slice
        through a ball of diameter d lies up to half a slice distance t beside its middle, which makes it t^2 / (6 d)
        shorter in root mean square.
        """
        if criterion.measure not in (DIAMETERS, PRODUCTS):
            return self.volume_variance_mm6
        if self.longest_mm <= 0:
            return 0.0
        longest = self.longest_mm
        off = math.hypot(self.pixel_mm / math.sqrt(6), self.slice_mm**2 / (6 * longest))
        if criterion.measure == DIAMETERS:
            return off**2
        across = self.product_mm2 / longest
        return off**2 * (longest**2 + across**2)


@dataclass(frozen=True)
class TimepointMeasures:
    """The lesions of a timepoint.

    Attributes:
        days: since any fixed day; None where dates are not known.
        lesions: number of the lesion over time (track) -> its measure. A lesion that is not there is not listed.
        panel_log_sd: standard deviation of ln V among experts, where a panel segmented.
        were_too_small: those of the lesions that were there before they were first counted, below the smallest size.
    """

    days: float | None
    lesions: Mapping[int, LesionMeasure]
    panel_log_sd: float = 0.0
    were_too_small: frozenset[int] = frozenset()


def measures_of(
    timepoints: Sequence[TimepointLesions],
    tracks: Sequence[Track],
    days: Sequence[float | None] | None = None,
    organs: Mapping[int, str] | None = None,
    panel_log_sd: Sequence[float] | None = None,
) -> tuple[TimepointMeasures, ...]:
    """Measures of all timepoints from their lesions and tracks (``change.timeline.lesion_tracks``).

    Args:
        days: of each timepoint, since any fixed day.
        organs: track -> organ.
    """
    days = list(days) if days is not None else [None] * len(timepoints)
    small = frozenset(track.number for track in tracks if track.was_too_small)
    made = []
    for t, timepoint in enumerate(timepoints):
        lesions = {}
        for track in tracks:
            parts = [timepoint.by_label(n) for n in track.members[t]]
            if parts:
                lesions[track.number] = LesionMeasure(
                    longest_mm=sum(one.diameters.longest_mm for one in parts),
                    product_mm2=sum(one.diameters.product_mm2 for one in parts),
                    volume_mm3=sum(one.volume_mm3 for one in parts),
                    slices=tuple((s.longest_mm, s.perpendicular_mm) for one in parts for s in one.diameters.slices),
                    slice_mm=timepoint.slice_mm,
                    pixel_mm=timepoint.pixel_mm,
                    volume_variance_mm6=sum(one.variance_mm6 for one in parts),
                    organ=(organs or {}).get(track.number, ""),
                )
        panel = panel_log_sd[t] if panel_log_sd else 0.0
        made.append(TimepointMeasures(days[t], lesions, panel, small & set(lesions)))
    return tuple(made)
