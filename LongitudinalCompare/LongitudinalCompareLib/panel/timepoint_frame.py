"""The widgets of one timepoint: date, scan, other contrasts of the session, lesions."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from MRISegSuiteLib.panel.node_selectors import combo_box_in

_NAME_WIDTH = 64


class TimepointFrame:
    """Shows a timepoint and tells what a person chooses.

    Args:
        onChanged, onRemove, onMore: called with this frame when a person chose something, wants the timepoint to go,
            or wants room for another contrast.
    """

    def __init__(self, onChanged: Callable, onRemove: Callable, onMore: Callable):
        self._onChanged = onChanged
        self.widget = qt.QFrame()
        self._layout = qt.QVBoxLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 4)
        self._title = qt.QLabel()
        self.dateEdit = qt.QLineEdit()
        self.dateEdit.setPlaceholderText("YYYY-MM-DD")
        self.dateEdit.setMaxLength(10)
        self.dateEdit.setToolTip(_("When the scan was taken. Without dates there are no growth rates."))
        self.moreButton = _tool_button("+", _("Add another contrast of the same session."))
        self.removeButton = _tool_button("✕", _("Remove this timepoint from the list; its nodes stay."))
        head = qt.QHBoxLayout()
        head.addWidget(self._title)
        head.addStretch(1)
        for widget in (self.dateEdit, self.moreButton, self.removeButton):
            head.addWidget(widget)
        self._layout.addLayout(head)
        self.scan = ScanLine(_("A scan of the patient, by which the timepoints are registered; in the order of time."),
                             self._changed)
        self._layout.addWidget(self.scan.widget)
        self._furtherLayout = qt.QVBoxLayout()
        self._layout.addLayout(self._furtherLayout)
        self.further: list[ScanLine] = []
        tip = _("Segmentation of the lesions, in the scan's own grid. All segments together are measured.")
        self.maskSelector = _selector("vtkMRMLSegmentationNode", tip)
        mask = qt.QHBoxLayout()
        label = qt.QLabel(_("Lesions:"))
        label.setFixedWidth(_NAME_WIDTH)
        mask.addWidget(label)
        mask.addWidget(self.maskSelector)
        self._layout.addLayout(mask)
        self.maskSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: self._changed())
        self.dateEdit.connect("textChanged(QString)", lambda _text: self._changed())
        self.moreButton.connect("clicked(bool)", lambda _checked=False: onMore(self))
        self.removeButton.connect("clicked(bool)", lambda _checked=False: onRemove(self))

    @property
    def volumeSelector(self):
        """The qMRMLNodeComboBox of the scan."""
        return self.scan.selector

    def values(self) -> tuple:
        """What the widgets say: volume, mask, date, its contrast, ((contrast, volume), …) of the others."""
        further = tuple((line.name, line.selector.currentNode()) for line in self.further)
        return (self.volumeSelector.currentNode(), self.maskSelector.currentNode(), self.dateEdit.text.strip(),
                self.scan.name, further)

    def show(self, title: str, row, canBeRemoved: bool) -> None:
        """Show a ``timepoint_rows.Row``."""
        self._title.setText(f"<b>{title}</b>")
        while len(self.further) < len(row.further):
            line = ScanLine(_("Another contrast of the same session."), self._changed, self._onRemoveLine)
            self._furtherLayout.addWidget(line.widget)
            self.further.append(line)
        while len(self.further) > len(row.further):
            line = self.further.pop()
            line.widget.hide()
            line.widget.deleteLater()
        self.scan.show(row.name, row.volume, bool(row.further), title)
        for line, (name, volume) in zip(self.further, row.further, strict=True):
            line.show(name, volume, True, title)
        combo_box_in(self.maskSelector).setAccessibleName(_("{timepoint}: lesions").format(timepoint=title))
        self.dateEdit.setAccessibleName(_("{timepoint}: date").format(timepoint=title))
        self.moreButton.setAccessibleName(_("{timepoint}: add a contrast").format(timepoint=title))
        self.removeButton.setAccessibleName(_("Remove {timepoint}").format(timepoint=title))
        self.removeButton.setVisible(canBeRemoved)
        if self.maskSelector.currentNode() is not row.mask:
            self.maskSelector.setCurrentNode(row.mask)
        if self.dateEdit.text.strip() != row.date:
            self.dateEdit.setText(row.date)

    def _changed(self) -> None:
        self._onChanged(self)

    def _onRemoveLine(self, line: ScanLine) -> None:
        self.further.remove(line)
        line.widget.hide()
        line.widget.deleteLater()
        self._changed()


class ScanLine:
    """A scan and, where there are several contrasts, its name.

    Args:
        onChanged: called when a person chose or typed something. onRemove: called with this line; None: it stays.
    """

    def __init__(self, toolTip: str, onChanged: Callable, onRemove: Callable | None = None):
        self.widget = qt.QWidget()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self._label = qt.QLabel(_("Scan:"))
        self.nameEdit = qt.QLineEdit()
        self.nameEdit.setPlaceholderText("FLAIR")
        self.nameEdit.setToolTip(_("Contrast of this scan, e.g. FLAIR, T1, T1c, T2."))
        for widget in (self._label, self.nameEdit):
            widget.setFixedWidth(_NAME_WIDTH)
            layout.addWidget(widget)
        self.selector = _selector("vtkMRMLScalarVolumeNode", toolTip)
        layout.addWidget(self.selector)
        self.removeButton = None
        if onRemove is not None:
            self.removeButton = _tool_button("✕", _("Remove this contrast from the list; its node stays."))
            self.removeButton.connect("clicked(bool)", lambda _checked=False: onRemove(self))
            layout.addWidget(self.removeButton)
        self.selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _node: onChanged())
        self.nameEdit.connect("textChanged(QString)", lambda _text: onChanged())

    @property
    def name(self) -> str:
        """The contrast as typed."""
        return self.nameEdit.text.strip()

    def show(self, name: str, volume, isNamed: bool, timepoint: str) -> None:
        """Show a scan; ``isNamed`` tells whether its contrast can be typed."""
        self._label.setVisible(not isNamed)
        self.nameEdit.setVisible(isNamed)
        self.nameEdit.setAccessibleName(_("{timepoint}: contrast").format(timepoint=timepoint))
        combo_box_in(self.selector).setAccessibleName(_("{timepoint}: scan").format(timepoint=timepoint))
        if self.name != name:
            self.nameEdit.setText(name)
        if self.selector.currentNode() is not volume:
            self.selector.setCurrentNode(volume)


def _tool_button(text: str, toolTip: str):
    button = qt.QToolButton()
    button.setText(text)
    button.setToolTip(toolTip)
    return button


def _selector(nodeType: str, toolTip: str):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = [nodeType]
    selector.showChildNodeTypes = False
    selector.noneEnabled = True
    selector.addEnabled = False
    selector.removeEnabled = False
    selector.setToolTip(toolTip)
    # A long name of a node must not make the panel wide.
    combo = combo_box_in(selector)
    combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    selector.setMRMLScene(slicer.mrmlScene)
    return selector
