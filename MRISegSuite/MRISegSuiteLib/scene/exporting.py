"""From MRML nodes to images and to the input files of a job.

Parent transforms count: what is exported lies where Slicer shows it, in world coordinates. A linear transform moves
the grid (voxels are never resampled); a nonlinear or shearing one is refused with a hint to harden it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import BadInput, WrongContent, error_from_write
from ..images.segmentation_files import match_name
from .geometry import array_of_matrix, image_from_array, local_to_world, same_grid, set_geometry, volume_ijk_to_ras

BINARY_LABELMAP = "Binary labelmap"


def image_of_volume(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> sitk.Image:
    """The voxels of a volume node, unchanged, with their place in the world (LPS, mm).

    Raises:
        WrongContent: the node holds no image, or several values a voxel.
        BadInput: a parent transform that no image file can express.
    """
    data = volumeNode.GetImageData()
    if data is None or data.GetPointData().GetScalars() is None:
        raise WrongContent(f'The volume "{volumeNode.GetName()}" holds no image.', "Choose another volume.")
    if data.GetNumberOfScalarComponents() != 1:
        raise WrongContent(
            f'The volume "{volumeNode.GetName()}" has {data.GetNumberOfScalarComponents()} values a voxel.',
            "Choose a volume with one gray value a voxel.",
        )
    voxels = _array_of(data)
    ijk_to_world = local_to_world(volumeNode) @ volume_ijk_to_ras(volumeNode)
    image = image_from_array(voxels, ijk_to_world, volumeNode.GetName())
    if volumeNode.GetParentTransformNode() is None:
        # Spacing as the node stores it: the norm of the matrix column can differ in the last bit.
        image.SetSpacing(volumeNode.GetSpacing())
    return image


def label_image_of_segmentation(segmentationNode: slicer.vtkMRMLSegmentationNode, values: dict[str, int],
                                volumeNode=None) -> tuple[sitk.Image, list[str]]:
    """The segments as one label image (uint8) on the segmentation's own grid, in the world (LPS, mm).

    The grid is the segmentation's reference geometry (that of the volume it was made on, unless someone chose a finer
    one). Where segments overlap the higher value wins. The node is not changed.

    Args:
        segmentationNode: the segmentation.
        values: segment id -> label value 1..255; other segments are left out.
        volumeNode: if the grid is this volume's, its geometry is taken exactly (a segmentation stores it as text).

    Returns:
        The image and warnings (segments that overlap).

    Raises:
        BadInput, WrongContent
    """
    source = _with_binary_labelmap(segmentationNode)
    ids, labels = vtk.vtkStringArray(), vtk.vtkIntArray()
    for segment_id, value in sorted(values.items(), key=lambda item: item[1]):
        ids.InsertNextValue(segment_id)
        labels.InsertNextValue(value)
    merged = slicer.vtkOrientedImageData()
    mode = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    if not source.GenerateMergedLabelmapForAllSegments(merged, mode, None, ids, labels):
        raise WrongContent(f'The segmentation "{segmentationNode.GetName()}" cannot be turned into a label map.',
                           "Check it in the Segmentations module.")
    extent = merged.GetExtent()
    matrix = vtk.vtkMatrix4x4()
    merged.GetImageToWorldMatrix(matrix)
    ijk_to_ras = array_of_matrix(matrix)
    # The first voxel of a VTK image need not have index 0.
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ np.array(extent[::2], dtype=float)
    voxels = _array_of(merged).astype(np.uint8)
    to_world = local_to_world(segmentationNode)
    image = image_from_array(voxels, to_world @ ijk_to_ras, segmentationNode.GetName())
    if volumeNode is not None and volumeNode.GetImageData() is not None:
        of_volume = local_to_world(volumeNode) @ volume_ijk_to_ras(volumeNode)
        if same_grid(image, volumeNode.GetImageData().GetDimensions(), of_volume):
            set_geometry(image, of_volume, volumeNode.GetName())
            if volumeNode.GetParentTransformNode() is None:
                image.SetSpacing(volumeNode.GetSpacing())
    return image, _overlaps(source, values, voxels)


def known_segments(segmentationNode: slicer.vtkMRMLSegmentationNode, known_names) -> dict[str, str]:
    """Structure name -> segment id, for the segments whose name a person would read as one of ``known_names``
    ("Femoral cartilage" is femoral_cartilage; see images.segmentation_files.match_name). The name counts, not the
    number and not the id: a person may have renamed a segment, or drawn a new one.

    Raises:
        WrongContent: no segment has a known name, or two have the same.
    """
    segmentation = segmentationNode.GetSegmentation()
    ids: dict[str, str] = {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment_id = segmentation.GetNthSegmentID(index)
        name = match_name(segmentation.GetSegment(segment_id).GetName(), known_names)
        if name in ids:
            raise WrongContent(f'Two segments of "{segmentationNode.GetName()}" are both named {name}.',
                               "Rename or remove one of them.")
        if name is not None:
            ids[name] = segment_id
    if not ids:
        raise WrongContent(
            f'No segment of "{segmentationNode.GetName()}" has a name that can be measured.',
            f"Rename the segments; known names are {', '.join(sorted(known_names))}.",
        )
    return ids


def write_volume_for_job(volumeNode, folder) -> Path:
    """Write the image of a volume node to ``folder``/image.nrrd and return the path.

    The file holds voxels and geometry only: no names, no DICOM tags.

    Raises:
        WrongContent, BadInput, UnwritableOutput, DiskFull
    """
    return _write(image_of_volume(volumeNode), Path(folder) / "image.nrrd")


def write_segmentation_for_job(segmentationNode, volumeNode, known_names, folder):
    """Write the segments whose name is known to ``folder``/segmentation.nrrd.

    Args:
        segmentationNode: the segmentation; not changed.
        volumeNode: the volume it was made on, or None.
        known_names: names that the job understands.
        folder: where to write.

    Returns:
        The path, name -> label value for the job's parameter ``labels``, and warnings for the user.

    Raises:
        WrongContent: no segment has a known name, two have the same, or all are empty.
        BadInput, UnwritableOutput, DiskFull
    """
    source = _with_binary_labelmap(segmentationNode)
    ids = known_segments(source, known_names)
    sizes = {name: _size(source, segment_id) for name, segment_id in ids.items()}
    # The higher value wins where segments overlap: number them from the largest to the smallest, so that cartilage
    # painted over bone stays whole.
    order = sorted((name for name in ids if sizes[name]), key=sizes.get, reverse=True)
    if not order:
        raise WrongContent(f'All segments of "{segmentationNode.GetName()}" are empty.', "Segment something first.")
    labels = {name: value for value, name in enumerate(order, start=1)}
    values = {ids[name]: value for name, value in labels.items()}
    image, warnings = label_image_of_segmentation(segmentationNode, values, volumeNode)
    return _write(image, Path(folder) / "segmentation.nrrd"), labels, warnings


def write_masks_in_steps(segmentationNode, volumeNode, path):
    """Write every segment as a mask of its own, also where segments overlap or are empty, with its name; a generator
    that yields between segments (see MRISegSuiteLib.steps).

    Args:
        segmentationNode: the segmentation; not changed.
        volumeNode: the volume it was made on, or None.
        path: where to write; ends in ``.seg.nrrd`` and is read by ``images.segmentation_files.read_masks``.

    Returns:
        The path, and the names.

    Raises:
        WrongContent: there is no segment.
        BadInput, UnwritableOutput, DiskFull
    """
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    if not ids:
        raise WrongContent(f'The segmentation "{segmentationNode.GetName()}" has no segment.', "Choose another one.")
    places, images = {}, []
    for layer, members in enumerate(_layers(segmentation, ids)):
        # Those of a layer do not overlap: one label map holds them all, and is made faster than one for each.
        values = {segment_id: value for value, segment_id in enumerate(members, start=1)}
        places |= {segment_id: (layer, value) for segment_id, value in values.items()}
        images.append(label_image_of_segmentation(segmentationNode, values, volumeNode)[0])
        yield
    layered = sitk.Compose(images) if len(images) > 1 else images[0]
    yield
    names = [segmentation.GetSegment(segment_id).GetName() for segment_id in ids]
    for number, name in enumerate(names):
        layer, value = places[ids[number]]
        fields = {"ID": ids[number], "Name": name, "LabelValue": str(value), "Layer": str(layer)}
        for key, text in fields.items():
            layered.SetMetaData(f"Segment{number}_{key}", text)
    return _write(layered, Path(path)), names


def _layers(segmentation, ids: list[str]) -> list[list[str]]:
    """The segments by the label map that they share, at most 255 in one; those without a label map first."""
    groups: dict[int, list[str]] = {}
    for segment_id in ids:
        groups.setdefault(segmentation.GetLayerIndex(segment_id, BINARY_LABELMAP), []).append(segment_id)
    return [members[start:start + 255] for _, members in sorted(groups.items())
            for start in range(0, len(members), 255)]


def _write(image: sitk.Image, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exception:
        raise error_from_write(exception, path.parent) from exception
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(False)  # read once, by the worker on the same machine
    try:
        writer.Execute(image)
    except RuntimeError as exception:
        raise BadInput(f"{path} cannot be written.", "Check that the disk is not full.") from exception
    return path


def _array_of(data: vtk.vtkImageData) -> np.ndarray:
    """The voxels (k, j, i) of a one-component image."""
    size = data.GetDimensions()
    return vtk_to_numpy(data.GetPointData().GetScalars()).reshape(size[::-1])


def _with_binary_labelmap(segmentationNode):
    """The node itself, or, if it holds only surfaces, a copy outside the scene with label maps made from them."""
    if segmentationNode.GetSegmentation().ContainsRepresentation(BINARY_LABELMAP):
        return segmentationNode
    copy = slicer.vtkMRMLSegmentationNode()
    copy.GetSegmentation().DeepCopy(segmentationNode.GetSegmentation())
    if copy.GetSegmentation().GetNumberOfSegments() == 0 or not copy.CreateBinaryLabelmapRepresentation():
        raise WrongContent(f'The segmentation "{segmentationNode.GetName()}" holds no label map.',
                           "Check it in the Segmentations module.")
    return copy


def _size(segmentationNode, segment_id) -> int:
    """Number of voxels of a segment."""
    segment = segmentationNode.GetSegmentation().GetSegment(segment_id)
    scalars = segment.GetRepresentation(BINARY_LABELMAP).GetPointData().GetScalars()
    return 0 if scalars is None else int((vtk_to_numpy(scalars) == segment.GetLabelValue()).sum())


def _overlaps(segmentationNode, values, merged) -> list[str]:
    """A warning for every segment that lost voxels to one with a higher value."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfLayers(BINARY_LABELMAP) < 2:
        return []
    counts = np.bincount(merged.ravel(), minlength=256)
    warnings = []
    for segment_id, value in values.items():
        lost = _size(segmentationNode, segment_id) - int(counts[value])
        if lost > 0:
            name = segmentation.GetSegment(segment_id).GetName()
            warnings.append(f"{lost} voxels of {name} also lie in a smaller segment and count there.")
    return warnings
