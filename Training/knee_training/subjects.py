"""Which label maps train the network and which test it: split by subject, both timepoints together."""

from __future__ import annotations

import re
from pathlib import Path

#: Subjects never trained on. 9036770 and 9036771 stand next to each other in the numbering; both are held out.
HELD_OUT_SUBJECTS = ("9057479", "9171097", "9282203", "9364232", "9004175", "9011420", "9036770", "9036771")


def subject_of(path: Path) -> str:
    """Subject number in a file name such as ``akoa_9014797_00m_seg.nii.gz``."""
    found = re.search(r"_(\d{7})_", path.name)
    if not found:
        raise ValueError(f"{path.name}: no seven-digit subject number in the file name")
    return found.group(1)


def split(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """Label maps for training and held-out label maps of a folder, in alphabetical order."""
    paths = sorted(Path(folder).glob("*_seg.nii.gz"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no *_seg.nii.gz label maps there")
    held_out = [p for p in paths if subject_of(p) in HELD_OUT_SUBJECTS]
    return [p for p in paths if p not in held_out], held_out
