"""The section "Your word on the case": accept or reject, by whom, with a comment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import qt
from slicer.i18n import tr as _

from .case import ReviewCase
from .save_queue import SaveQueue
from .saving import SavingRun, patient_of

_REVIEWER_SETTING = "MRISegSuite/Reviewer"


@dataclass
class WordWidgets:
    """The widgets of the section."""

    reviewer: object
    patient: object
    comment: object
    accept: object
    reject: object
    label: object


class WordSection:
    """Works the section; reviews are kept one after the other in :attr:`saves`.

    Args:
        widgets: of the section.
        case: gives the case under review, or None.
        images: gives the images that were chosen for a run.
        keepImages: whether copies of the images are kept.
        onSaid: called when a review is on its way. onSaved: called when the queue changed.
        onError: called with an exception.
    """

    def __init__(self, widgets: WordWidgets, case: Callable[[], ReviewCase | None], images: Callable[[], list],
                 keepImages: Callable[[], bool], onSaid: Callable[[], None], onSaved: Callable[[], None],
                 onError: Callable[[Exception], None]):
        self._widgets, self._case, self._images, self._keepImages = widgets, case, images, keepImages
        self._onSaid, self._onError = onSaid, onError
        self._notKept = ""  # why the last word was not kept
        self.saves = SaveQueue(onSaved, self._failed)
        widgets.reviewer.setText(qt.QSettings().value(_REVIEWER_SETTING) or "")
        widgets.reviewer.connect("textChanged(QString)", self._onReviewer)
        widgets.accept.connect("clicked(bool)", lambda _checked=False: self._say(True))
        widgets.reject.connect("clicked(bool)", lambda _checked=False: self._say(False))

    def showCase(self) -> None:
        """Another case is under review."""
        case = self._case()
        self._widgets.comment.setText("")
        self._widgets.patient.setText(patient_of(case.volume) if case is not None and case.volume is not None else "")
        self.update()

    def update(self) -> None:
        """Buttons and text for what can be said now."""
        reason = self._missing()
        self._widgets.accept.setEnabled(not reason)
        self._widgets.reject.setEnabled(not reason)
        self._widgets.label.setText(reason or self._text())

    def _missing(self) -> str:
        """Why nothing can be said about the case now; "" when it can."""
        case = self._case()
        if case is None:
            return _("Apply, or choose a case above, to review it.")
        if not self._widgets.reviewer.text.strip():
            return _("Enter who you are to accept or reject.")
        if case.volume is None:
            return _("The image of this result is not in the scene: nothing can be kept.")
        if self.saves.isSaving(case.nodes.fusion):
            return _("Your word is being kept.")
        return ""

    def _text(self) -> str:
        if self._notKept:
            return _("Your word was not kept: {reason}").format(reason=self._notKept)
        said = {"accepted": _("accepted as it came"), "corrected": _("accepted with corrections"),
                "rejected": _("rejected")}.get(self._case().review.get("origin"))
        if said is None:
            return _("Nothing was said about this case yet.")
        return _("This case was {word}. Saying it again adds a record; the last one counts.").format(word=said)

    def _say(self, accept: bool) -> None:
        if self._missing():
            return
        case, widgets = self._case(), self._widgets
        chosen = self._images()
        volumes = chosen if case.volume in chosen else [case.volume]
        volumes = sorted(volumes, key=lambda node: node is not case.volume)  # the grid of the result comes first
        try:
            run = SavingRun(case, accept, widgets.reviewer.text, widgets.comment.text, widgets.patient.text, volumes,
                            self._keepImages())
        except Exception as exception:
            self._failed(None, exception)
            self.update()
            return
        self._notKept = ""
        case.touched = False
        self.saves.add(run)
        self._onSaid()

    def _failed(self, run, exception: Exception) -> None:
        if run is not None:
            run.case.touched = True
        self._notKept = str(exception)
        self._onError(exception)

    def _onReviewer(self, text: str) -> None:
        qt.QSettings().setValue(_REVIEWER_SETTING, text)
        self.update()
