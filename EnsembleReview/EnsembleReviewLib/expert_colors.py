"""The colors of experts in pictures, in the scene and in the panel."""

from __future__ import annotations

#: Told apart also by color-blind eyes (Okabe and Ito 2008).
EXPERT_COLORS = (
    (0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.00), (0.00, 0.45, 0.70), (0.75, 0.75, 0.75),
)  # fmt: skip


def expert_color(number: int) -> tuple[float, float, float]:
    """The color of the expert with this position in the panel."""
    return EXPERT_COLORS[number % len(EXPERT_COLORS)]
