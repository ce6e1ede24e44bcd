"""The timepoints in the panel: any number of scans, each with the segmentation of its lesions and its date."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MRISegSuiteLib.panel.node_selectors import combo_box_in
from MRISegSuiteLib.scene import dicom_origin

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FEWEST = 2


@dataclass(frozen=True)
class Row:
    """One timepoint as it is chosen: nodes or None, date as typed."""

    volume: Any = None
    mask: Any = None
    date: str = ""

    @property
    def hasDate(self) -> bool:
        """Whether the date has the form YYYY-MM-DD."""
        return bool(_DATE.fullmatch(self.date))


def read_rows(parameterNode) -> list[Row]:
    """The timepoints kept in a MRML node, two at least: references volume1, mask1 …, parameters date1 …"""
    count = int(parameterNode.GetParameter("timepointCount") or 0)
    count = max(_FEWEST, count)
    while parameterNode.GetNodeReferenceID(f"volume{count + 1}"):  # a scene of before any number was possible
        count += 1
    return [Row(parameterNode.GetNodeReference(f"volume{n}"), parameterNode.GetNodeReference(f"mask{n}"),
                (parameterNode.GetParameter(f"date{n}") or "").strip()) for n in range(1, count + 1)]


def write_rows(parameterNode, rows: Sequence[Row]) -> None:
    """Keep these timepoints, and no others, in a MRML node."""
    before = len(read_rows(parameterNode))
    modifying = parameterNode.StartModify()
    parameterNode.SetParameter("timepointCount", str(len(rows)))
    for n in range(1, max(before, len(rows)) + 1):
        row = rows[n - 1] if n <= len(rows) else Row()
        for role, node in (("volume", row.volume), ("mask", row.mask)):
            parameterNode.SetNodeReferenceID(f"{role}{n}", node.GetID() if node is not None else None)
        parameterNode.SetParameter(f"date{n}", row.date)
    parameterNode.EndModify(modifying)


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
            frame = TimepointFrame(self._onChanged, self._onRemove)
            self._layout.addWidget(frame.widget)
            self.frames.append(frame)
        while len(self.frames) > len(rows):
            frame = self.frames.pop()
            self._layout.removeWidget(frame.widget)
            frame.widget.hide()
            frame.widget.deleteLater()  # later: its button may be what was clicked
        for n, (frame, row) in enumerate(zip(self.frames, rows, strict=True)):
            frame.show(n, row, len(rows))
        self._filling = False
        self._sortButton.setEnabled(len(rows) > 1 and all(row.hasDate for row in rows))

    def _onChanged(self, frame: TimepointFrame) -> None:
        if self._filling or self._parameterNode() is None:
            return
        rows, n = self.rows(), self.frames.index(frame)
        now = frame.row()
        if now.volume is not None and now.volume is not rows[n].volume and not now.date:
            now = Row(now.volume, now.mask, dicom_origin.date_of(now.volume))
        rows[n] = now
        self._write(rows)

    def _onRemove(self, frame: TimepointFrame) -> None:
        rows = self.rows()
        del rows[self.frames.index(frame)]
        self._write(rows + [Row()] * (_FEWEST - len(rows)))

    def _onSort(self, _checked=False) -> None:
        self._write(sorted(self.rows(), key=lambda row: row.date))

    def _write(self, rows: Sequence[Row]) -> None:
        if self._parameterNode() is not None:
            write_rows(self._parameterNode(), rows)  # the panel observes it, and calls update()


class TimepointFrame:
    """The widgets of one timepoint.

    Args:
        onChanged, onRemove: called with this frame when a person chose something, or wants it to go.
    """

    def __init__(self, onChanged: Callable[[TimepointFrame], None], onRemove: Callable[[TimepointFrame], None]):
        self.widget = qt.QFrame()
        grid = qt.QGridLayout(self.widget)
        grid.setContentsMargins(0, 0, 0, 4)
        self._title = qt.QLabel()
        self.dateEdit = qt.QLineEdit()
        self.dateEdit.setPlaceholderText("YYYY-MM-DD")
        self.dateEdit.setMaxLength(10)
        self.dateEdit.setToolTip(_("When the scan was taken. Without dates there are no growth rates."))
        self.removeButton = qt.QToolButton()
        self.removeButton.setText("✕")
        self.volumeSelector = _selector(
            "vtkMRMLScalarVolumeNode", _("A scan of the patient; scans are in the order of time."))
        self.maskSelector = _selector(
            "vtkMRMLSegmentationNode",
            _("Segmentation of the lesions of this scan, in its own grid. All segments together are measured."))
        grid.addWidget(self._title, 0, 0, 1, 2)
        grid.addWidget(self.dateEdit, 0, 2)
        grid.addWidget(self.removeButton, 0, 3)
        grid.addWidget(qt.QLabel(_("Scan:")), 1, 0)
        grid.addWidget(self.volumeSelector, 1, 1, 1, 3)
        grid.addWidget(qt.QLabel(_("Lesions:")), 2, 0)
        grid.addWidget(self.maskSelector, 2, 1, 1, 3)
        grid.setColumnStretch(1, 1)
        self.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: onChanged(self))
        self.maskSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: onChanged(self))
        self.dateEdit.connect("textChanged(QString)", lambda _text: onChanged(self))
        self.removeButton.connect("clicked(bool)", lambda _checked=False: onRemove(self))

    def row(self) -> Row:
        """What the widgets say."""
        return Row(self.volumeSelector.currentNode(), self.maskSelector.currentNode(), self.dateEdit.text.strip())

    def show(self, n: int, row: Row, count: int) -> None:
        """Show timepoint ``n`` (from 0) of ``count``."""
        name = _("Baseline") if n == 0 else _("Follow-up") if count == 2 else _("Follow-up {n}").format(n=n)
        self._title.setText(f"<b>{name}</b>")
        for widget, what in ((combo_box_in(self.volumeSelector), _("scan")),
                             (combo_box_in(self.maskSelector), _("lesions")), (self.dateEdit, _("date"))):
            widget.setAccessibleName(f"{name}: {what}")
        self.removeButton.setAccessibleName(_("Remove {name}").format(name=name))
        self.removeButton.setToolTip(_("Remove this timepoint from the list; its nodes stay."))
        self.removeButton.setVisible(count > _FEWEST)
        if self.volumeSelector.currentNode() is not row.volume:
            self.volumeSelector.setCurrentNode(row.volume)
        if self.maskSelector.currentNode() is not row.mask:
            self.maskSelector.setCurrentNode(row.mask)
        if self.dateEdit.text.strip() != row.date:
            self.dateEdit.setText(row.date)


def _selector(nodeType: str, toolTip: str):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = [nodeType]
    selector.showChildNodeTypes = False
    selector.noneEnabled = True
    selector.addEnabled = False
    selector.removeEnabled = False
    selector.setToolTip(toolTip)
    # A long name of a node must not make the panel wide.
    combo_box_in(selector).sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    selector.setMRMLScene(slicer.mrmlScene)
    return selector
