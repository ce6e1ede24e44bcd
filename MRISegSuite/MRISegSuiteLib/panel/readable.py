"""Numbers as a person reads them in a panel."""

from __future__ import annotations

import math

from slicer.i18n import tr as _


def readable_duration(seconds: float) -> str:
    """A duration in the unit that suits it: "8 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return _("{seconds} s").format(seconds=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{minutes} min").format(minutes=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def readable_size(size: float) -> str:
    """A number of bytes: "820 kB", "4.2 MB", "75 MB", "2.1 GB"."""
    if size < 1e6:
        return _("{size} kB").format(size=math.ceil(size / 1e3))
    if size < 1e9:
        return _("{size} MB").format(size=f"{size / 1e6:.{1 if size < 1e7 else 0}f}")
    return _("{size} GB").format(size=f"{size / 1e9:.1f}")
