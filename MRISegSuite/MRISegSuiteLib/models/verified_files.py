"""The files of a model, handed out only with the contents that its card names.

Hash, inspection and loading all work on the same bytes in memory, so a file cannot be changed in between.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import ModelHashMismatch, ModelMissing
from ..files import sha256_of
from .card import Card


class VerifiedFiles:
    """The files of a card's model.

    Args:
        card: a card with a folder.

    Raises:
        ModelMissing: a file of the card is not there.
        ModelHashMismatch: a file has another content than the card says.
    """

    def __init__(self, card: Card):
        self.card = card
        for entry in card.files:
            path = _present(card, entry)
            if sha256_of(path) != entry["sha256"]:
                raise _mismatch(card, path)

    @property
    def names(self) -> list[str]:
        """Relative paths, the weights first."""
        return [entry["path"] for entry in self.card.files]

    def read(self, name: str) -> bytes:
        """The content of one file of the card, checked once more as it is read.

        Raises:
            ModelMissing: the card does not name this file.
            ModelHashMismatch: it was changed since.
        """
        entry = next((entry for entry in self.card.files if entry["path"] == name), None)
        if entry is None:
            raise ModelMissing(
                f"The model {self.card.id} needs the file {name}, which its card does not name.",
                "Add it with its sha256 and size to 'files' in the card.",
            )
        path = _present(self.card, entry)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise _mismatch(self.card, path)
        return content


def file_entry(path: Path, name: str) -> dict:
    """``{path, sha256, bytes}`` of a file, as a card lists it under ``name``."""
    return {"path": name, "sha256": sha256_of(path), "bytes": path.stat().st_size}


def _present(card: Card, entry: dict) -> Path:
    path = card.path_of(entry["path"])
    if not path.is_file():
        raise ModelMissing(
            f"The file {path} of the model {card.id} is not there.",
            "Install the model again." if not card.embedded else "Install MRI Seg Suite again.",
        )
    if path.stat().st_size != entry["bytes"]:
        raise _mismatch(card, path)
    return path


def _mismatch(card: Card, path: Path) -> ModelHashMismatch:
    return ModelHashMismatch(
        f"{path} is not the file that the card of the model {card.id} names: its SHA-256 or size differs.",
        "It was changed or damaged. Remove the model and add it again from where it came, "
        "or correct the card if you changed the file on purpose.",
    )
