"""What a scene shows when it is opened: slices through the image, the bones in 3D, the table and the chart at hand."""

from __future__ import annotations

import slicer

_SLICES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


def arrange_views(scene, volumeNode, nodes) -> None:
    """Put slice views with ``volumeNode`` behind the results into a scene that has no views yet.

    The table and the chart of ``nodes`` become the active ones, which table and plot layouts show.

    Args:
        scene: a scene without an application around it.
        volumeNode: what to show; None for nothing.
        nodes: has ``table`` and ``chart`` (may be None).
    """
    if volumeNode is not None:
        for name, orientation in _SLICES.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLScene(scene)
            sliceNode = logic.AddSliceNode(name)
            sliceNode.SetOrientation(orientation)
            composite = logic.GetSliceCompositeNode()
            composite.SetBackgroundVolumeID(volumeNode.GetID())
            logic.FitSliceToBackground()
            logic.SnapSliceOffsetToIJK()
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    if selection is None:
        selection = slicer.vtkMRMLSelectionNode()
        selection.SetSingletonTag("Singleton")
        selection = scene.AddNode(selection)
    if volumeNode is not None:
        selection.SetActiveVolumeID(volumeNode.GetID())
    if getattr(nodes, "table", None) is not None:
        selection.SetActiveTableID(nodes.table.GetID())
    if getattr(nodes, "chart", None) is not None:
        selection.SetActivePlotChartID(nodes.chart.GetID())
