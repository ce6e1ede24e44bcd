"""Places in the subject hierarchy: results beside their input."""

from __future__ import annotations

import slicer

_INVALID = 0  # vtkMRMLSubjectHierarchyNode::INVALID_ITEM_ID


def hierarchy_of(scene):
    """The subject hierarchy node of a scene (made where there is none)."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def item_of(scene, node) -> int:
    """The item of a node; made at the top level where no plugin has made it (plain Python)."""
    items = hierarchy_of(scene)
    return items.GetItemByDataNode(node) or items.CreateItem(items.GetSceneItemID(), node)


def parent_item(scene, node) -> int:
    """The item under which ``node`` lies (a study, a folder, or the scene); the scene for None."""
    items = hierarchy_of(scene)
    if node is None:
        return items.GetSceneItemID()
    return items.GetItemParent(item_of(scene, node)) or items.GetSceneItemID()


def place(scene, node, parent: int) -> int:
    """Put a node's item under ``parent`` and return the item."""
    item = item_of(scene, node)
    hierarchy_of(scene).SetItemParent(item, parent)
    return item


def new_folder(scene, name: str, parent: int) -> int:
    """A new folder under ``parent``."""
    return hierarchy_of(scene).CreateFolderItem(parent, name)


def folders_over(scene, nodes) -> set[int]:
    """The folders that directly hold the nodes."""
    items = hierarchy_of(scene)
    parents = {items.GetItemParent(items.GetItemByDataNode(node)) for node in nodes if items.GetItemByDataNode(node)}
    return {item for item in parents if item != _INVALID and items.GetItemLevel(item) == "Folder"}


def forget(scene, node) -> None:
    """Remove the item of a node, not the node (which a plugin does in Slicer, nobody in plain Python)."""
    items = hierarchy_of(scene)
    item = items.GetItemByDataNode(node)
    if item != _INVALID:
        items.RemoveItem(item, False, False)


def remove_empty(scene, folders) -> None:
    """Remove those of the folders that hold nothing."""
    items = hierarchy_of(scene)
    for item in folders:
        if items.GetNumberOfItemChildren(item) == 0:
            items.RemoveItem(item)
