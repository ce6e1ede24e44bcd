"""The T2 map of a scan, voxel by voxel, with what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from .multi_echo import fit_decay
from .qdess import QdessProtocol, exact_t2, published_t2, ratio_table

#: Methods for qDESS.
QDESS_METHODS = ("exact", "published")

#: T1 (ms at 3 T) that published pipelines assume.
T1_MS: dict[str, float] = {
    "femoral_cartilage": 1200.0,
    "medial_tibial_cartilage": 1000.0,
    "lateral_tibial_cartilage": 1000.0,
    "patellar_cartilage": 1000.0,
    "medial_meniscus": 1000.0,
    "lateral_meniscus": 1000.0,
}
#: T1 of everything else.
OTHER_T1_MS = 1200.0

#: Signal below this part of bright tissue is no tissue with a T2 (air, bone, suppressed fat).
_NO_SIGNAL = 0.03
#: Published thresholds of the fat and the fluid mask, as parts of the largest signal.
_FAT_PART, _FLUID_PART, _FLUID_BETA = 0.15, 0.1, 1.2


@dataclass(frozen=True)
class T2Options:
    """How T2 is mapped.

    Attributes:
        qdess_method: ``exact`` (inversion of the steady state) or ``published`` (linear formula, overestimates).
        spin_echo_method: see ``multi_echo.fit_decay``.
        skip_first_echo: of a spin-echo train (monoexponential fits).
        valid_ms: shortest and longest T2 that counts. Degenerated cartilage exceeds the 80 ms that are often used.
        least_r_squared: worse fits do not count (spin echoes).
        without_fat, without_fluid: leave out what the published masks take for fat, or for fluid (qDESS).
        t1_ms: structure -> T1; what is not named keeps ``T1_MS``.
    """

    qdess_method: str = "exact"
    spin_echo_method: str = "nonlinear"
    skip_first_echo: bool = False
    valid_ms: tuple[float, float] = (5.0, 120.0)
    least_r_squared: float = 0.7
    without_fat: bool = False
    without_fluid: bool = False
    t1_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass
class T2Map:
    """T2 of a scan.

    Attributes:
        t2: float32 array (z, y, x) in ms; 0 where there is no valid value.
        reason: uint8, why: 0 valid, otherwise a position in ``REASONS``.
        r_squared: of the fit, where there was one (spin echoes).
        method: a sentence for the table.
    """

    t2: np.ndarray
    reason: np.ndarray
    r_squared: np.ndarray | None
    method: str


#: Why a voxel has no T2; the number is the position.
REASONS = ("valid", "no signal", "no solution", "below the valid range", "above the valid range", "poor fit", "fat",
           "fluid", "not looked at")


def qdess_map(
    first: sitk.Image,
    second: sitk.Image,
    protocol: QdessProtocol,
    structures: Mapping[str, np.ndarray],
    options: T2Options | None = None,
) -> T2Map:
    """T2 from the two echoes of qDESS.

    Args:
        first, second: the echoes, one grid.
        protocol: how they were taken.
        structures: name -> bool array (z, y, x): gets its own T1.
    """
    options = options or T2Options()
    if options.qdess_method not in QDESS_METHODS:
        raise ValueError(f"unknown method {options.qdess_method!r}")
    one, two = (sitk.GetArrayFromImage(image).astype(np.float32) for image in (first, second))
    signal = one > _NO_SIGNAL * np.percentile(one, 99.5)
    ratio = np.zeros_like(one)
    np.divide(two, one, out=ratio, where=signal)
    solve = exact_t2 if options.qdess_method == "exact" else published_t2
    t2 = np.full(one.shape, np.nan, np.float32)
    t2[signal] = solve(ratio[signal], OTHER_T1_MS, protocol)
    for name, mask in structures.items():
        t1 = options.t1_ms.get(name, T1_MS.get(name, OTHER_T1_MS))
        if t1 != OTHER_T1_MS and mask.any():
            here = mask & signal
            t2[here] = solve(ratio[here], t1, protocol)
    reason = np.where(signal, 0, 1).astype(np.uint8)
    # The published formula turns negative beyond its pole: longer than any T2.
    longest = (ratio >= _highest_ratio(protocol)) if options.qdess_method == "exact" else (t2 < 0) | np.isinf(t2)
    _exclude(reason, longest, 4)
    _exclude(reason, ~np.isfinite(t2), 2)
    if options.without_fat:
        _exclude(reason, one < _FAT_PART * one.max(), 6)
    if options.without_fluid:
        watery = one - _FLUID_BETA * two
        _exclude(reason, watery < _FLUID_PART * watery.max(), 7)
    diffusion = "with" if protocol.spoiler else "without"
    method = {
        "exact": f"inversion of the qDESS steady state, {diffusion} spoiler diffusion",
        "published": f"linear qDESS formula (Sveinsson 2017), {diffusion} spoiler diffusion",
    }[options.qdess_method]
    return _ranged(t2, reason, None, f"{method}, T1 by structure", options)


def spin_echo_map(
    echoes: list[sitk.Image],
    echo_times: list[float],
    options: T2Options | None = None,
    within: np.ndarray | None = None,
) -> T2Map:
    """T2 from a multi-echo spin echo.

    Args:
        echoes: images on one grid; echo_times: ms.
        within: bool (z, y, x), where to look; everywhere by default.

    Raises:
        ValueError: too few echoes for the method, or unevenly spaced ones.
    """
    options = options or T2Options()
    signals = np.stack([sitk.GetArrayFromImage(image) for image in echoes], -1).astype(np.float32)
    first = signals[..., 0]
    signal = first > _NO_SIGNAL * np.percentile(first, 99.5)
    t2 = np.full(first.shape, np.nan, np.float32)
    quality = np.zeros(first.shape, np.float32)
    places = np.flatnonzero(signal if within is None else signal & within)
    flat = signals.reshape(-1, signals.shape[-1])
    for chunk in np.array_split(places, max(1, len(places) // 200_000)):
        fit = fit_decay(flat[chunk], echo_times, options.spin_echo_method, options.skip_first_echo)
        t2.ravel()[chunk], quality.ravel()[chunk] = fit.t2, np.nan_to_num(fit.r_squared)
    reason = np.where(signal, 0, 1).astype(np.uint8)
    if within is not None:
        _exclude(reason, ~within, 8)
    _exclude(reason, ~np.isfinite(t2), 2)
    _exclude(reason, quality < options.least_r_squared, 5)
    name = {
        "nonlinear": "nonlinear monoexponential fit",
        "log_linear": "weighted log-linear fit",
        "phase_graph": "extended phase graph with fitted refocusing angle",
    }[options.spin_echo_method]
    skipped = " without the first echo" if options.skip_first_echo and "phase" not in name else ""
    return _ranged(t2, reason, quality, f"{name} of {len(echoes)} spin echoes{skipped}", options)


def _highest_ratio(protocol: QdessProtocol) -> float:
    """Ratio of echoes beyond which T2 is longer than the inversion looks, at the usual T1."""
    return float(ratio_table(OTHER_T1_MS, protocol)[1][-1])


def _exclude(reason: np.ndarray, where: np.ndarray, number: int) -> None:
    reason[where & (reason == 0)] = number


def _ranged(t2, reason, quality, method: str, options: T2Options) -> T2Map:
    low, high = options.valid_ms
    _exclude(reason, t2 < low, 3)
    _exclude(reason, t2 > high, 4)
    return T2Map(
        np.where(reason == 0, t2, 0).astype(np.float32), reason, quality, f"{method}; valid {low:g} to {high:g} ms"
    )
