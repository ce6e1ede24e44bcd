"""The double-echo steady state (DESS, qDESS): what its two echoes measure.

Times in ms, angles in degrees, unless a name says otherwise. Every function takes numbers or arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phase_graphs import pulse_about_y, shifted

#: Gyromagnetic ratio of hydrogen, rad / (s gauss).
_GAMMA = 2 * np.pi * 4258.0
#: Diffusivity of cartilage, m^2 / s (the published value).
DIFFUSIVITY = 1.25e-9


@dataclass(frozen=True)
class Spoiler:
    """The gradient between the two echoes.

    Attributes:
        area: gradient area in gauss/cm times microseconds (GE: private tag 0019,10B6).
        duration_us: its duration in microseconds (GE: private tag 0019,10B7).
        diffusivity: of the tissue, m^2/s.
    """

    area: float
    duration_us: float
    diffusivity: float = DIFFUSIVITY

    @property
    def rate(self) -> float:
        """``dk^2 D``: signal lost to diffusion once dephased, 1/ms."""
        strength = self.area / self.duration_us * 100.0  # gauss / m
        dephasing = _GAMMA * strength * self.duration_us * 1e-6  # rad / m
        return dephasing**2 * self.diffusivity * 1e-3


def dess_signals(pd, t1, t2, tr, te, flip_deg):
    """Both echoes without diffusion.

    ``r = sqrt((1-E2^2)/((1-E1 c)^2 - E2^2 (E1-c)^2))``, ``S1 = tan(a/2) [1-(E1-c) r] e^(-TE/T2)``,
    ``S2 = tan(a/2) [1-(1-E1 c) r] e^(+TE/T2)`` (Hänicke and Vogel, Magn Reson Med 2003), TE measured from and to the
    pulse respectively.
    """
    angle = np.deg2rad(flip_deg)
    cos, half = np.cos(angle), np.tan(angle / 2)
    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
    r = np.sqrt((1 - e2**2) / ((1 - e1 * cos) ** 2 - e2**2 * (e1 - cos) ** 2))
    first = pd * half * (1 - (e1 - cos) * r) * np.exp(-te / t2)
    # The second echo refocuses at TR; what is read lies TE before the next pulse.
    second = pd * half * (1 - (1 - e1 * cos) * r) * np.exp(te / t2)
    return first, np.maximum(second, 0)


def dess_signals_with_diffusion(t1: float, t2: np.ndarray, tr: float, te: float, flip_deg: float, spoiler: Spoiler):
    """Both echoes when diffusion between the pulses counts, by the extended phase graph run to its steady state.

    The gradient lies in the middle of the repetition; each configuration decays by what it dephases (Weigel, J Magn
    Reson Imaging 2015, equations 21 to 23).

    Args:
        t1: ms. t2: (N,) ms.

    Returns:
        first and second echo, (N,) each, of unit proton density.
    """
    t2 = np.atleast_1d(np.asarray(t2, float))
    rate, long = spoiler.rate, spoiler.duration_us * 1e-3
    before = max((tr - long) / 2, 0.0)
    # Configurations so dephased that diffusion leaves 1e-7 of them in one repetition add nothing.
    orders = int(np.clip(np.ceil(np.sqrt(16 / (rate * tr))), 8, 400))
    order = np.arange(orders + 1)

    def lost(start, end):
        """Diffusion while a configuration moves from one order to the next (and rests before and after)."""
        moving = (start**2 + start * end + end**2) / 3
        return np.exp(-rate * (start**2 * before + moving * long + end**2 * (tr - long - before)))

    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)[:, None]
    rising, falling = lost(order, order + 1), lost(-order, 1 - order)
    resting = np.exp(-rate * order**2 * tr)
    pulse = pulse_about_y(flip_deg)
    plus = np.zeros((len(t2), orders + 1))
    minus, along = np.zeros_like(plus), np.zeros_like(plus)
    along[:, 0] = 1.0
    first = second = np.zeros(len(t2))
    for _ in range(int(np.ceil(12 * max(t1, float(t2.max())) / tr))):
        plus, minus, along = np.einsum("ij,jno->ino", pulse, np.stack([plus, minus, along]))
        previous, first = first, plus[:, 0] * np.exp(-te / t2)
        plus, minus = shifted(plus * e2 * rising, minus * e2 * falling)
        along = along * e1 * resting
        along[:, 0] += 1 - e1
        second = minus[:, 0] * np.exp(te / t2)
        if np.abs(first - previous).max() < 1e-10:
            break
    return np.abs(first), np.abs(second)
