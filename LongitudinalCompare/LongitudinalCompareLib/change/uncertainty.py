"""How sure a change of volume is: what adds up to an interval on ln(V2 / V1).

Every part is a standard deviation of a log volume (or log ratio); they are taken as independent and added in
quadrature, and 1.96 of the sum is the half-width of the 95 % interval. A change beyond it is real: the smallest real
change of Bland and Altman, 1.96 sqrt(2) wSD where both scans are known equally well.

A difference in scale between the scans, which the registration found, is no random part. Volumes are not corrected for
it, as it may be the scanner's or the head's own; the interval is that of either case, from where it begins if the
scale were the scanner's to where it ends if it were not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from MRISegSuiteLib.errors import BadArguments

#: Two-sided 95 % of the normal distribution.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class UncertaintySettings:
    """What is known about measuring besides this scan.

    Attributes:
        test_retest_wcv: within-subject coefficient of variation of a volume when scan and segmentation are repeated
            (0.10 is 10 %). The default is an assumption: put in what was measured at your site. 0 leaves it out.
        scanner_scale_sd: standard deviation of the scanners' length scale against each other (0.01 is 1 %), used
            where the registration gives no scale.
        position_sd_diameter, position_sd_product: standard deviation of ln of a longest diameter, and of a product of
            diameters, when the head lies turned and other planes are cut. The defaults were measured on seven
            gliomas turned by 8 degrees about each axis (``Testing/Benchmarks/bench_position.py``).
    """

    test_retest_wcv: float = 0.10
    scanner_scale_sd: float = 0.0
    position_sd_diameter: float = 0.033
    position_sd_product: float = 0.076

    def __post_init__(self):
        for name, value in (
            ("test-retest wCV", self.test_retest_wcv),
            ("scanner scale", self.scanner_scale_sd),
            ("deviation of a diameter", self.position_sd_diameter),
            ("deviation of a product", self.position_sd_product),
        ):
            if not 0 <= value < 1:
                raise BadArguments(f"The {name} is a part of 1 (0.1 for 10 %), not {value:g}.", "Correct the setting.")


@dataclass(frozen=True)
class Part:
    """One source: its name, its standard deviation on ln(V2 / V1), and where it comes from."""

    name: str
    sd: float
    source: str


@dataclass(frozen=True)
class LogInterval:
    """95 % interval on ln(V2 / V1).

    Attributes:
        log_ratio: the measured one.
        sd: standard deviation of its random parts. parts: what they are.
        scale_shift: ln of the scale by volume, follow-up to baseline; 0 where none is known.
        low, high: the interval.
    """

    log_ratio: float
    sd: float
    parts: tuple[Part, ...]
    scale_shift: float = 0.0

    @property
    def half_width(self) -> float:
        """1.96 standard deviations."""
        return Z95 * self.sd

    @property
    def low(self) -> float:
        return self.log_ratio - self.half_width - max(self.scale_shift, 0.0)

    @property
    def high(self) -> float:
        return self.log_ratio + self.half_width + max(-self.scale_shift, 0.0)

    @property
    def is_real(self) -> bool:
        """True when the interval excludes no change."""
        return self.low > 0 or self.high < 0

    @property
    def smallest_real_percent(self) -> tuple[float, float]:
        """Smallest real decrease and increase, percent: +31.9 and -24.2 at a wCV of 10 %."""
        decrease = self.half_width + max(-self.scale_shift, 0.0)
        increase = self.half_width + max(self.scale_shift, 0.0)
        return 100 * math.expm1(-decrease), 100 * math.expm1(increase)

    @property
    def percent_interval(self) -> tuple[float, float]:
        """The interval as percent change."""
        return 100 * math.expm1(self.low), 100 * math.expm1(self.high)


@dataclass(frozen=True)
class VolumeEvidence:
    """One timepoint's volume and how well it is known.

    Attributes:
        volume_mm3: native volume.
        variance_mm6: from partial volume.
    """

    volume_mm3: float
    variance_mm6: float


def log_interval(
    baseline: VolumeEvidence,
    followup: VolumeEvidence,
    settings: UncertaintySettings,
    volume_ratio: float | None = None,
    calibration_sd: float | None = None,
    panel: tuple[float, str] | None = None,
) -> LogInterval | None:
    """The interval on ln(V2 / V1); None where either volume is zero.

    Args:
        volume_ratio: of the head, follow-up to baseline, from the diagnostic affine. None uses
            ``settings.scanner_scale_sd``.
        calibration_sd: spread of ln(measured / true) of known growth in this patient's scan. It holds partial volume
            as well, so the larger of the two counts.
        panel: standard deviation that the disagreement of experts makes, and where it comes from, see :mod:`.panel`.
    """
    if not (baseline.volume_mm3 > 0 and followup.volume_mm3 > 0):
        return None
    both = (baseline, followup)
    partial = math.sqrt(sum(one.variance_mm6 / one.volume_mm3**2 for one in both))
    if calibration_sd is not None and calibration_sd > partial:
        parts = [Part("calibration", calibration_sd, "known growth put into this scan; holds partial volume")]
    else:
        parts = [Part("partial volume", partial, "size, shape and voxels of both masks")]
    if panel is not None:
        parts.append(Part("segmentation", *panel))
    if settings.test_retest_wcv:
        parts.append(
            Part(
                "test-retest",
                math.sqrt(2) * settings.test_retest_wcv,
                f"setting: wCV {100 * settings.test_retest_wcv:g} % of a repeated scan",
            )
        )
    if volume_ratio is None and settings.scanner_scale_sd:
        sd = 3 * settings.scanner_scale_sd
        parts.append(Part("scanner scale", sd, f"setting: {100 * settings.scanner_scale_sd:g} % SD of a length"))
    sd = math.sqrt(sum(part.sd**2 for part in parts))
    shift = math.log(volume_ratio) if volume_ratio is not None else 0.0
    return LogInterval(math.log(followup.volume_mm3 / baseline.volume_mm3), sd, tuple(parts), shift)
