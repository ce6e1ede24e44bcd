"""Compares the files of a model with the hashes of its card, a piece at a time so that the panel stays alive."""

from __future__ import annotations

import hashlib

import qt

_PIECE_BYTES = 4 << 20  # about 10 ms of hashing


class FileCheck:
    """Checks one model after the other.

    Args:
        onResult: called with the card and one sentence for a person, "" when all files are what the card says.
    """

    def __init__(self, onResult):
        self._onResult = onResult
        self._waiting = []
        self._work = None
        self._card = None
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._step)

    def add(self, card) -> None:
        """Check this model when those before it are done."""
        self._waiting.append(card)
        self._timer.start()

    def stop(self) -> None:
        """Forget all that is left."""
        self._timer.stop()
        self._waiting, self._work = [], None

    def _step(self) -> None:
        if self._work is None:
            if not self._waiting:
                self._timer.stop()
                return
            self._card = self._waiting.pop(0)
            self._work = _differences(self._card)
        try:
            next(self._work)
        except StopIteration as end:
            self._work = None
            self._onResult(self._card, end.value)


def _differences(card):
    """A generator that hashes a piece at each step and returns what is wrong, or ""."""
    for entry in card.files:
        path = card.path_of(entry["path"])
        digest = hashlib.sha256()
        try:
            with open(path, "rb") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    digest.update(piece)
                    yield
        except OSError as exception:
            return f"{entry['path']}: {exception.strerror}"
        if digest.hexdigest() != entry["sha256"]:
            return f"{entry['path']} is not the file that the card names"
    return ""
