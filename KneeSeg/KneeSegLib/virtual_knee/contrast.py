"""How bright each tissue is: relaxation times, and the signal equations of the common knee sequences.

Relaxation times are round figures for 3 T from the literature with generous spread; the point is that brightness of
all tissues moves TOGETHER, as one protocol makes it, rather than independently.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..t2.steady_state import dess_signals
from .tissues import Tissue

#: tissue -> (proton density, T1 ms, T2 ms, fat fraction). Sources: the ranges of published 3 T knee relaxometry.
RELAXATION: dict[int, tuple[float, float, float, float]] = {
    Tissue.AIR: (0.0, 1000, 50, 0),
    Tissue.SKIN: (0.7, 900, 28, 0.1),
    Tissue.SUBCUTANEOUS_FAT: (0.95, 380, 120, 0.92),
    Tissue.MUSCLE_A: (0.80, 1400, 34, 0.03),
    Tissue.MUSCLE_B: (0.82, 1380, 36, 0.06),
    Tissue.MUSCLE_C: (0.78, 1420, 32, 0.02),
    Tissue.FASCIA: (0.55, 900, 15, 0.15),
    Tissue.INTERMUSCULAR_FAT: (0.9, 390, 110, 0.85),
    Tissue.JOINT_FAT: (0.9, 400, 105, 0.85),
    Tissue.SYNOVIUM: (0.8, 1300, 60, 0.15),
    Tissue.FLUID: (1.0, 3600, 500, 0),
    Tissue.MENISCUS: (0.62, 950, 14, 0),
    Tissue.LIGAMENT: (0.5, 850, 9, 0.02),
    Tissue.VESSEL: (0.9, 1900, 140, 0),
    Tissue.CORTICAL_BONE: (0.12, 500, 2, 0.05),
    Tissue.FEMUR_MARROW: (0.88, 370, 110, 0.92),
    Tissue.TIBIA_MARROW: (0.87, 370, 110, 0.92),
    Tissue.PATELLA_MARROW: (0.87, 370, 110, 0.92),
    Tissue.FIBULA_MARROW: (0.87, 370, 110, 0.92),
    Tissue.MARROW_LESION: (0.92, 900, 90, 0.4),
    Tissue.CARTILAGE_DEEP: (0.68, 1050, 28, 0),
    Tissue.CARTILAGE_MIDDLE: (0.76, 1200, 40, 0),
    Tissue.CARTILAGE_SUPERFICIAL: (0.82, 1250, 52, 0),
}

_FAT = (0.95, 370.0, 115.0)


@dataclass
class Protocol:
    """A pulse sequence with its parameters (ms, degrees) and how much of the fat signal remains (0 to 1)."""

    kind: str
    repetition_ms: float = 20.0
    echo_ms: float = 6.0
    flip_deg: float = 25.0
    fat_remaining: float = 1.0
    combine: str = "rss"
    brightness: dict[int, float] = field(default_factory=dict)


def spin_echo_signal(pd, t1, t2, tr, te):
    """``PD (1 - e^(-TR/T1)) e^(-TE/T2)``."""
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)


def spoiled_gradient_echo_signal(pd, t1, t2_star, tr, te, flip_deg):
    """``PD sin(a) (1 - E1)/(1 - cos(a) E1) e^(-TE/T2*)``."""
    angle, e1 = np.deg2rad(flip_deg), np.exp(-tr / t1)
    return pd * np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1) * np.exp(-te / t2_star)


def random_protocol(rng: np.random.Generator) -> Protocol:
    """A protocol as knees are imaged: mostly DESS and qDESS, spin echoes, gradient echoes, and free inventions."""
    kind = rng.choice(["dess", "spin_echo", "gradient_echo", "free"], p=[0.65, 0.2, 0.07, 0.08])
    if kind == "dess":
        tr = rng.uniform(14, 32)
        return Protocol(
            kind,
            tr,
            tr * rng.uniform(0.22, 0.42),
            rng.uniform(15, 40),
            _fat_remaining(rng, 0.85),
            str(rng.choice(["rss", "rss", "sum", "first", "second"], p=[0.4, 0.2, 0.2, 0.12, 0.08])),
        )
    if kind == "spin_echo":
        return Protocol(
            kind,
            rng.uniform(700, 4500),
            rng.choice([rng.uniform(6, 20), rng.uniform(20, 50), rng.uniform(50, 85)]),
            90,
            _fat_remaining(rng, 0.45),
        )
    if kind == "gradient_echo":
        return Protocol(kind, rng.uniform(8, 40), rng.uniform(2.5, 12), rng.uniform(8, 40), _fat_remaining(rng, 0.6))
    levels = {int(t): float(rng.uniform(0, 1)) for t in Tissue}
    levels[int(Tissue.AIR)] = 0.0
    return Protocol("free", brightness=levels)


def _fat_remaining(rng: np.random.Generator, suppressed: float) -> float:
    # Water excitation leaves next to nothing of the fat (marrow of a real qDESS knee: a sixth of its cartilage); poor
    # saturation leaves a third.
    if rng.random() >= suppressed:
        return float(rng.uniform(0.7, 1.1))
    return float(np.exp(rng.uniform(-6.0, -2.3) if rng.random() < 0.85 else rng.uniform(-2.3, -1.1)))


def brightness(protocol: Protocol, rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """Signal of each tissue under a protocol, float32 table indexed by Tissue, largest of the soft tissues about 1.

    ``spread`` scales the person-to-person variation of the relaxation times (0: none).
    """
    table = np.zeros(len(Tissue), np.float32)
    # How much water fat tissue and yellow marrow hold differs between people more than within one.
    watery = spread * rng.normal(-0.5, 0.5)
    for tissue in Tissue:
        pd, t1, t2, fat = RELAXATION[tissue]
        pd, t1, t2 = (v * np.exp(spread * rng.normal(0, s)) for v, s in ((pd, 0.06), (t1, 0.10), (t2, 0.16)))
        if fat > 0.5:
            fat = 1 - (1 - fat) * float(np.exp(watery + spread * rng.normal(0, 0.2)))
        elif fat:
            fat += spread * rng.normal(0, 0.04)
        fat = float(np.clip(fat, 0, 0.998))
        water = _signal(protocol, pd, t1, t2)
        lipid = _signal(protocol, pd * _FAT[0] / 0.95, _FAT[1], _FAT[2])
        table[tissue] = (1 - fat) * water + fat * protocol.fat_remaining * lipid
    if protocol.kind == "free":
        table[:] = [protocol.brightness[int(t)] for t in Tissue]
        # One cartilage, one marrow and one muscle each, however free: real tissues hang together.
        for group in ((20, 21, 22), (15, 16, 17, 18), (3, 4, 5)):
            level = rng.uniform(0, 1)
            table[list(group)] = np.clip(level + rng.normal(0, 0.06, len(group)), 0, 1)
        # A boundary has to exist for the truth to be visible at all.
        marrow = table[15:19].mean()
        if abs(table[21] - marrow) < 0.25:
            table[[20, 21, 22]] = (marrow + 0.5) % 1.0 + rng.normal(0, 0.04, 3)
    # Blood flows: bright, dark or in between.
    table[Tissue.VESSEL] *= rng.choice([0.1, 0.7, 1.3])
    reference = np.percentile(table[1:], 90)
    return np.clip(table / max(reference, 1e-6), 0, 3).astype(np.float32)


def _signal(protocol: Protocol, pd, t1, t2):
    tr, te, flip = protocol.repetition_ms, protocol.echo_ms, protocol.flip_deg
    if protocol.kind == "dess":
        first, second = dess_signals(pd, t1, t2, tr, te, flip)
        return {"rss": np.hypot(first, second), "sum": first + second, "first": first, "second": second}[
            protocol.combine
        ]
    if protocol.kind == "spin_echo":
        return spin_echo_signal(pd, t1, t2, tr, te)
    if protocol.kind == "gradient_echo":
        return spoiled_gradient_echo_signal(pd, t1, t2 * 0.6, tr, te, flip)
    return 0.0
