"""The nodes of one result, held together by references that are kept when the scene is saved.

Every part of a result refers to the segmentation that the result is about, and says what part it is.
"""

from __future__ import annotations

from . import provenance

PART = "MRISegSuite.Part"
_TO_SEGMENTATION, _TO_VOLUME = "MRISegSuiteSegmentation", "MRISegSuiteVolume"


def connect(node, part: str, segmentationNode, volumeNode, attributes: dict[str, str], seal: bool = True,
            digest: str | None = None) -> None:
    """Make ``node`` the named part of the result of a segmentation, with its provenance.

    Args:
        node: table, volume, segmentation …
        part: its name within the result, e.g. ``disagreement``.
        segmentationNode: what the result is about (``node`` itself for that one).
        volumeNode: the volume it was made from, or None.
        attributes: see ``provenance.provenance_of``.
        seal: remember the content of a table or volume, so that it can be told whether a person edited it.
        digest: of that content, where it is known (see ``provenance.seal``).
    """
    provenance.mark(node, attributes)
    node.SetAttribute(PART, part)
    if node is not segmentationNode:
        node.SetNodeReferenceID(_TO_SEGMENTATION, segmentationNode.GetID())
    if volumeNode is not None:
        node.SetNodeReferenceID(_TO_VOLUME, volumeNode.GetID())
    if seal and (node.IsA("vtkMRMLTableNode") or node.IsA("vtkMRMLVolumeNode")):
        provenance.seal(node, digest)


def parts_of(scene, segmentationNode) -> dict[str, object]:
    """Part -> the latest node that describes the segmentation (also after the scene was loaded again)."""
    parts = {}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.GetAttribute(PART) and node.GetNodeReference(_TO_SEGMENTATION) is segmentationNode:
            parts[node.GetAttribute(PART)] = node
    return parts


def volume_of_part(node):
    """The volume that a part of a result was made from, or None."""
    return node.GetNodeReference(_TO_VOLUME)
