"""What the panels of the suite share: the parameter node, and what happens when the scene is closed or imported."""

from __future__ import annotations

import slicer
import vtk
from slicer.util import VTKObservationMixin


class ParameterPanel(VTKObservationMixin):
    """Mixin of a module's widget, beside ScriptedLoadableModuleWidget.

    The widget has ``logic``, ``ui`` and ``_update``, which is called when the parameter node changes; it calls
    :meth:`_observeScene` in ``setup``, :meth:`_initializeParameterNode` at its end and in ``enter``,
    :meth:`_disconnectGui` in ``exit`` and ``_setParameterNode(None)`` in ``cleanup``.
    """

    def __init__(self):
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def _observeScene(self):
        scene = slicer.mrmlScene
        for event, method in ((scene.StartCloseEvent, self._onSceneStartClose),
                              (scene.EndCloseEvent, self._onSceneEndClose),
                              (scene.EndImportEvent, self._onSceneEndImport)):
            self.addObserver(scene, event, method)

    def _onSceneStartClose(self, caller, event):
        self._setParameterNode(None)

    def _onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self._initializeParameterNode()

    def _onSceneEndImport(self, caller, event):
        self._initializeParameterNode()

    def _initializeParameterNode(self):
        self._setParameterNode(self.logic.getParameterNode())
        self._update()

    def _setParameterNode(self, parameterNode):
        self._disconnectGui()
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)

    def _disconnectGui(self):
        if self._parameterNode is not None and self._parameterNodeGuiTag is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self._parameterNodeGuiTag = None
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._update)
