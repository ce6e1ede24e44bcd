"""Clicks in the slice views that correct a segment: points are placed with Slicer's own mouse mode."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from MRISegSuiteLib.environment import LargeModelsEnvironment
from MRISegSuiteLib.errors import WorkerCrashed

from ..refinement.client import RefinementClient
from ..refinement.prompts import Box, Click, box_between
from .case import ReviewCase

_POLL_EVERY_MS = 20
_NODE_NAME = "Review clicks"
ADD, REMOVE, BOX = MODES = ("add", "remove", "box")


class Clicking:
    """Turns placed points into corrections, one after the other.

    Args:
        addButton, removeButton, boxButton: checkable buttons: clicks that add, clicks that take away, two corners of
            a box in which what stands out is added.
        label: says what is going on.
        case: gives the case under review, or None. segment: gives the id of the segment to correct, or "".
        sam3: gives ``{"checkpoint", "device"}`` where SAM 3 is to answer, None for the random walker.
        onError: called with an exception.
    """

    def __init__(self, addButton, removeButton, boxButton, label, case: Callable[[], ReviewCase | None],
                 segment: Callable[[], str], sam3: Callable[[], dict | None],
                 onError: Callable[[Exception], None]):
        self._buttons = {ADD: addButton, REMOVE: removeButton, BOX: boxButton}
        self._label, self._case, self._segment, self._onError = label, case, segment, onError
        self._sam3 = sam3
        self._mode = ""
        self._corner: tuple | None = None  # the first one of a box
        self._waiting: list[tuple[Click | Box, str, dict | None]] = []
        self._asked = None  # (case, click, segment, sam3, task) that the worker is at
        self._crash = ""  # of a worker that SAM 3 has ended, until its click is answered
        self._points = None
        self._observer = None
        worker = LargeModelsEnvironment.default()
        self._client = RefinementClient(str(worker.python), worker.environment_variables())
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_EVERY_MS)
        self._timer.connect("timeout()", self._poll)
        for mode, button in self._buttons.items():
            button.connect("toggled(bool)", lambda on, mode=mode: self._toggled(mode, on))

    @property
    def isBusy(self) -> bool:
        """Whether a click has no answer yet."""
        return self._asked is not None or bool(self._waiting)

    def click(self, rasPoint, mode: str) -> None:
        """A click at a place of the world (RAS, mm), as if it had been made in a view."""
        case, segment = self._case(), self._segment()
        if case is None or not segment:
            self._label.setText(_("Choose the segment to correct in the list below."))
            return
        point = (-float(rasPoint[0]), -float(rasPoint[1]), float(rasPoint[2]))
        if mode != BOX:
            prompt = Click(point, mode == ADD)
        elif self._corner is None:
            self._corner = point
            self._label.setText(_("Now click the opposite corner."))
            return
        else:
            prompt, self._corner = box_between(case.grid, self._corner, point), None
        self._waiting.append((prompt, segment, self._sam3()))
        self._next()

    def stop(self) -> None:
        """Back to the normal mouse mode; clicks without an answer are forgotten."""
        for button in self._buttons.values():
            button.setChecked(False)
        self._waiting, self._asked, self._crash = [], None, ""
        self._client.forget()
        self._timer.stop()
        self._removePoints()

    def cleanup(self) -> None:
        """Before the panel goes: no worker, no node and no timer stays behind."""
        self.stop()
        self._client.stop()

    # -- the mouse mode ----------------------------------------------------------------------------------------------

    def _toggled(self, mode: str, on: bool) -> None:
        if on:
            for other, button in self._buttons.items():
                if other != mode:
                    button.setChecked(False)
            self._mode, self._corner = mode, None
            try:
                self._client.start()
            except Exception as exception:
                self._onError(exception)
            self._place()
            self._label.setText({
                ADD: _("Click into a slice: the clicked tissue is added."),
                REMOVE: _("Click into a slice: the clicked tissue is taken away."),
                BOX: _("Click two opposite corners around what is to be added; in one slice, or in two."),
            }[mode])
        elif self._mode == mode:
            self._mode = ""
            self._removePoints()
            self._label.setText("")

    def _place(self) -> None:
        """Points of a hidden node are placed until the button is off."""
        if self._points is None:
            self._points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _NODE_NAME)
            self._points.SetSaveWithScene(False)
            self._points.SetHideFromEditors(True)
            self._observer = self._points.AddObserver(self._points.PointPositionDefinedEvent, self._placed)
        logic = slicer.app.applicationLogic()
        selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(self._points.GetID())
        interaction.SwitchToPersistentPlaceMode()

    def _placed(self, _caller=None, _event=None) -> None:
        # The point is taken after the event: Slicer is still at work on the node.
        qt.QTimer.singleShot(0, self._takePoints)

    def _takePoints(self) -> None:
        if self._points is None or not self._mode:
            return
        defined = slicer.vtkMRMLMarkupsNode.PositionDefined
        for index in reversed(range(self._points.GetNumberOfControlPoints())):
            if self._points.GetNthControlPointPositionStatus(index) == defined:
                point = [0.0, 0.0, 0.0]
                self._points.GetNthControlPointPositionWorld(index, point)
                self._points.RemoveNthControlPoint(index)
                self.click(point, self._mode)

    def _removePoints(self) -> None:
        if self._points is None:
            return
        points, self._points = self._points, None
        points.RemoveObserver(self._observer)
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SwitchToViewTransformMode()
        if slicer.mrmlScene.IsNodePresent(points):
            slicer.mrmlScene.RemoveNode(points)

    # -- the worker --------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        if self._asked is not None or not self._waiting:
            return
        click, segment, sam3 = self._waiting.pop(0)
        self._ask(click, segment, sam3)

    def _ask(self, click, segment: str, sam3: dict | None) -> None:
        case = self._case()
        if case is None:
            return
        try:
            task, gray, mask = case.ask(click, segment, wide=sam3 is not None)
            self._client.ask(task, gray, mask, sam3)
        except Exception as exception:
            self._fail(exception)
            return
        self._asked = (case, click, segment, sam3, task)
        self._label.setText(_("SAM 3 is working on the click; the first one loads it.") if sam3 is not None
                            else _("Working on the click."))
        self._timer.start()

    def _poll(self) -> None:
        if self._asked is None:
            self._timer.stop()
            return
        case, click, segment, sam3, task = self._asked
        try:
            answer = self._client.answer()
            if answer is None:
                return
            self._asked = None
            if case is self._case():
                changed = case.answer(click, segment, task, answer.mask)
                self._label.setText(self._outcome(changed, sam3 is not None, answer.note))
        except WorkerCrashed as exception:
            self._asked = None
            if sam3 is None:
                self._fail(exception)
            else:  # it may have taken all memory: the click gets its answer without it
                self._crash = str(exception)
                self._ask(click, segment, None)
                return
        except Exception as exception:
            self._fail(exception)
        self._next()

    def _outcome(self, changed: int, bySam3: bool, note: str) -> str:
        note, self._crash = note or self._crash, ""
        if note:
            return _("{count} voxels changed by random walk, because: {reason}").format(count=changed, reason=note)
        if bySam3:
            return _("{count} voxels changed by SAM 3.").format(count=changed)
        return _("{count} voxels changed.").format(count=changed)

    def _fail(self, exception: Exception) -> None:
        self._asked = None
        self._label.setText(str(exception))  # here too: the panel is long, and the eyes are here
        self._onError(exception)
