"""The section "Large models": SAM 3 and MedGemma from folders of the user, and the boxes that a person confirms.

MedGemma has no vote. A box that it drew is shown to SAM 3 only after a person checked it in the list; the two then
count as one voice (see experts.prompts).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import qt
from slicer.i18n import tr as _

from ..experts.medgemma import BOXES, FINDINGS, ID, NOTE, SEQUENCE, TRIAGE
from .check_list import CheckList, Entry

_FILE = "advice.json"
_STRUCTURE = "whole_tumour"


@dataclass
class LargeModelWidgets:
    """The widgets of the section."""

    sam3Folder: object
    sam3Text: object
    medgemmaFolder: object
    boxes: object
    advice: object
    refine: object


class LargeModels:
    """Works the section.

    Args:
        widgets: of the section.
        onChanged: called when something was chosen. onBox: called with the center (RAS, mm) of a box that was clicked.
    """

    def __init__(self, widgets: LargeModelWidgets, onChanged: Callable[[], None], onBox: Callable):
        self._widgets, self._onBox = widgets, onBox
        self._prompts: list[dict] = []
        self._boxes = CheckList(widgets.boxes, lambda _keys: onChanged())
        widgets.refine.addItem(_("random walk"), "")
        widgets.sam3Folder.connect("currentPathChanged(QString)", lambda _path: self._offerRefinement())
        for edit in (widgets.sam3Folder, widgets.medgemmaFolder):
            edit.connect("currentPathChanged(QString)", lambda _path: onChanged())
        widgets.boxes.connect("currentRowChanged(int)", self._chosen)

    @property
    def sam3(self) -> dict | None:
        """The parameter ``sam3`` of a run, None where no folder is given."""
        folder, text = self._widgets.sam3Folder.currentPath.strip(), self._widgets.sam3Text.text.strip()
        if not folder:
            return None
        confirmed = [self._prompts[int(key)] | {"confirmed": True} for key in self._boxes.checked()]
        written = [{"structure": _STRUCTURE, "text": text}] if text and not confirmed else []
        return {"checkpoint": folder, "prompts": confirmed or written}

    @property
    def medgemma(self) -> dict | None:
        """The parameter ``medgemma`` of a run, None where no folder is given."""
        folder = self._widgets.medgemmaFolder.currentPath.strip()
        if not folder:
            return None
        return {"checkpoint": folder, "tasks": [SEQUENCE, TRIAGE, FINDINGS, BOXES], "structure": _STRUCTURE}

    def refinement(self, device: str) -> dict | None:
        """Who answers clicks: ``{"checkpoint", "device"}`` of SAM 3, or None for the random walker."""
        folder = self._widgets.refine.itemData(self._widgets.refine.currentIndex)
        return {"checkpoint": folder, "device": device} if folder else None

    def _offerRefinement(self) -> None:
        """A checkpoint can be chosen for clicks as long as its folder is named; nobody else chooses it."""
        selector, folder = self._widgets.refine, self._widgets.sam3Folder.currentPath.strip()
        chosen = selector.itemData(selector.currentIndex)
        while selector.count > 1:
            selector.removeItem(1)
        if folder:
            selector.addItem(_("SAM 3 ({name})").format(name=Path(folder).name), folder)
            selector.setItemData(1, folder, qt.Qt.ToolTipRole)
        selector.setCurrentIndex(1 if folder and folder == chosen else 0)

    def show(self, jobFolder: Path | None) -> None:
        """Show what MedGemma said in a run; nothing where it was not asked."""
        path = jobFolder / _FILE if jobFolder is not None else None
        advice = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.is_file() else {}
        self._prompts = [p for p in advice.get("prompts", []) if p.get("box_lps") and p.get("source") == ID]
        self._boxes.fill([Entry(str(n), self._title(prompt)) for n, prompt in enumerate(self._prompts)], [])
        lines = []
        if advice.get("findings"):
            lines.append(f"<b>{escape(_('MedGemma wrote:'))}</b> {escape(advice['findings'])}")
        self._widgets.advice.setText("<br>".join([*lines, escape(NOTE)]) if advice else "")

    def _title(self, prompt: dict) -> str:
        low, high = np.sort(prompt["box_lps"], axis=0)
        return _("{structure}, {a} x {b} x {c} mm").format(
            structure=prompt["structure"].replace("_", " "), **dict(zip("abc", (f"{x:.0f}" for x in high - low),
                                                                        strict=True)))

    def _chosen(self, row: int) -> None:
        if 0 <= row < len(self._prompts):
            x, y, z = np.mean(self._prompts[row]["box_lps"], axis=0)
            self._onBox((-float(x), -float(y), float(z)))
