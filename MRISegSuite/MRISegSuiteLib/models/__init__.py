"""Segmentation models: their cards, where they are kept, how they are loaded safely, and how they are run.

Nothing here imports torch or MONAI when it is imported itself: cards and registry are for the GUI process as well,
and only :func:`MRISegSuiteLib.models.inference.segment` (in the worker) needs them.
"""

from .card import Card, InvalidCard
from .registry import Registry

__all__ = ["Card", "InvalidCard", "Registry"]
