"""All or nothing: a change of the scene that fails takes back what it did."""

from __future__ import annotations

import slicer
import vtk

from . import hierarchy


class SceneChange:
    """Context manager around code that adds nodes to the scene and changes others.

    On entry the state is saved for undo (where the scene has undo switched on). If the block raises, every node and
    subject hierarchy folder that was added is removed again, and the nodes in ``changed`` get their content back.

    Args:
        scene: the vtkMRMLScene.
        changed: existing nodes that the block changes.
        undo_like: new nodes are undoable if this node is. MRML wants nodes that refer to each other to agree.
    """

    def __init__(self, scene, changed=(), undo_like=None):
        self.scene = scene
        self._changed = [node for node in changed if node is not None]
        self._undo_like = undo_like
        self._added: list = []
        self._before: list = []
        self._observer = None

    def __enter__(self) -> SceneChange:
        nodes = vtk.vtkCollection()
        for node in self._changed:
            nodes.AddItem(node)
        self.scene.SaveStateForUndo(nodes)
        self._before = [(node, _copy_of(node)) for node in self._changed]
        self._observer = self.scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._on_node_added)
        return self

    def __exit__(self, kind, value, traceback) -> bool:
        self.scene.RemoveObserver(self._observer)
        if kind is not None:
            self._take_back()
        self._before.clear()
        return False

    @property
    def added(self) -> list:
        """Nodes added since the block was entered, in order."""
        return list(self._added)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, _scene, _event, node) -> None:
        self._added.append(node)
        if self._undo_like is not None:
            node.SetUndoEnabled(self._undo_like.GetUndoEnabled())

    def _take_back(self) -> None:
        for node, before in self._before:
            node.CopyContent(before)
        folders = hierarchy.folders_over(self.scene, self._added)
        for node in reversed(self._added):
            if self.scene.IsNodePresent(node):
                hierarchy.forget(self.scene, node)
                self.scene.RemoveNode(node)
        hierarchy.remove_empty(self.scene, folders)


def _copy_of(node):
    copy = node.CreateNodeInstance()
    copy.UnRegister(None)  # the Python variable owns it now
    # Voxels are never changed in place: a volume gets others, so the copy may share them.
    copy.CopyContent(node, not node.IsA("vtkMRMLVolumeNode"))
    return copy
