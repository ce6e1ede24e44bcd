"""Stand-ins for the CTK widgets that the panels use: same properties, signals and behaviour, drawn with Qt."""

from PySide6 import QtCore, QtGui, QtWidgets

Property, Signal = QtCore.Property, QtCore.Signal


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box (CTK adds an elide mode, which the panels do not use)."""


class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box."""


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled section that folds; checked means unfolded, as in CTK."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        parent = next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._collapsed = self._forcing = False
        self._collapsedHeight = 14
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self.buttonSizeHint().height(), 0, 0)
        self.setBackgroundRole(QtGui.QPalette.Window)
        self.setFocusPolicy(QtCore.Qt.StrongFocus)
        self.toggled.connect(lambda checked: self._collapse(not checked))
        for text in (a for a in arguments if isinstance(a, str)):
            self.setText(text)

    # The setters are no slots in C++: Python has the properties only.
    def _setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, _setCollapsed)

    def _setCollapsedHeight(self, height):
        self._collapsedHeight = height
        self.updateGeometry()

    collapsedHeight = Property(int, lambda self: self._collapsedHeight, _setCollapsedHeight)

    def _collapse(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setMaximumHeight(self.sizeHint().height() if collapsed else 16777215)
        self._applyToChildren()
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def _applyToChildren(self):
        for child in self.children():
            if not isinstance(child, QtWidgets.QWidget) or child.testAttribute(QtCore.Qt.WA_WState_Hidden) is None:
                continue
            explicitlyHidden = child.property("visibilityToParent") is False
            self._forcing = True
            child.setVisible(not self._collapsed and not explicitlyHidden)
            self._forcing = False

    def childEvent(self, event):
        """As in CTK: what others show or hide while this is folded is shown or hidden once it is unfolded."""
        child = event.child()
        if event.type() == QtCore.QEvent.ChildAdded and isinstance(child, QtWidgets.QWidget):
            child.installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child, event):
        if not self._forcing and event.type() in (QtCore.QEvent.ShowToParent, QtCore.QEvent.HideToParent):
            child.setProperty("visibilityToParent", event.type() == QtCore.QEvent.ShowToParent)
            if self._collapsed and event.type() == QtCore.QEvent.ShowToParent:
                self._applyToChildren()
        return super().eventFilter(child, event)

    def setVisible(self, visible):
        self._forcing = True  # children are shown and hidden with it, and are not meant
        super().setVisible(visible)
        self._forcing = False

    def showEvent(self, event):
        super().showEvent(event)
        if self._collapsed:
            self._applyToChildren()
            self.setMaximumHeight(self.sizeHint().height())

    def buttonSizeHint(self):
        metrics = self.fontMetrics()
        return QtCore.QSize(metrics.horizontalAdvance(self.property("text") or "") + 30, metrics.height() + 8)

    def sizeHint(self):
        hint = self.buttonSizeHint()
        if self._collapsed:
            return QtCore.QSize(hint.width(), hint.height())
        return self.layout().totalSizeHint().expandedTo(hint) if self.layout() else hint

    def minimumSizeHint(self):
        hint = self.buttonSizeHint()
        if self._collapsed or not self.layout():
            return hint
        return self.layout().totalMinimumSize().expandedTo(hint)

    def hitButton(self, position):
        return position.y() <= self.buttonSizeHint().height()

    def paintEvent(self, _event):
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self.buttonSizeHint().height())
        option.state |= QtWidgets.QStyle.State_Raised
        option.text = ""
        style = self.style()
        style.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, (option.rect.height() - 10) // 2, 10, 10)
        style.drawPrimitive(QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed
                            else QtWidgets.QStyle.PE_IndicatorArrowDown, arrow, painter, self)
        style.drawItemText(painter, option.rect.adjusted(24, 0, -4, 0), QtCore.Qt.AlignLeft | QtCore.Qt.AlignVCenter
                           | QtCore.Qt.TextShowMnemonic, self.palette, True, self.property("text"))


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line for a path with a button that browses (the stand-in never opens the file dialog)."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Readable, Writable, Executable = 0x1, 0x2, 0x10, 0x20, 0x40

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._line = QtWidgets.QLineEdit()
        self._browse = QtWidgets.QToolButton()
        self._browse.setText("...")
        layout.addWidget(self._line)
        layout.addWidget(self._browse)
        self.setFocusProxy(self._line)
        self._line.textChanged.connect(self.currentPathChanged.emit)
        self._filters, self._settingKey, self._nameFilters = 0xF, "", []

    def setCurrentPath(self, path):
        self._line.setText(str(path))

    currentPath = Property(str, lambda self: self._line.property("text"), setCurrentPath)

    def _setFilters(self, filters):
        self._filters = filters

    def _setSettingKey(self, key):
        self._settingKey = key

    def _setNameFilters(self, filters):
        self._nameFilters = list(filters)

    filters = Property(int, lambda self: self._filters, _setFilters)
    settingKey = Property(str, lambda self: self._settingKey, _setSettingKey)
    nameFilters = Property("QStringList", lambda self: self._nameFilters, _setNameFilters)
