"""Progress in a terminal: one line that is rewritten, or a few lines where the output goes to a file."""

from __future__ import annotations

import sys
import time

from ..jobs import JobState

_SPARSE_EVERY_S = 30.0


class ProgressLines:
    """Shows :class:`JobState` after state on ``stream`` (stderr, so that stdout holds results only)."""

    def __init__(self, stream=None):
        self._stream = stream if stream is not None else sys.stderr
        self._rewrites = bool(getattr(self._stream, "isatty", lambda: False)())
        self._shown = ""
        self._stage = None
        self._told = float("-inf")

    def show(self, state: JobState) -> None:
        """Show where the job stands; cheap to call often."""
        text = f"[{100 * state.fraction:3.0f} %] {state.stage}"
        if state.seconds_left is not None:
            text += f", {duration(state.seconds_left)} left"
        if self._rewrites:
            if text != self._shown:
                # Longer than the line it replaces: overwrite the rest of that one.
                self._stream.write("\r" + text.ljust(len(self._shown)))
                self._stream.flush()
                self._shown = text
        elif state.stage != self._stage or time.monotonic() - self._told >= _SPARSE_EVERY_S:
            self._stage, self._told = state.stage, time.monotonic()
            self._stream.write(text + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the rewritten line, so that what follows starts on a line of its own."""
        if self._rewrites and self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
            self._shown = ""


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 2:05 min, 1:30 h."""
    seconds = int(round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"
