"""Left or right, from the shape of the bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SideFinding:
    """What the anatomy says about the side.

    Attributes:
        side: ``left``, ``right`` or ``unknown``.
        margin: how clearly: 1 is the least that counts as decided, negative for a left knee.
        source: what it was found from.
    """

    side: str
    margin: float
    source: str

    @staticmethod
    def of(value: float, least: float, source: str) -> "SideFinding":
        """``value`` above ``least`` means right, below ``-least`` left, between them unknown."""
        margin = float(value) / least
        side = "right" if margin >= 1 else "left" if margin <= -1 else "unknown"
        return SideFinding(side, margin, source)


def side_from_bones(masks, spacing) -> SideFinding:
    return SideFinding("unknown", 0.0, "no medial and lateral labels, no fibula")
