"""Segments as arrays within a box of the grid of a result, read and written as Slicer's own tools do.

Only what lies in the box is touched, segments that share a label map stay shared, and a segment may be written over
others as with the brush.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.scene.exporting import BINARY_LABELMAP
from MRISegSuiteLib.scene.geometry import array_of_matrix, matrix_of_array

Box = tuple[slice, slice, slice]
_SAME_MM = 1e-3


def mask_in_box(segmentationNode, segment_id: str, ijk_to_ras: np.ndarray, box: Box) -> np.ndarray:
    """Where a segment is: a bool array (k, j, i) of the size of the box.

    Args:
        segmentationNode: the segmentation. segment_id: of the segment.
        ijk_to_ras: 4x4 of the grid, without parent transforms.
        box: slices (k, j, i) of the grid.

    Raises:
        BadInput: the segment lies on another grid.
    """
    mask = np.zeros([side.stop - side.start for side in box], bool)
    segment = segmentationNode.GetSegmentation().GetSegment(segment_id)
    labelmap = segment.GetRepresentation(BINARY_LABELMAP)
    if labelmap is None or labelmap.IsEmpty() or labelmap.GetPointData().GetScalars() is None:
        return mask
    _require_grid(segmentationNode, labelmap, ijk_to_ras)
    extent = labelmap.GetExtent()
    first, size = np.array(extent[::2][::-1]), labelmap.GetDimensions()[::-1]
    voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(size)
    low = [max(side.start, int(f)) for side, f in zip(box, first, strict=True)]
    high = [min(side.stop, int(f) + n) for side, f, n in zip(box, first, size, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        here = tuple(slice(a - side.start, b - side.start) for a, b, side in zip(low, high, box, strict=True))
        there = tuple(slice(a - int(f), b - int(f)) for a, b, f in zip(low, high, first, strict=True))
        mask[here] = voxels[there] == segment.GetLabelValue()
    return mask


def write_in_box(segmentationNode, ijk_to_ras: np.ndarray, box: Box, gained: Mapping[str, np.ndarray],
                 lost: Mapping[str, np.ndarray]) -> None:
    """Give voxels to segments, and take voxels from them.

    Args:
        segmentationNode, ijk_to_ras, box: see :func:`mask_in_box`.
        gained: segment id -> voxels (bool, of the size of the box) that become this segment and no other.
        lost: segment id -> voxels that this segment is no longer.
    """
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    modes = slicer.vtkSlicerSegmentationsModuleLogic
    jobs = [(segment_id, mask, modes.MODE_MERGE_MASK) for segment_id, mask in gained.items() if mask.any()]
    for segment_id, mask in lost.items():
        if (mask & mask_in_box(segmentationNode, segment_id, ijk_to_ras, box)).any():
            jobs.append((segment_id, ~mask, modes.MODE_MERGE_MIN))
    for segment_id, mask, mode in jobs:
        others = [other for other in ids if other != segment_id] if mode == modes.MODE_MERGE_MASK else []
        modifier, extent = _modifier(mask, ijk_to_ras, box)
        if not modes.SetBinaryLabelmapToSegment(modifier, segmentationNode, segment_id, mode, extent, False, others):
            raise BadInput(f'The segment "{segmentation.GetSegment(segment_id).GetName()}" cannot be changed.',
                           "Check the segmentation in the Segmentations module.")


def _modifier(mask: np.ndarray, ijk_to_ras: np.ndarray, box: Box):
    extent = [number for side in reversed(box) for number in (side.start, side.stop - 1)]
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*extent)
    scalars = numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(matrix_of_array(ijk_to_ras))
    return image, extent


def _require_grid(segmentationNode, labelmap, ijk_to_ras: np.ndarray) -> None:
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    corner = np.array([*(max(labelmap.GetDimensions()),) * 3, 1.0])
    if np.abs((array_of_matrix(matrix) - ijk_to_ras) @ corner).max() > _SAME_MM * 10:
        raise BadInput(f'"{segmentationNode.GetName()}" is on another grid than it was made on.',
                       "Set its geometry back in the Segment Editor (Specify geometry), or apply again.")
