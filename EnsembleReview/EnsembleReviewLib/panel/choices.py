"""What can be chosen in a scene, and remembering what was."""

from __future__ import annotations

from collections.abc import Sequence

from ..scene.nodes import PANEL_ATTRIBUTE
from .check_list import Entry

#: Parts of our own results: no images and no opinions.
_PART = "MRISegSuite.Part"


def volume_entries(scene) -> list[Entry]:
    """The scalar volumes that may be images of a case."""
    return [Entry(node.GetID(), node.GetName()) for node in _nodes(scene, "vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetAttribute(_PART)]


def expert_entries(scene, cards: Sequence) -> list[Entry]:
    """The models (key "model <id>") and segmentations (key: node ID) that may be asked."""
    models = [Entry(f"model {card.id}", card.title, f"{card.id} {card.version}") for card in cards]
    masks = [Entry(node.GetID(), node.GetName()) for node in _nodes(scene, "vtkMRMLSegmentationNode")
             if not node.GetAttribute(PANEL_ATTRIBUTE) and not node.GetAttribute(_PART)]
    return models + masks


def remember_nodes(parameterNode, role: str, ids: Sequence[str]) -> None:
    """Keep chosen nodes as references of a MRML node: they survive saving and importing."""
    modifying = parameterNode.StartModify()
    parameterNode.RemoveNodeReferenceIDs(role)
    for identifier in ids:
        parameterNode.AddNodeReferenceID(role, identifier)
    parameterNode.EndModify(modifying)


def chosen_nodes(parameterNode, role: str) -> list:
    """The nodes of :func:`remember_nodes` that are still in the scene."""
    nodes = (parameterNode.GetNthNodeReference(role, n)
             for n in range(parameterNode.GetNumberOfNodeReferences(role)))
    return [node for node in nodes if node is not None]


def _nodes(scene, kind: str) -> list:
    nodes = (scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind)))
    return [node for node in nodes if not node.GetHideFromEditors()]
