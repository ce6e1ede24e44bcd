"""Segmentation nodes from label images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from scipy.ndimage import find_objects
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .exporting import BINARY_LABELMAP
from .geometry import ijk_to_ras_of, local_to_world, matrix_of_array, same_grid, transformed, volume_ijk_to_ras

CLOSED_SURFACE = "Closed surface"

#: Segment tags that core DICOM SEG export reads; without a name it refuses what is not MANUAL.
ALGORITHM_TYPE, ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
_AUTOMATIC, _EDITED_BY_A_PERSON = "AUTOMATIC", "SEMIAUTOMATIC"
#: Segment tag: the voxels as an algorithm made them.
_DIGEST = "MRISegSuite.Digest"


@dataclass(frozen=True)
class SegmentLook:
    """How one label value becomes a segment.

    Attributes:
        name: identifier, becomes the segment id.
        title: what a person reads, becomes the segment name.
        color: RGB, 0..1.
        terminology: serialized entry (images.terminology.terminology_entry).
    """

    name: str
    title: str
    color: tuple[float, float, float]
    terminology: str


def new_segmentation_node(
    scene,
    name: str,
    image: sitk.Image,
    values: Mapping[str, int],
    looks: Iterable[SegmentLook],
    volumeNode=None,
    surfaces: Mapping[str, vtk.vtkPolyData] | None = None,
    algorithm: str = "",
    algorithm_type: str = _AUTOMATIC,
    closed_surfaces: bool = True,
):
    """Add a segmentation node made of a label image.

    Args:
        scene: the vtkMRMLScene.
        name: node name; made unique.
        image: label image (LPS, mm, in the world).
        values: structure name -> value in ``image``.
        looks: names, colors and terminology; segments are made in this order, for those in ``values``.
        volumeNode: the volume it was made on: gives reference geometry and parent transform.
        surfaces: structure name -> closed surface (world, RAS, mm); becomes the segment's closed surface
            representation, so that none has to be computed while the user waits. Made from labels where missing.
        algorithm, algorithm_type: what made the segmentation, for DICOM SEG export: name (needed unless the type is
            MANUAL) and AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        closed_surfaces: False makes none; they are made when somebody wants to see them in 3D.

    Returns:
        The vtkMRMLSegmentationNode, in the scene, with display node.
    """
    looks = [look for look in looks if look.name in values]  # asked for more than once below
    node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
    node.UnRegister(None)  # the Python variable owns it now
    node.SetName(scene.GenerateUniqueName(name))
    scene.AddNode(node)
    world_to_local = np.eye(4)
    if volumeNode is not None:
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        world_to_local = np.linalg.inv(local_to_world(volumeNode))
    labelmap = _oriented_image(image, _local_ijk_to_ras(image, volumeNode, world_to_local))
    segmentation = node.GetSegmentation()
    # Without a volume nothing else tells the extent of the grid; with one on another grid, this one counts.
    segmentation.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(_grid(image.GetSize(), labelmap)),
    )
    _add_segments(segmentation, looks, labelmap, values, algorithm, algorithm_type)
    if closed_surfaces:
        _add_surfaces(segmentation, looks, surfaces or {}, world_to_local)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
    display.SetOpacity2DFill(0.35)
    return node


def add_layer(node, image: sitk.Image, values: Mapping[str, int], looks: Iterable[SegmentLook], volumeNode=None,
              algorithm: str = "", algorithm_type: str = _AUTOMATIC) -> None:
    """Add the segments of another label image to a segmentation node; they may overlap those that are there.

    Arguments: see :func:`new_segmentation_node`; the names of the looks become segment ids and must be new.
    """
    world_to_local = np.eye(4) if volumeNode is None else np.linalg.inv(local_to_world(volumeNode))
    labelmap = _oriented_image(image, _local_ijk_to_ras(image, volumeNode, world_to_local))
    looks = [look for look in looks if look.name in values]
    _add_segments(node.GetSegmentation(), looks, labelmap, values, algorithm, algorithm_type)


def closed_surface(image: sitk.Image, value: int) -> vtk.vtkPolyData:
    """The closed surface of a label (world, RAS, mm), as Slicer makes it: before a scene is there to put it into."""
    segment = slicer.vtkSegment()
    segment.SetLabelValue(int(value))
    segment.AddRepresentation(BINARY_LABELMAP, _oriented_image(image, ijk_to_ras_of(image)))
    segmentation = slicer.vtkSegmentation()
    segmentation.AddSegment(segment, "label")
    segmentation.CreateRepresentation(CLOSED_SURFACE)
    return segment.GetRepresentation(CLOSED_SURFACE)


def mark_edited_segments(node) -> list[str]:
    """Turn the algorithm type of segments that were edited from AUTOMATIC into SEMIAUTOMATIC, for DICOM SEG export.

    Voxels decide: a segment that lost some to an edited neighbor counts too. Only for segments that were made by
    :func:`new_segmentation_node`, also after the scene was saved and read again; others are left alone.

    Args:
        node: the vtkMRMLSegmentationNode; only tags are changed.

    Returns:
        The ids of the segments that were marked.
    """
    segmentation = node.GetSegmentation()
    marked = []
    for segment_id, digest in _digests(segmentation).items():
        segment = segmentation.GetSegment(segment_id)
        made = _tag(segment, _DIGEST)
        if made and made != digest and _tag(segment, ALGORITHM_TYPE) == _AUTOMATIC:
            segment.SetTag(ALGORITHM_TYPE, _EDITED_BY_A_PERSON)
            marked.append(segment_id)
    return marked


def _add_segments(segmentation, looks, labelmap, values, algorithm: str, algorithm_type: str) -> None:
    for look in looks:
        segmentation.AddSegment(_segment(look, labelmap, values[look.name], algorithm, algorithm_type), look.name)
    if algorithm_type == _AUTOMATIC:
        digests = _digests(segmentation)
        for look in looks:
            segmentation.GetSegment(look.name).SetTag(_DIGEST, digests[look.name])


def _tag(segment, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _digests(segmentation) -> dict[str, str]:
    """Segment id -> digest of its voxels and their place on the grid, however the label map is cropped or shared."""
    boxes: dict = {}  # label map -> (voxels, bounding box of each value)
    digests = {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment_id = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(segment_id)
        labelmap = segment.GetRepresentation(BINARY_LABELMAP)
        if labelmap is None:
            continue  # only a surface: nothing to compare
        if labelmap not in boxes:
            scalars = labelmap.GetPointData().GetScalars()
            size = labelmap.GetDimensions()[::-1]
            voxels = vtk_to_numpy(scalars).reshape(size) if scalars is not None else np.zeros((0, 0, 0), np.uint8)
            boxes[labelmap] = voxels, find_objects(voxels)
        voxels, found = boxes[labelmap]
        value = int(segment.GetLabelValue())
        box = found[value - 1] if 0 < value <= len(found) else None
        digest = hashlib.sha256()
        if box is not None:
            first = np.array(labelmap.GetExtent()[::2][::-1]) + [part.start for part in box]
            mask = voxels[box] == value
            digest.update(np.array([*first, *mask.shape], "<i8").tobytes())
            digest.update(np.packbits(mask).tobytes())
        digests[segment_id] = digest.hexdigest()[:32]
    return digests


def _segment(look: SegmentLook, labelmap, value: int, algorithm: str, algorithm_type: str):
    segment = slicer.vtkSegment()
    segment.SetName(look.title)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*look.color)
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(int(value))
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), look.terminology)
    segment.SetTag(ALGORITHM_TYPE, algorithm_type)
    if algorithm:
        segment.SetTag(ALGORITHM_NAME, algorithm)
    # All segments share one label map, as after Slicer's own import: they do not overlap.
    segment.AddRepresentation(BINARY_LABELMAP, labelmap)
    return segment


def _add_surfaces(segmentation, looks, surfaces, world_to_local) -> None:
    for look in looks:
        if look.name in surfaces:
            bare = vtk.vtkPolyData()
            bare.SetPoints(surfaces[look.name].GetPoints())
            bare.SetPolys(surfaces[look.name].GetPolys())
            bare.GetPointData().SetNormals(surfaces[look.name].GetPointData().GetNormals())
            segmentation.GetSegment(look.name).AddRepresentation(CLOSED_SURFACE, transformed(bare, world_to_local))
    segmentation.CreateRepresentation(CLOSED_SURFACE)  # only for those that have none


def _local_ijk_to_ras(image, volumeNode, world_to_local) -> np.ndarray:
    """IJK-to-RAS of the labels in the node's own coordinates: the volume's, to the last bit, where it is its grid."""
    ijk_to_ras = ijk_to_ras_of(image)
    if volumeNode is not None and volumeNode.GetImageData() is not None:
        local = volume_ijk_to_ras(volumeNode)
        if same_grid(image, volumeNode.GetImageData().GetDimensions(), local_to_world(volumeNode) @ local):
            return local
    return world_to_local @ ijk_to_ras


def _oriented_image(image: sitk.Image, ijk_to_ras: np.ndarray):
    """The labels on the grid of the image, cropped to the box that holds them all, as Slicer does itself: a lesion in
    millions of voxels is copied, saved and made a surface in a moment."""
    voxels = sitk.GetArrayViewFromImage(image)
    box = _box_of_labels(voxels)
    labels = voxels[box].astype(np.uint8)
    scalars = numpy_to_vtk(labels.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")  # core DICOM SEG export takes a label map without an array of this name for empty
    oriented = slicer.vtkOrientedImageData()
    oriented.SetExtent([number for side in reversed(box) for number in (side.start, side.stop - 1)])
    oriented.GetPointData().SetScalars(scalars)
    oriented.SetGeometryFromImageToWorldMatrix(matrix_of_array(ijk_to_ras))
    return oriented


def _grid(size, labelmap):
    """The whole grid, without voxels, that a cropped label map lies on."""
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    grid = slicer.vtkOrientedImageData()
    grid.SetDimensions(size)
    grid.SetGeometryFromImageToWorldMatrix(matrix)
    return grid


def _box_of_labels(voxels: np.ndarray) -> tuple[slice, slice, slice]:
    """The box (k, j, i) around all voxels that are not 0; a corner of the grid where there are none, since a label
    map that is shared by segments must be there for them to be drawn in, and VTK finds no surface in less than 2
    voxels."""
    # Maxima run over whole rows at once, many times faster than asking each voxel whether it is 0.
    slices = np.flatnonzero(voxels.reshape(len(voxels), -1).max(axis=1))
    if not slices.size:
        return tuple(slice(0, min(2, size)) for size in voxels.shape)
    plane = voxels[slices[0]:slices[-1] + 1].max(axis=0)
    inside = (slices, np.flatnonzero(plane.max(axis=1)), np.flatnonzero(plane.max(axis=0)))
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in inside)
