"""The timepoints in the panel: any number of scans, each with the segmentation of its lesions, its date, and other
contrasts of the same session.

What is chosen is kept in the module's parameter node under names that end in the number of the timepoint (and, for
further contrasts, of the contrast), all from 1: see :func:`read_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slicer.i18n import tr as _

from MRISegSuiteLib.images.channels import channel_of
from MRISegSuiteLib.scene import dicom_origin

from .timepoint_frame import TimepointFrame

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+-]{0,31}")
_FEWEST = 2


@dataclass(frozen=True)
class Row:
    """One timepoint as it is chosen: nodes or None, texts as typed.

    ``name`` is the contrast of ``volume``; ``further`` are other contrasts of the session: (name, volume).
    """

    volume: Any = None
    mask: Any = None
    date: str = ""
    name: str = ""
    further: tuple[tuple[str, Any], ...] = ()

    @property
    def hasDate(self) -> bool:
        """Whether the date has the form YYYY-MM-DD."""
        return bool(_DATE.fullmatch(self.date))

    @property
    def contrasts(self) -> list[str]:
        """Names of all contrasts, the first that of ``volume``; empty where there is one scan alone."""
        return [self.name, *(name for name, _volume in self.further)] if self.further else []

    @property
    def hasNames(self) -> bool:
        """Whether every contrast has a name of its own that files can have."""
        names = self.contrasts
        return all(_NAME.fullmatch(name) for name in names) and len({name.lower() for name in names}) == len(names)


def read_rows(parameterNode) -> list[Row]:
    """The timepoints kept in a MRML node, two at least."""
    number = parameterNode.GetParameter("timepointCount") or "0"
    count = max(_FEWEST, int(number))
    while parameterNode.GetNodeReferenceID(f"volume{count + 1}"):  # a scene of before any number was possible
        count += 1
    return [_read_row(parameterNode, n) for n in range(1, count + 1)]


def _read_row(node, n: int) -> Row:
    def text(name: str) -> str:
        return (node.GetParameter(name) or "").strip()

    count = int(text(f"furtherCount{n}") or "0")
    further = tuple((text(f"contrast{n}_{k}"), node.GetNodeReference(f"further{n}_{k}")) for k in range(1, count + 1))
    volume, mask = (node.GetNodeReference(f"{role}{n}") for role in ("volume", "mask"))
    return Row(volume, mask, text(f"date{n}"), text(f"contrast{n}"), further)


def write_rows(parameterNode, rows: Sequence[Row]) -> None:
    """Keep these timepoints, and no others, in a MRML node."""
    before = read_rows(parameterNode)
    modifying = parameterNode.StartModify()
    parameterNode.SetParameter("timepointCount", str(len(rows)))
    for n in range(1, max(len(before), len(rows)) + 1):
        row = rows[n - 1] if n <= len(rows) else Row()
        _refer(parameterNode, f"volume{n}", row.volume)
        _refer(parameterNode, f"mask{n}", row.mask)
        parameterNode.SetParameter(f"date{n}", row.date)
        parameterNode.SetParameter(f"contrast{n}", row.name)
        parameterNode.SetParameter(f"furtherCount{n}", str(len(row.further)))
        most = max(len(row.further), len(before[n - 1].further) if n <= len(before) else 0)
        for k in range(1, most + 1):
            name, volume = row.further[k - 1] if k <= len(row.further) else ("", None)
            _refer(parameterNode, f"further{n}_{k}", volume)
            parameterNode.SetParameter(f"contrast{n}_{k}", name)
    parameterNode.EndModify(modifying)


def _refer(parameterNode, role: str, node) -> None:
    parameterNode.SetNodeReferenceID(role, node.GetID() if node is not None else None)


class TimepointRows:
    """Shows the timepoints of a parameter node in a layout and writes back what a person chooses.

    Args:
        layout: takes a frame for each timepoint.
        addButton, sortButton: add a timepoint; bring all into the order of their dates.
        parameterNode: gives the vtkMRMLScriptedModuleNode, or None.
    """

    def __init__(self, layout, addButton, sortButton, parameterNode: Callable[[], Any]):
        self._layout, self._addButton, self._sortButton = layout, addButton, sortButton
        self._parameterNode = parameterNode
        self.frames: list[TimepointFrame] = []
        self._filling = False
        addButton.connect("clicked(bool)", lambda _checked=False: self._write([*self.rows(), Row()]))
        sortButton.connect("clicked(bool)", self._onSort)

    def rows(self) -> list[Row]:
        """As chosen."""
        node = self._parameterNode()
        return read_rows(node) if node is not None else []

    def update(self) -> None:
        """Show what the parameter node holds."""
        rows = self.rows()
        if not rows:
            return
        self._filling = True
        while len(self.frames) < len(rows):
            frame = TimepointFrame(self._onChanged, self._onRemove, self._onMore)
            self._layout.addWidget(frame.widget)
            self.frames.append(frame)
        while len(self.frames) > len(rows):
            frame = self.frames.pop()
            frame.widget.hide()
            frame.widget.deleteLater()  # later: its button may be what was clicked
        for n, (frame, row) in enumerate(zip(self.frames, rows, strict=True)):
            name = _("Baseline") if n == 0 else _("Follow-up") if len(rows) == 2 else _("Follow-up {n}").format(n=n)
            frame.show(name, row, len(rows) > _FEWEST)
        self._filling = False
        self._sortButton.setEnabled(len(rows) > 1 and all(row.hasDate for row in rows))

    def _onChanged(self, frame: TimepointFrame) -> None:
        if self._filling or self._parameterNode() is None:
            return
        rows, n = self.rows(), self.frames.index(frame)
        before, now = rows[n], Row(*frame.values())
        if now.volume is not None and now.volume is not before.volume:
            date = now.date or dicom_origin.date_of(now.volume)
            now = replace(now, date=date, name=now.name or _contrast(now.volume))
        further = [(name or _contrast(volume), volume) for name, volume in now.further]
        if [volume for _name, volume in now.further] != [volume for _name, volume in before.further]:
            now = replace(now, further=tuple(further))
        rows[n] = now
        self._write(rows)

    def _onRemove(self, frame: TimepointFrame) -> None:
        rows = self.rows()
        del rows[self.frames.index(frame)]
        self._write(rows + [Row()] * (_FEWEST - len(rows)))

    def _onMore(self, frame: TimepointFrame) -> None:
        """Room for another contrast."""
        rows, n = self.rows(), self.frames.index(frame)
        rows[n] = replace(rows[n], further=(*rows[n].further, ("", None)))
        self._write(rows)

    def _onSort(self, _checked=False) -> None:
        self._write(sorted(self.rows(), key=lambda row: row.date))

    def _write(self, rows: Sequence[Row]) -> None:
        if self._parameterNode() is not None:
            write_rows(self._parameterNode(), rows)  # the panel observes it, and calls update()


def _contrast(volumeNode) -> str:
    """The contrast that the name of a volume speaks of, or ""."""
    return (channel_of(volumeNode.GetName()) or "") if volumeNode is not None else ""
