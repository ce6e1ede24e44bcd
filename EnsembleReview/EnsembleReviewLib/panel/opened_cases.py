"""The cases that were opened from files: one is under review, one is being made ready, those before are closed.

So a hundred cases can be reviewed without a hundred of them in memory. What a person has changed and not said a word
about is never closed.
"""

from __future__ import annotations

from collections.abc import Callable

from MRISegSuiteLib.panel.run_control import RunControl
from MRISegSuiteLib.scene.parts import parts_of

from ..scene import remove_nodes
from .case import BEFORE, ReviewCase
from .case_folder import CaseFile, CaseFolder
from .opening import OpenedCase, OpenRun


class OpenedCases:
    """Opens and closes cases.

    Args:
        run: what opening is shown and canceled with. folder: tells what was said about a case.
    """

    def __init__(self, run: RunControl, folder: CaseFolder):
        self._run, self._folder = run, folder
        self._opening: OpenRun | None = None
        self._ahead: OpenRun | None = None
        self._cases: list[OpenedCase] = []
        self._changed: list = []  # fusions that were left with changes about which nothing was said

    @property
    def opening(self) -> CaseFile | None:
        """The case that is being opened, or None."""
        return self._opening.file if self._opening is not None and self._run.isRunning else None

    def open(self, file: CaseFile) -> None:
        """Open a case; another one that is being opened is given up. Nothing happens while an ensemble is run."""
        if self.opening is file:
            return
        self.stopOpening()
        if self._run.isRunning:
            return
        run = self._taken(file) or OpenRun(file, self._folder.word_on(file))
        self._opening = run
        self._run.start(run)

    def stopOpening(self) -> None:
        """Give up the case that is being opened."""
        if self.opening is not None:
            self._run.cancel()
        self._opening = None

    def prepare(self, file: CaseFile) -> None:
        """Have the images of a case unpacked before it is opened."""
        if self._ahead is not None and self._ahead.file is file:
            return
        self._drop()
        self._ahead = OpenRun(file, self._folder.word_on(file))
        try:
            self._ahead.start()
        except Exception:  # it will be told when the case is opened
            self._ahead = None

    def add(self, opened: OpenedCase) -> None:
        """A case is in the scene."""
        self._opening = None
        self._cases.append(opened)

    def leave(self, case: ReviewCase) -> None:
        """A case is no longer under review."""
        fusion = case.nodes.fusion
        self._changed = [node for node in self._changed if node is not fusion] + ([fusion] if case.touched else [])

    def close(self, scene, shown, saving: Callable[[object], bool]) -> None:
        """Take cases out of the scene, but for the one that is shown, those whose review is being kept, and those with
        changes about which nothing was said."""
        for opened in list(self._cases):
            fusion = opened.nodes.fusion
            if fusion is shown or saving(fusion) or any(node is fusion for node in self._changed):
                continue
            self._cases.remove(opened)
            if scene.IsNodePresent(fusion):
                copy = parts_of(scene, fusion).get(BEFORE)
                remove_nodes(scene, [*opened.added, *([copy, copy.GetDisplayNode()] if copy is not None else [])])

    def forget(self) -> None:
        """The scene is being closed."""
        self._opening, self._cases, self._changed = None, [], []

    def cleanup(self) -> None:
        """Before the panel goes: no process stays behind."""
        self._drop()

    def _taken(self, file: CaseFile) -> OpenRun | None:
        """What was made ready for a case; for another one it is given up."""
        if self._ahead is not None and self._ahead.file is file:
            run, self._ahead = self._ahead, None
            return run
        self._drop()
        return None

    def _drop(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None
