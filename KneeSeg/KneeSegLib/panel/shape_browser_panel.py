"""The section "Shape browser" of the panel: a spin box for the mode, a slider for its weight, a bone that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from MRISegSuiteLib.errors import SuiteError

from ..scene.shape_browser import MOST_SD, ShapeBrowser

_STEPS_PER_SD = 10


@dataclass
class BrowserWidgets:
    """The widgets of the section: collapsible button, mode, weight, text, reset."""

    section: object
    mode: object
    weight: object
    label: object
    reset: object


class ShapeBrowserPanel:
    """Opens a :class:`ShapeBrowser` when the section is unfolded; the scene gets a bone at the first move.

    Args:
        widgets: of the section.
        card: gives the card of the chosen shape model, or None.
        fitted: gives the fitted shape of the shown result, or None.
    """

    def __init__(self, widgets: BrowserWidgets, card: Callable, fitted: Callable):
        self._widgets, self._card, self._fitted = widgets, card, fitted
        self._browser: ShapeBrowser | None = None
        self._setting = False
        widgets.section.connect("contentsCollapsed(bool)", self._onFolded)
        widgets.mode.connect("valueChanged(int)", self._onMode)
        widgets.weight.connect("valueChanged(int)", self._onWeight)
        widgets.reset.connect("clicked(bool)", self._onReset)
        self._enable(False, "")

    def close(self) -> None:
        """Forget the model (another one was chosen, or the scene is closed); an unfolded section opens it again."""
        self._browser = None
        self._enable(False, "")
        if not self._widgets.section.collapsed:
            self._open()

    def _onFolded(self, folded) -> None:
        if not folded:
            self._open()

    def _open(self) -> None:
        card = self._card()
        if card is None:
            self._enable(False, _("There is no shape model on this computer."))
            return
        try:
            self._browser = ShapeBrowser(slicer.mrmlScene, card, self._fitted())
        except SuiteError as error:
            self._browser = None
            self._enable(False, str(error))
            return
        self._widgets.mode.maximum = self._browser.model.size
        self._enable(True, "")
        self._showMode()

    def _enable(self, enabled: bool, text: str) -> None:
        for widget in (self._widgets.mode, self._widgets.weight, self._widgets.reset):
            widget.setEnabled(enabled)
        self._widgets.label.setText(text)

    def _showMode(self) -> None:
        """Slider and text for the chosen mode."""
        mode = self._widgets.mode.value - 1
        weight = float(self._browser.weights[mode])
        self._setting = True
        self._widgets.weight.setValue(round(max(-MOST_SD, min(MOST_SD, weight)) * _STEPS_PER_SD))
        self._setting = False
        self._widgets.label.setText(
            _("{weight:+.1f} SD; this mode tells {share:.0%} of the variance of the population.").format(
                weight=weight, share=float(self._browser.shares[mode])))

    def _onMode(self, _value) -> None:
        if self._browser is not None:
            self._showMode()

    def _onWeight(self, value) -> None:
        if self._browser is None or self._setting:
            return
        self._browser.set(self._widgets.mode.value - 1, value / _STEPS_PER_SD)
        self._showMode()

    def _onReset(self, _checked=False) -> None:
        if self._browser is not None:
            self._browser.reset()
            self._showMode()
