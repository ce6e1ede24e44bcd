"""A folder of finished ensemble jobs as a list of cases: what their result.json says; nothing else is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import qt

from MRISegSuiteLib.jobs.result import FILE_NAME

from ..feedback.saving import store_folder
from ..feedback.store import FeedbackStore

_PER_STEP = 5


@dataclass(frozen=True)
class CaseFile:
    """A finished job.

    Attributes:
        folder: of the job. name: of the folder.
        result: SHA-256 of its result.json, by which reviews remember what they are about.
        light: color of its traffic light, or "". spots: number of its hot spots.
    """

    folder: Path
    name: str
    result: str
    light: str
    spots: int


def read_case_file(folder: Path) -> CaseFile | None:
    """The finished ensemble job in a folder; None where there is none."""
    try:
        data = (folder / FILE_NAME).read_bytes()
        record = json.loads(data)
        if record["task"] != "ensemble" or record["status"] != "done":
            return None
        parameters = record["parameters"]
        return CaseFile(folder, folder.name, hashlib.sha256(data).hexdigest(),
                        parameters["agreement"]["light"] or "", int(parameters["hot_spots"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # another file of that name, or one that is being written


class CaseFolder:
    """Reads a folder, a few cases at a time, and what was said about them.

    Args:
        onChanged: called when the list or what was said has changed.
    """

    def __init__(self, onChanged: Callable[[], None]):
        self._onChanged = onChanged
        self._steps: Iterator | None = None
        self._words: dict = {}
        self.cases: list[CaseFile] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._next)

    def setFolder(self, path: str) -> None:
        """Read another folder: of a batch, of finished jobs, or of one; "": none."""
        self.stop()
        self.cases = []
        folder = Path(path) if path else None
        if folder is not None and folder.is_dir():
            self._steps = self._read(folder.resolve())
            self._timer.start()
        self._onChanged()

    def stop(self) -> None:
        """End reading."""
        self._timer.stop()
        self._steps = None

    def word_on(self, case: CaseFile):
        """The last :class:`feedback.review.Record` about a case, or None."""
        return self._words.get(case.result)

    def readWords(self) -> None:
        """Read what was said so far; nothing is made where there is no store. Raises SuiteError."""
        folder = store_folder()
        if self.cases and folder.is_dir():
            records = FeedbackStore(folder).latest()
            self._words = {record.fusion["result"]: record for record in records if "result" in record.fusion}

    def _read(self, folder: Path) -> Iterator[None]:
        places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        for start in range(0, len(places), _PER_STEP):
            found = (read_case_file(place) for place in places[start:start + _PER_STEP])
            self.cases += [case for case in found if case is not None]
            yield

    def _next(self) -> None:
        if self._steps is not None and next(self._steps, True) is None:
            return
        self.stop()
        self.readWords()
        self._onChanged()
