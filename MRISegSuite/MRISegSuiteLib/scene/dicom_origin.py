"""What Slicer's DICOM database knows of how a volume was taken."""

from __future__ import annotations

import slicer

_TAGS = {"tr_ms": "0018,0080", "te_ms": "0018,0081", "flip_deg": "0018,1314"}
#: GE's private acquisition group: who wrote it, and the spoiler of qDESS in it.
_CREATOR, _GE_TAGS = "0019,0010", {"spoiler_area": "0019,10B6", "spoiler_us": "0019,10B7"}


def protocol_of_echoes(volumeNodes) -> dict:
    """Repetition time, flip angle, echo times and spoiler of volumes that were loaded from DICOM.

    Returns:
        ``tr_ms``, ``flip_deg``, ``te_ms`` (one a volume; left out unless known for all), ``spoiler_area``,
        ``spoiler_us``, as far as the database knows them.
    """
    found = [_protocol_of(node) for node in volumeNodes]
    known = {name: value for name, value in (found[0] if found else {}).items() if name != "te_ms"}
    times = [one.get("te_ms") for one in found]
    if times and all(times):
        known["te_ms"] = times
    return known


def _protocol_of(volumeNode) -> dict:
    database = getattr(slicer, "dicomDatabase", None)
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not uids:
        return {}
    tags = dict(_TAGS)
    if database.instanceValue(uids[0], _CREATOR).startswith("GEMS_ACQU"):
        tags |= _GE_TAGS
    values = {name: number_in(database.instanceValue(uids[0], tag)) for name, tag in tags.items()}
    return {name: value for name, value in values.items() if value}


def number_in(text) -> float | None:
    """The first number of a DICOM value as text; None where there is none."""
    try:
        return float(str(text).split("\\")[0])
    except ValueError:
        return None
