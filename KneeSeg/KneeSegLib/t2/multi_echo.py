"""T2 from a train of spin echoes: three ways to fit the decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .phase_graphs import spin_echo_train

#: Fits that are offered.
METHODS = ("nonlinear", "log_linear", "phase_graph")
_CHUNK = 4096


@dataclass(frozen=True)
class DecayFit:
    """Result of a fit, one value a voxel.

    Attributes:
        t2: ms; NaN where nothing could be fitted.
        r_squared: share of the signal's variance that the model explains.
        amplitude: signal at echo time zero.
        refocusing_deg: flip angle of the refocusing pulses (phase-graph fit only).
    """

    t2: np.ndarray
    r_squared: np.ndarray
    amplitude: np.ndarray
    refocusing_deg: np.ndarray | None = None


def fit_decay(
    signals: np.ndarray, echo_times: Sequence[float], method: str = "nonlinear", skip_first: bool = False,
    t1: float = 1200.0,
) -> DecayFit:
    """Fit T2 in every voxel.

    Args:
        signals: (voxels, echoes), magnitude.
        echo_times: ms, rising.
        method: ``log_linear``: straight line through the logarithm, each echo weighted by its signal squared;
            ``nonlinear``: least squares of ``A e^(-TE/T2)``; ``phase_graph``: least squares against echo trains with
            imperfect refocusing (extended phase graph), for evenly spaced echoes from one spacing on.
        skip_first: leave the first echo out, which stimulated echoes do not reach (monoexponential fits only).
        t1: ms, for the phase graph.

    Raises:
        ValueError: fewer than two echoes are left, an unknown method, or uneven echoes for the phase graph.
    """
    signals, times = np.asarray(signals, float), np.asarray(echo_times, float)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}")
    if method == "phase_graph":
        return _phase_graph(signals, times, t1)
    if skip_first:
        signals, times = signals[:, 1:], times[1:]
    if len(times) < 2:
        raise ValueError("at least two echoes are needed")
    fit = _log_linear(signals, times)
    return fit if method == "log_linear" else _nonlinear(signals, times, fit)


def _log_linear(signals, times) -> DecayFit:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(signals)
        usable = (signals > 0) & np.isfinite(logs)
        logs = np.where(usable, logs, 0)
        weight = np.where(usable, signals, 0) ** 2
        total = weight.sum(1, keepdims=True)
        time, log = (weight * times).sum(1, keepdims=True) / total, (weight * logs).sum(1, keepdims=True) / total
        slope = (weight * (times - time) * (logs - log)).sum(1) / (weight * (times - time) ** 2).sum(1)
        t2 = np.where((slope < 0) & (usable.sum(1) >= 2), -1 / slope, np.nan)
        amplitude = np.exp(log[:, 0] + time[:, 0] / t2)
    return DecayFit(t2, _r_squared(signals, amplitude[:, None] * np.exp(-times / t2[:, None])), amplitude)


def _nonlinear(signals, times, start: DecayFit) -> DecayFit:
    """Damped Gauss-Newton on the decay rate alone: the best amplitude for a rate is known in closed form."""
    rate = 1 / np.where(np.isfinite(start.t2), np.clip(start.t2, 1, 2000), 50.0)
    cost, damping = _decay(signals, times, rate)[3], np.full(len(rate), 1e-3)
    active = np.flatnonzero((signals > 0).any(1))
    for _ in range(60):
        if not len(active):
            break
        part, old = signals[active], rate[active]
        model, amplitude, left, _ = _decay(part, times, old)
        # Derivative by the rate with the amplitude following (Kaufman's form of variable projection).
        slope = times * model
        slope = amplitude[:, None] * (slope - ((slope * model).sum(1) / (model**2).sum(1))[:, None] * model)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = -(slope * left).sum(1) / ((slope**2).sum(1) * (1 + damping[active]))
        step = np.clip(np.nan_to_num(step), -0.5 * old, old)
        tried = _decay(part, times, old + step)[3]
        better = tried <= cost[active]
        rate[active[better]], cost[active[better]] = (old + step)[better], tried[better]
        damping[active] = np.where(better, damping[active] / 4, damping[active] * 8)
        done = np.where(better, np.abs(step) < 1e-7 * old, damping[active] > 1e4)
        active = active[~done]
    model, amplitude, _, _ = _decay(signals, times, rate)
    t2 = np.where((signals > 0).any(1) & (amplitude > 0), 1 / rate, np.nan)
    return DecayFit(t2, _r_squared(signals, amplitude[:, None] * model), amplitude)


def _decay(signals, times, rate):
    """Model of unit amplitude, best amplitude, what is left, and the sum of its squares."""
    model = np.exp(-rate[:, None] * times)
    amplitude = (signals * model).sum(1) / (model**2).sum(1)
    left = signals - amplitude[:, None] * model
    return model, amplitude, left, (left**2).sum(1)


def _phase_graph(signals, times, t1) -> DecayFit:
    """The nearest train of a table, refined by Gauss-Newton steps."""
    spacing = np.diff(times, prepend=0.0)
    if len(times) < 3 or np.abs(spacing - spacing[0]).max() > 0.05 * spacing[0]:
        raise ValueError("the phase-graph fit needs three or more evenly spaced echoes from one spacing on")

    def shapes(t2, angle):
        trains = spin_echo_train(t2, t1, float(spacing.mean()), len(times), angle)
        norm = np.linalg.norm(trains, axis=-1, keepdims=True)
        return trains / norm, norm[..., 0]

    t2_grid, angles = np.meshgrid(np.geomspace(5, 500, 90), np.arange(90.0, 181.0, 5.0), indexing="ij")
    table = shapes(t2_grid.ravel(), angles.ravel())[0]
    t2, angle = np.empty(len(signals)), np.empty(len(signals))
    for start in range(0, len(signals), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        best = (signals[chunk] @ table.T).argmax(1)
        t2[chunk], angle[chunk] = t2_grid.ravel()[best], angles.ravel()[best]
    length = np.linalg.norm(signals, axis=1)
    unit = signals / np.maximum(length, 1e-12)[:, None]
    for _ in range(8):
        model = shapes(t2, angle)[0]
        by_t2 = (shapes(t2 * 1.001, angle)[0] - model) / 0.001
        by_angle = shapes(t2, angle - 0.2)[0] - model
        left = unit - (unit * model).sum(1, keepdims=True) * model
        # Normal equations of two unknowns; the damping keeps the angle where the train does not depend on it.
        aa, bb, ab = (by_t2**2).sum(1), (by_angle**2).sum(1), (by_t2 * by_angle).sum(1)
        a, b = (by_t2 * left).sum(1), (by_angle * left).sum(1)
        bb = bb + 1e-9
        determinant = np.maximum(aa * bb - ab**2, 1e-18)
        t2 = np.clip(t2 * (1 + np.clip((a * bb - b * ab) / determinant, -0.1, 0.1)), 2, 1000)
        angle = np.clip(angle - 0.2 * np.clip((b * aa - a * ab) / determinant, -25, 25), 60, 180)
    model, norm = shapes(t2, angle)
    peak = (signals * model).sum(1)
    fitted = (length > 0) & (peak > 0)
    return DecayFit(
        np.where(fitted, t2, np.nan),
        _r_squared(signals, peak[:, None] * model),
        np.where(fitted, peak / norm, np.nan),
        np.where(fitted, angle, np.nan),
    )


def _r_squared(signals, model) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        left = ((signals - model) ** 2).sum(1)
        return 1 - left / ((signals - signals.mean(1, keepdims=True)) ** 2).sum(1)
