"""MRML volumes to images and back: every voxel and the geometry, whatever the orientation."""

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_helpers import DIRECTIONS, put_under, rotation

from MRISegSuiteLib.errors import BadInput, UnwritableOutput, WrongContent
from MRISegSuiteLib.images.segmentation_files import read_masks
from MRISegSuiteLib.scene.exporting import image_of_volume, write_masks_in_steps, write_volume_for_job
from MRISegSuiteLib.scene.segmentations import SegmentLook, add_layer, new_segmentation_node
from MRISegSuiteLib.scene.volumes import new_volume_node
from MRISegSuiteLib.steps import all_at_once


@pytest.fixture(params=DIRECTIONS, ids=str)
def image(request) -> sitk.Image:
    """A small anisotropic image of random numbers, far from the origin."""
    voxels = np.random.default_rng(0).integers(-1000, 3000, (4, 6, 5)).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.36458, 0.4, 1.5))
    image.SetOrigin((-81.25, 33.3, 1204.7))
    image.SetDirection(DIRECTIONS[request.param].ravel().tolist())
    return image


def assert_same_image(one: sitk.Image, other: sitk.Image, tolerance=1e-9):
    assert one.GetPixelID() == other.GetPixelID()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(one, what)(), getattr(other, what)(), atol=tolerance, rtol=0, err_msg=what)


def test_image_to_node_and_back_is_exact(scene, image):
    assert_same_image(image_of_volume(new_volume_node(scene, "v", image)), image)


def test_slicer_agrees_where_the_voxels_lie(scene, image):
    """Slicer's own arithmetic on the node gives ITK's coordinates (LPS) of the same voxel."""
    node = new_volume_node(scene, "v", image)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    index = (4, 2, 3)
    ras = np.array(matrix.MultiplyPoint([*index, 1.0])[:3])
    np.testing.assert_allclose(ras * [-1, -1, 1], image.TransformIndexToPhysicalPoint(index), atol=1e-9)
    assert slicer.util.arrayFromVolume(node)[3, 2, 4] == image[4, 2, 3]


def test_the_file_for_the_job_is_exact(scene, image, tmp_path):
    path = write_volume_for_job(new_volume_node(scene, "Jane Doe", image), tmp_path / "input")
    assert_same_image(sitk.ReadImage(str(path)), image, tolerance=1e-6)  # NRRD stores spacing times direction
    assert b"Jane" not in path.read_bytes()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_voxel_types_are_kept(scene, kind):
    image = sitk.GetImageFromArray(np.arange(60).reshape(3, 4, 5).astype(kind))
    assert_same_image(image_of_volume(new_volume_node(scene, "v", image)), image)


def test_linear_parent_transforms_move_the_image(scene, image):
    node = new_volume_node(scene, "v", image)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = rotation(20, 30, -40), (10.0, -20.0, 5.0)
    put_under(scene, node, move)
    moved = image_of_volume(node)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(moved), sitk.GetArrayFromImage(image))
    ras = move @ [*(np.array(image.TransformIndexToPhysicalPoint((1, 2, 3))) * [-1, -1, 1]), 1.0]
    np.testing.assert_allclose(moved.TransformIndexToPhysicalPoint((1, 2, 3)), ras[:3] * [-1, -1, 1], atol=1e-9)
    node.HardenTransform()
    assert_same_image(image_of_volume(node), moved)


def test_shear_and_nonlinear_transforms_are_refused_with_a_hint(scene, image):
    node = new_volume_node(scene, "v", image)
    shear = np.eye(4)
    shear[0, 1] = 0.2
    put_under(scene, node, shear)
    with pytest.raises(BadInput, match="perpendicular.*arden"):
        image_of_volume(node)
    bent = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    bent.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    node.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(BadInput, match="nonlinear.*arden"):
        image_of_volume(node)


def test_empty_and_color_volumes_are_refused(scene):
    with pytest.raises(WrongContent, match="no image"):
        image_of_volume(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    data = vtk.vtkImageData()
    data.SetDimensions(3, 3, 3)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "color")
    node.SetAndObserveImageData(data)
    with pytest.raises(WrongContent, match="3 values"):
        image_of_volume(node)


def test_a_folder_that_cannot_be_made(scene, tmp_path):
    (tmp_path / "file").write_text("")
    node = new_volume_node(scene, "v", sitk.Image(3, 3, 3, sitk.sitkUInt8))
    with pytest.raises(UnwritableOutput, match="file"):
        write_volume_for_job(node, tmp_path / "file" / "input")


def test_segments_that_share_a_layer_and_segments_that_overlap_are_written_as_they_are(scene, tmp_path):
    """Two segments in one label map, a third over both, and an empty one."""
    volume = new_volume_node(scene, "v", sitk.GetImageFromArray(np.zeros((6, 8, 10), np.int16)))
    base = np.zeros((6, 8, 10), np.uint8)
    base[1:3], base[3:5] = 1, 2
    over = np.zeros((6, 8, 10), np.uint8)
    over[2:4, 2:5] = 1
    looks = [SegmentLook(name, f"Part {name}", (1, 0, 0), "") for name in "abc"]
    node = new_segmentation_node(scene, "s", sitk.GetImageFromArray(base), {"a": 1, "b": 2}, looks[:2], volume,
                                 closed_surfaces=False)
    add_layer(node, sitk.GetImageFromArray(over), {"c": 1}, looks[2:], volume)
    node.GetSegmentation().AddEmptySegment("d", "Part d")
    path, names = all_at_once(write_masks_in_steps(node, volume, tmp_path / "m.seg.nrrd"))
    assert sitk.ReadImage(str(path)).GetNumberOfComponentsPerPixel() <= 3 and names == [f"Part {n}" for n in "abcd"]
    _, masks = read_masks(path)
    found = {name.lower().replace(" ", "_"): mask for name, mask in masks.items()}
    for name, wanted in {"a": base == 1, "b": base == 2, "c": over == 1, "d": over > 1}.items():
        np.testing.assert_array_equal(found[f"part_{name}"], wanted)
