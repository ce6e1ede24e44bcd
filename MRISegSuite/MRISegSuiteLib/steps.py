"""Work cut into steps, so that a panel can let events pass between them.

It is a generator that yields after each step and returns the result. A step should take less than 100 ms, on any
computer less than the 200 ms that a person notices.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any


def all_at_once(steps: Generator[None, None, Any]) -> Any:
    """Do all steps, as a script wants it; returns the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
