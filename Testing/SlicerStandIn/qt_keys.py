"""Keys, focus and the size of text for tests, in Qt's own words."""

from PySide6 import QtCore, QtGui, QtWidgets


def point(x, y):
    return QtCore.QPoint(x, y)


def takes_focus(widget) -> bool:
    """Whether the Tab key can stop at the widget (or at what stands in for it)."""
    return bool(QtWidgets.QWidget.focusPolicy.__get__(widget) & QtCore.Qt.TabFocus.value)


def tab_stops(window) -> list:
    """The widgets that the Tab key visits, in its order, from the first."""
    stops, widget = [], window
    while True:
        widget = widget.nextInFocusChain()
        if widget is window:
            return stops
        inside = window.isAncestorOf(widget)
        if inside and widget.isVisible() and widget.isEnabled() and takes_focus(widget) and not widget.focusProxy():
            stops.append(widget)


def press_space(widget) -> None:
    """Press and release the space bar on the widget."""
    for kind in (QtCore.QEvent.KeyPress, QtCore.QEvent.KeyRelease):
        event = QtGui.QKeyEvent(kind, QtCore.Qt.Key_Space, QtCore.Qt.NoModifier, " ")
        QtWidgets.QApplication.sendEvent(widget, event)


def text_fits(widget, text, width, height) -> bool:
    """Whether the text, wrapped in the widget's font, fits into so many pixels."""
    metrics = QtGui.QFontMetrics(widget.font)
    bounds = metrics.boundingRect(QtCore.QRect(0, 0, width, 10_000), QtCore.Qt.TextWordWrap, text)
    return bounds.width() <= width and bounds.height() <= height
