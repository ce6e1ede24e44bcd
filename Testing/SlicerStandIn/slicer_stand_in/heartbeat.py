"""Measures how long Qt's event loop was not served: a timer of 10 ms and the longest gap between its beats.

``longest_cpu_ms`` is the CPU time of this thread in one gap: what our own code took, however busy the computer is.
"""

import time

from PySide6 import QtCore


class Heartbeat:
    """``with Heartbeat() as heart: …`` then ``heart.longest_ms``.

    The gap of one beat is also counted when it ends after the block (a loop that stalls at the very end).
    """

    def __enter__(self):
        self.longest_ms, self.longest_cpu_ms, self.beats = 0.0, 0.0, 0
        self._last, self._last_cpu = time.perf_counter(), time.thread_time()
        self._timer = QtCore.QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        return self

    def _beat(self):
        now, cpu = time.perf_counter(), time.thread_time()
        self.longest_ms = max(self.longest_ms, 1000 * (now - self._last))
        self.longest_cpu_ms = max(self.longest_cpu_ms, 1000 * (cpu - self._last_cpu))
        self._last, self._last_cpu = now, cpu
        self.beats += 1

    def __exit__(self, *_):
        self._timer.stop()
        self._beat()
