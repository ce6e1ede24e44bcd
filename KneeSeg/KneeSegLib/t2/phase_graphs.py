"""Extended phase graphs: configurations of magnetization and what pulses and gradients do to them.

Configurations are arrays (..., order) of ``F(+k)``, the conjugate of ``F(-k)``, and ``Z(k)``. Pulses act about an axis
for which all of them stay real (Weigel, J Magn Reson Imaging 2015).
"""

from __future__ import annotations

import numpy as np


def pulse_about_y(flip_deg: float) -> np.ndarray:
    """(3, 3) matrix on (F+, F-, Z) of a pulse about y."""
    angle = np.deg2rad(flip_deg)
    c, s, sin = np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2, np.sin(angle)
    return np.array([[c, -s, sin], [-s, c, sin], [-sin / 2, -sin / 2, np.cos(angle)]])


def refocusing_pulse(flip_deg) -> np.ndarray:
    """(..., 3, 3) matrices on (F+, F-, Z/i) of a pulse about x, on magnetization along x."""
    angle = np.deg2rad(np.asarray(flip_deg, float))
    c, s, sin = np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2, np.sin(angle)
    rows = [[c, s, sin], [s, c, -sin], [-sin / 2, sin / 2, np.cos(angle)]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def shifted(plus: np.ndarray, minus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One unit of gradient: F+ one order up, F- one order down; F-(0) becomes F+(0)."""
    up, down = np.zeros_like(plus), np.zeros_like(minus)
    up[..., 1:] = plus[..., :-1]
    down[..., :-1] = minus[..., 1:]
    up[..., 0] = down[..., 0]
    return up, down


def spin_echo_train(t2, t1: float, echo_spacing: float, echoes: int, refocusing_deg) -> np.ndarray:
    """Amplitudes of a train of spin echoes (CPMG), stimulated echoes included.

    Args:
        t2: ms. refocusing_deg: flip angle of the refocusing pulses. Arrays that fit together by broadcasting.
        t1, echo_spacing: ms. echoes: how many.

    Returns:
        (..., echoes), for unit magnetization after the excitation. Magnetization that recovers during the train is
        out of phase and left out, as crushers leave it out.
    """
    t2, refocusing_deg = np.broadcast_arrays(np.asarray(t2, float), np.asarray(refocusing_deg, float))
    plus, minus, along = np.zeros((3, *t2.shape, 2 * echoes + 1))
    plus[..., 0] = minus[..., 0] = 1.0
    e1, e2 = np.exp(-echo_spacing / 2 / t1), np.exp(-echo_spacing / 2 / t2)[..., None]
    pulses = refocusing_pulse(refocusing_deg)
    amplitudes = np.empty((*t2.shape, echoes))
    for echo in range(echoes):
        plus, minus = shifted(plus * e2, minus * e2)
        plus, minus, along = np.einsum("...ij,j...o->i...o", pulses, np.stack([plus, minus, along * e1]))
        plus, minus = shifted(plus * e2, minus * e2)
        along = along * e1
        amplitudes[..., echo] = plus[..., 0]
    return amplitudes
