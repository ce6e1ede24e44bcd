"""What Slicer's DICOM database knows of a volume: its files, when and how it was taken."""

from __future__ import annotations

from datetime import date

import slicer

_TAGS = {"tr_ms": "0018,0080", "te_ms": "0018,0081", "flip_deg": "0018,1314"}
#: Acquisition, series, study: the first that is there counts.
_DATE_TAGS = ("0008,0022", "0008,0021", "0008,0020")
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


def files_of(volumeNode) -> list[str]:
    """The DICOM files that the volume was loaded from, in the order of its slices; [] unless all are known.

    Nobody says that the volume still is what they hold: it may have been cropped or moved since.
    """
    database, uids = _origin_of(volumeNode)
    files = [database.fileForInstance(uid) for uid in uids] if database is not None else []
    return files if all(files) else []


def date_of(volumeNode) -> str:
    """When the volume was taken, "YYYY-MM-DD"; "" where the database does not know."""
    database, uids = _origin_of(volumeNode)
    for tag in _DATE_TAGS if database is not None else ():
        found = database.instanceValue(uids[0], tag)
        try:
            return date(int(found[:4]), int(found[4:6]), int(found[6:])).isoformat()
        except (TypeError, ValueError):
            continue
    return ""


def _origin_of(volumeNode):
    """(database, instance UIDs) of a volume that came from DICOM; (None, []) for others."""
    database = getattr(slicer, "dicomDatabase", None)
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    return (database, uids) if database is not None and uids else (None, [])


def _protocol_of(volumeNode) -> dict:
    database, uids = _origin_of(volumeNode)
    if database is None:
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
