"""Which image is which channel: from what a person wrote, or from the name of the file."""

from __future__ import annotations

import re

#: Channel -> how it is written in file names and cards, in small letters without punctuation.
_WRITTEN = {
    "FLAIR": {"flair", "fla", "t2f", "t2flair", "flr"},
    "T1c": {"t1c", "t1ce", "t1gd", "t1post", "t1ct", "ct1", "t1contrast", "t1pc", "t1km"},
    "T1": {"t1", "t1w", "t1n", "t1native", "t1pre"},
    "T2": {"t2", "t2w"},
    "PD": {"pd", "pdw"},
}
_CONTRAST = {"c", "ce", "gd", "gad", "post", "contrast", "km"}


def channel_of(text: str) -> str | None:
    """The channel that a name speaks of ("case_03-T1_Gd" is T1c), None where it does not say, or names two."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    found = {channel for word in words for channel, written in _WRITTEN.items() if word in written}
    if "T1" in found and _CONTRAST & set(words):
        found = found - {"T1"} | {"T1c"}
    if found == {"T2", "FLAIR"}:  # "T2 FLAIR"
        found = {"FLAIR"}
    return found.pop() if len(found) == 1 else None


def same_channel(one: str, other: str) -> bool:
    """Whether two names mean one channel."""
    if one.lower() == other.lower():
        return True
    first, second = channel_of(one), channel_of(other)
    return first is not None and first == second
