"""Terminology entries: the one string by which Slicer and DICOM SEG know what a segment is."""

from __future__ import annotations

#: Names of the lists that Slicer ships; both have to be spelled exactly as in its JSON files.
TYPE_CONTEXT = "Segmentation category and type - DICOM master list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"

Code = tuple[str, str, str]

_NO_CODE: Code = ("", "", "")
_SIDES: dict[str, Code] = {"right": ("SCT", "24028007", "Right"), "left": ("SCT", "7771000", "Left")}


def terminology_entry(category: Code, code: Code, region: Code | None = None, side: str | None = None) -> str:
    """Return the serialized terminology entry of a segment.

    This is the value of the segment tag ``TerminologyEntry`` in MRML and of ``SegmentN_Tags`` in a ``.seg.nrrd`` file
    (written there as ``TerminologyEntry:<value>``). The form is that of Slicer's
    ``vtkSlicerTerminologiesModuleLogic::SerializeTerminologyEntry``:
    ``type context~category~type~type modifier~region context~region~region modifier``, each code
    ``scheme^value^meaning``.

    Args:
        category: (scheme, value, meaning) of the category, e.g. ``("SCT", "85756007", "Tissue")``.
        code: (scheme, value, meaning) of the type, e.g. ``("SCT", "309312004", "Cartilage")``.
        region: (scheme, value, meaning) of the anatomic region, if there is one.
        side: ``right`` or ``left``: becomes the modifier of the region (or of the type where there is no region).

    Raises:
        ValueError: a code is incomplete or holds a separator (``~``, ``^``, ``|``), or the side is unknown.
    """
    if side not in (None, *_SIDES):
        raise ValueError(f"side is 'right', 'left' or None, not {side!r}")
    for part in (category, code, region or _SIDES["right"]):
        if len(part) != 3 or not all(part) or any(separator in text for text in part for separator in "~^|"):
            raise ValueError(f"a terminology code is (scheme, value, meaning) without '~', '^', '|', not {part!r}")
    modifier = _SIDES[side] if side else _NO_CODE
    parts = (category, code, _NO_CODE if region else modifier, region or _NO_CODE, modifier if region else _NO_CODE)
    fields = ["^".join(part) for part in parts]
    return "~".join([TYPE_CONTEXT, *fields[:3], REGION_CONTEXT if region else "", *fields[3:]])
