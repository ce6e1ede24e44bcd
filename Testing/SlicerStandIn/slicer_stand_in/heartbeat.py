"""Measures how long Qt's event loop was not served: a timer of 10 ms and the longest gap between its beats."""

import time

from PySide6 import QtCore


class Heartbeat:
    """``with Heartbeat() as heart: …`` then ``heart.longest_ms``.

    The gap of one beat is also counted when it ends after the block (a loop that stalls at the very end).
    """

    def __enter__(self):
        self.longest_ms, self.beats = 0.0, 0
        self._last = time.perf_counter()
        self._timer = QtCore.QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        return self

    def _beat(self):
        now = time.perf_counter()
        self.longest_ms = max(self.longest_ms, 1000 * (now - self._last))
        self._last = now
        self.beats += 1

    def __exit__(self, *_):
        self._timer.stop()
        self._beat()
