"""What to write where a model comes without a card."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadInput
from .card import CARD_NAME


class CardMissing(BadInput):
    """A model without a card."""

    code = "model_card_missing"


def explain_missing_card(path: Path) -> CardMissing:
    """The error for a model without a card: what to write, and where."""
    where = path / CARD_NAME if path.is_dir() else path.with_suffix(".json")
    return CardMissing(f"{path} has no model card: {where} is missing.")
