"""What the views show: side by side, fading or blinking, checkerboard, change map, subtraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MRISegSuiteLib.scene.colors import renew_legend

from ..scene import views

_BLINK_MS = 500


@dataclass
class ViewWidgets:
    """The widgets, as they are in the .ui file."""

    modeSelector: Any
    contrastLabel: Any
    contrastSelector: Any
    fadeSlider: Any
    blinkButton: Any


class ViewControl:
    """Fills the slice views of the layout side by side.

    Args:
        widgets: the widgets to work with.
        result: gives the shown CompareNodes, or None.
    """

    def __init__(self, widgets: ViewWidgets, result: Callable[[], Any]):
        self._widgets, self._result = widgets, result
        self._titles = {
            "side_by_side": _("Side by side"), "fade": _("Baseline and follow-up fading"),
            "checkerboard": _("Checkerboard"), "change": _("Map of change"), "subtraction": _("Subtraction"),
            "expansion": _("Local expansion (Jacobian)")}
        self._filling = False
        self.update()
        self._timer = qt.QTimer()
        self._timer.setInterval(_BLINK_MS)
        self._timer.connect("timeout()", self._blink)
        widgets.modeSelector.connect("currentIndexChanged(int)", self._onMode)
        widgets.contrastSelector.connect("currentIndexChanged(int)", self._onContrast)
        widgets.fadeSlider.connect("valueChanged(int)", self._onFade)
        widgets.blinkButton.connect("toggled(bool)", self._onBlink)

    @property
    def mode(self) -> str:
        return self._widgets.modeSelector.itemData(self._widgets.modeSelector.currentIndex)

    @property
    def contrast(self) -> str:
        """The contrast that is shown; "" for that by which the timepoints were registered."""
        selector = self._widgets.contrastSelector
        return selector.itemData(selector.currentIndex) or ""

    def update(self) -> None:
        """Offer what the result has."""
        further = views.contrasts_of(self._result())
        for widget in (self._widgets.contrastLabel, self._widgets.contrastSelector):
            widget.setVisible(bool(further))
        selector = self._widgets.contrastSelector
        if [selector.itemData(n) for n in range(1, selector.count)] != further:
            self._filling = True
            selector.clear()
            selector.addItem(_("As registered"), "")
            for contrast in further:
                selector.addItem(contrast, contrast)
            self._filling = False
        selector, modes = self._widgets.modeSelector, views.modes_of(self._result())
        if [selector.itemData(n) for n in range(selector.count)] != modes:
            chosen = self.mode
            self._filling = True
            selector.clear()
            for mode in modes:
                selector.addItem(self._titles[mode], mode)
            selector.setCurrentIndex(max(0, selector.findData(chosen)))
            self._filling = False

    def showLayout(self, labels: list[str]) -> None:
        """Switch to the layout with a view for each timepoint, and fill it."""
        layoutNode = _layoutNode()
        if layoutNode is None:
            return
        views.show_layout(layoutNode, labels)
        views.show_chart(slicer.app.applicationLogic(), self._result().chart)
        for node in self._result().maps.values():
            renew_legend(slicer.mrmlScene, node)
        views.show_lines_of(slicer.mrmlScene, self._result())
        self.show()
        views.fit(slicer.mrmlScene, slicer.app.applicationLogic(), self._result())

    def showChart(self) -> None:
        """Show the plot: in our layout, or in one of Slicer's that has a plot (which would replace ours)."""
        chart = self._result().chart
        layoutNode = _layoutNode()
        if layoutNode is not None and views.is_shown(layoutNode):
            views.show_chart(slicer.app.applicationLogic(), chart)
        else:
            slicer.modules.plots.logic().ShowChartInLayout(chart)

    def show(self) -> None:
        """Fill the views as chosen."""
        nodes = self._result()
        if nodes is not None:
            views.show(slicer.mrmlScene, nodes, self.mode, self._widgets.fadeSlider.value / 100.0, self.contrast)

    def stop(self) -> None:
        """No timer stays behind."""
        self._timer.stop()
        self._widgets.blinkButton.setChecked(False)

    def _onMode(self, _index) -> None:
        if self._filling:
            return
        if self.mode != "fade":
            self.stop()
        self.show()

    def _onContrast(self, _index) -> None:
        if not self._filling:
            self.show()

    def _onFade(self, _value) -> None:
        self._choose("fade")
        self.show()

    def _onBlink(self, blinking: bool) -> None:
        if blinking:
            self._choose("fade")
            self._timer.start()
        else:
            self._timer.stop()

    def _blink(self) -> None:
        slider = self._widgets.fadeSlider
        slider.setValue(0 if slider.value > 50 else 100)

    def _choose(self, mode: str) -> None:
        selector = self._widgets.modeSelector
        if self.mode != mode:
            selector.setCurrentIndex(selector.findData(mode))


def _layoutNode():
    """The scene's vtkMRMLLayoutNode; None where Slicer runs without a main window and so without views."""
    manager = slicer.app.layoutManager()
    return manager.layoutLogic().GetLayoutNode() if manager is not None else None
