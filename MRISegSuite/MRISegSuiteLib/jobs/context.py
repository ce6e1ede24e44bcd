"""What a task gets from the worker: where to write, how to tell its progress, how to warn, where to log."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ..files import write_json

PROGRESS_FILE = "progress.json"
_WRITE_EVERY_S = 0.2
# Earlier than this an extrapolation says more about start-up than about the job.
_ESTIMATE_AFTER_S, _ESTIMATE_AFTER_FRACTION = 2.0, 0.03


class JobContext:
    """Handed to ``run(job, context)``.

    Attributes:
        folder: write all products here (a partial folder; the worker moves its files to the job folder at the end).
        log: a ``logging.Logger`` that writes to log.txt. Never log names, dates of birth or other identifiers.
        device_preference: "auto", "cpu" or "cuda".
        warnings: the texts given to :meth:`warn`.
        timings_s: seconds spent in each stage so far.
    """

    def __init__(self, folder, log: logging.Logger | None = None, device_preference: str = "auto",
                 progress_file=None):
        self.folder = Path(folder)
        self.log = log or logging.getLogger("MRISegSuite.job")
        self.device_preference = device_preference
        self.warnings: list[str] = []
        self.timings_s: dict[str, float] = {}
        self._progress_file = progress_file
        self._started = self._stage_started = time.monotonic()
        self._written = float("-inf")
        self._stage = ""
        self._fraction = 0.0

    def progress(self, stage: str, fraction: float) -> None:
        """Tell that ``stage`` (a few words for a person) is under way and ``fraction`` (0…1) of the whole job is done.

        Cheap enough for inner loops: the file is written at most five times a second, and at every new stage.
        A fraction that would go back is held, so that the bar never runs backwards.
        """
        now = time.monotonic()
        new_stage = stage != self._stage
        if new_stage:
            self._close_stage(now)
            self._stage = stage
            self.log.info("%s (%.0f %%)", stage, 100 * fraction)
        self._fraction = min(1.0, max(self._fraction, float(fraction)))
        if self._progress_file is not None and (new_stage or now - self._written >= _WRITE_EVERY_S):
            self._written = now
            write_json(self._progress_file, {
                "stage": stage,
                "fraction": round(self._fraction, 4),
                "seconds_left": self.seconds_left(),
                "time": time.time(),
            })

    def warn(self, text: str) -> None:
        """Something the user must know about the result; ends up in ``warnings`` of result.json."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.log.warning("%s", text)

    def seconds_left(self) -> float | None:
        """Time left if the rest goes as fast as the part done so far; None while that is a guess."""
        elapsed = time.monotonic() - self._started
        if elapsed < _ESTIMATE_AFTER_S or self._fraction < _ESTIMATE_AFTER_FRACTION:
            return None
        return round(elapsed * (1.0 - self._fraction) / self._fraction, 1)

    def finish(self) -> None:
        """Close the last stage; the worker calls this when the task has returned."""
        self._close_stage(time.monotonic())
        self._stage = ""

    def _close_stage(self, now: float) -> None:
        if self._stage:
            self.timings_s[self._stage] = self.timings_s.get(self._stage, 0.0) + now - self._stage_started
        self._stage_started = now
