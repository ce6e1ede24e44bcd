"""A folder of packages in a panel: what is there, installing it after an agreement, removing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ..environment import WorkerEnvironment
from ..errors import SuiteError
from .confirm_button import ConfirmButton
from .install_run import InstallRun
from .readable import readable_size
from .run_control import RunControl, RunWidgets


@dataclass
class EnvironmentWidgets:
    """The widgets of one folder, as they are in the .ui file; ``run`` holds those of the installation."""

    label: Any
    wheelFolder: Any
    agree: Any
    remove: Any
    run: RunWidgets


@dataclass(frozen=True)
class EnvironmentTexts:
    """Texts with their keys: to agree, to install, and to remove (with ``{size}``)."""

    agree: str
    install: str
    remove: str


class EnvironmentSection:
    """Works the widgets.

    Args:
        widgets, texts: see their classes. environment: gives the folder; may raise SuiteError.
        onChanged: called after an installation or a removal.
    """

    def __init__(self, widgets: EnvironmentWidgets, texts: EnvironmentTexts,
                 environment: Callable[[], WorkerEnvironment], onChanged: Callable[[], None]):
        self._widgets, self._texts, self._find, self._onChanged = widgets, texts, environment, onChanged
        self._environment = self._status = None
        self.run = RunControl(widgets.run, texts.install, self._installed, self._onState)
        widgets.run.button.connect("clicked(bool)", self._onInstall)
        widgets.agree.connect("toggled(bool)", self._update)
        widgets.wheelFolder.connect("currentPathChanged(QString)", self._onWheelFolder)
        self._remove = ConfirmButton(
            widgets.remove, lambda: texts.remove.format(size=readable_size(1e6 * self._status.megabytes)),
            self._onRemove)

    def refresh(self) -> None:
        """Read everything again from disk."""
        try:
            self._environment = self._find()
        except SuiteError as error:
            self._environment = None
            self._widgets.label.setText(str(error))
        else:
            self._status = self._environment.status()
            self._widgets.label.setText(self._status.text)
        self._update()

    def reset(self) -> None:
        """The panel is left: nobody is being asked any more."""
        self._remove.reset()

    def _hasFolder(self) -> bool:
        return self._environment is not None and self._environment.folder is not None

    def _update(self, *_unused) -> None:
        widgets = self._widgets
        hasFolder = self._hasFolder()
        for widget in (widgets.agree, widgets.wheelFolder):
            widget.setEnabled(hasFolder)
        widgets.remove.setEnabled(hasFolder and self._environment.folder.is_dir() and not self.run.isRunning)
        if not hasFolder:
            widgets.agree.setText(_("{agree} to the download").format(agree=self._texts.agree))
            self.run.setReason(True, _("There is nothing to install: the worker uses this Python's packages."))
            return
        size = readable_size(1e6 * self._environment.megabytes_to_install())
        text = (_("{agree}: about {size}, no download") if self._wheels() is not None
                else _("{agree} to download {size} from pypi.org"))
        widgets.agree.setText(text.format(agree=self._texts.agree, size=size))
        if not widgets.agree.checked:
            self.run.setReason(True, _("Nothing has to be installed.") if self._status.ready
                               else _("To install, agree above first."))
        else:
            self.run.setReason(False, _("Installs into {folder}. Slicer's own Python stays as it is.").format(
                folder=self._environment.folder))

    def _wheels(self) -> Path | None:
        path = self._widgets.wheelFolder.currentPath
        return Path(path) if path else None

    def _onWheelFolder(self, path) -> None:
        self._widgets.agree.setChecked(False)  # another source is another agreement
        self._update()

    def _onInstall(self, checked=False) -> None:
        if self.run.isRunning:
            self.run.cancel()
        else:
            self.run.start(InstallRun(self._environment, self._wheels()))

    def _onState(self) -> None:
        self._widgets.agree.setEnabled(not self.run.isRunning)
        self._widgets.remove.setEnabled(not self.run.isRunning and self._hasFolder()
                                        and self._environment.folder.is_dir())

    def _installed(self, _nothing) -> None:
        self._widgets.agree.setChecked(False)
        self._onChanged()

    def _onRemove(self) -> None:
        try:
            self._environment.remove()
        except SuiteError as error:
            self.run.showError(error)
        self._onChanged()
