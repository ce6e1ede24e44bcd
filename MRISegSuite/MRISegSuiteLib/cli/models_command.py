"""``mriseg models``"""

from __future__ import annotations

import json
import sys

from ..errors import SuiteError
from ..models import Card, Registry
from .worker_python import WorkerPython


def models(arguments, worker: WorkerPython) -> int:
    """List, show, check, add or remove models; returns the exit code."""
    registry = Registry()
    action = arguments.action or "list"
    if action == "list":
        _list(registry)
    elif action == "show":
        print(json.dumps(registry.get(arguments.id).content, indent=2, ensure_ascii=False))
    elif action == "check":
        return _check(registry, arguments.id)
    elif action == "add":
        card = registry.add(arguments.path)
        print(f"Added {card.id} {card.version}: {card.title}")
    elif action == "remove":
        registry.remove(arguments.id)
        print(f"Removed {arguments.id}")
    return 0


def _list(registry: Registry) -> None:
    cards = registry.cards()
    for card in cards:
        print(_line(card))
    if not cards:
        print("There are no models on this computer.")
    for error in registry.broken():
        print(f"mriseg: {error}", file=sys.stderr)


def _line(card: Card) -> str:
    origin = "embedded" if card.embedded else "yours"
    return f"{card.id}  {card.version}  {card.task}  {card.backend}  {card.bytes / 1e6:.1f} MB  {origin}  {card.title}"


def _check(registry: Registry, model_id: str | None) -> int:
    """Hash one model, or all; the exit code of the last that is not right."""
    exit_code = 0
    wanted = [model_id] if model_id else [card.id for card in registry.cards()]
    for name in wanted:
        try:
            registry.check(name)
            print(f"{name}: files are as the card says")
        except SuiteError as error:
            print(f"mriseg: {error}", file=sys.stderr)
            exit_code = error.exit_code
    for error in [] if model_id else registry.broken():
        print(f"mriseg: {error}", file=sys.stderr)
        exit_code = error.exit_code
    return exit_code
