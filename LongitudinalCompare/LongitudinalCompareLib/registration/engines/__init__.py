"""Registration engines. Each takes two prepared scans and a start, and gives a matrix; see :class:`Engine`."""

from __future__ import annotations

import importlib
from typing import Protocol

import numpy as np

from MRISegSuiteLib.errors import BadArguments

from ..preparation import Prepared

DEFAULT = "greedy"
_CLASSES = {"greedy": "greedy:Greedy", "simpleitk": "simpleitk:SimpleItk", "ants": "ants:Ants"}
NAMES = tuple(_CLASSES)


class EngineMissing(BadArguments):
    """The package of an engine is not in this Python."""

    code = "engine_missing"


class Engine(Protocol):
    """A registration program.

    Attributes:
        name: as in ``NAMES``.
    """

    name: str

    def version(self) -> str:
        """Package and version."""

    def register(
        self, fixed: Prepared, moving: Prepared, start: np.ndarray, affine: bool = False, coarse: bool = False
    ) -> np.ndarray:
        """The 4 x 4 matrix (LPS, mm) that takes points of ``fixed`` to points of ``moving``.

        Args:
            start: where to begin, such a matrix.
            affine: 12 degrees of freedom instead of 6.
            coarse: the images are coarse ones and the start is a guess.
        """


def find_engine(name: str = DEFAULT) -> Engine:
    """The engine of that name.

    Raises:
        EngineMissing: its package is not installed; the text says what to do.
        BadArguments: there is no such engine.
    """
    if name not in _CLASSES:
        raise BadArguments(f"There is no registration engine {name!r}.", f"Choose among {', '.join(NAMES)}.")
    module, _, attribute = _CLASSES[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)()


def quietly_version(package: str) -> str:
    """Name and version of a distribution, as provenance tells it."""
    import importlib.metadata

    return f"{package} {importlib.metadata.version(package)}"
