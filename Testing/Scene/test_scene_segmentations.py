"""Label images to segmentation nodes and back; what Slicer and its DICOM export read from the segments."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from scene_helpers import DIRECTIONS, put_under, rotation

from KneeSegLib.structures import INPUT_NAMES, STRUCTURES
from MRISegSuiteLib.errors import WrongContent
from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.scene.exporting import image_of_volume, label_image_of_segmentation, write_segmentation_for_job
from MRISegSuiteLib.scene.segmentations import (
    CLOSED_SURFACE,
    SegmentLook,
    mark_edited_segments,
    new_segmentation_node,
)
from MRISegSuiteLib.scene.volumes import new_volume_node

VALUES = {s.name: s.label for s in STRUCTURES}
LOOKS = [
    SegmentLook(s.name, s.title, s.color, terminology_entry(s.category, s.code, s.region, "left")) for s in STRUCTURES
]


@pytest.fixture(params=DIRECTIONS, ids=str)
def labels(request) -> sitk.Image:
    """Every structure as a small box, one voxel apart, touching the border; anisotropic, anywhere in space."""
    voxels = np.zeros((8, 24, 20), np.uint8)
    for number, structure in enumerate(STRUCTURES):
        voxels[:, 2 * number: 2 * number + 1 + number % 2, 3: 5 + number] = structure.label
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.36458, 0.7, 1.5))
    image.SetOrigin((-81.25, 33.3, 104.7))
    image.SetDirection(DIRECTIONS[request.param].ravel().tolist())
    return image


def gray_like(labels):
    image = sitk.Image(labels.GetSize(), sitk.sitkInt16)
    image.CopyInformation(labels)
    return image


def array(image):
    return sitk.GetArrayFromImage(image)


def assert_same_place(one, other, tolerance=1e-9):
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(one, what)(), getattr(other, what)(), atol=tolerance, rtol=0, err_msg=what)


@pytest.mark.parametrize("case", ["volume", "moved volume", "no volume"])
def test_labels_to_segments_and_back_are_exact(scene, labels, case):
    volume = new_volume_node(scene, "v", gray_like(labels)) if case != "no volume" else None
    in_the_world = labels
    if case == "moved volume":
        move = np.eye(4)
        move[:3, :3], move[:3, 3] = rotation(20, 30, -40), (10.0, -20.0, 5.0)
        put_under(scene, volume, move)
        in_the_world = sitk.Image(labels)  # what a job that was given the exported volume hands back
        in_the_world.CopyInformation(image_of_volume(volume))
    node = new_segmentation_node(scene, "s", in_the_world, VALUES, LOOKS, volume)
    back, warnings = label_image_of_segmentation(node, VALUES, volume)
    np.testing.assert_array_equal(array(back), array(labels))
    assert_same_place(back, in_the_world)
    assert not warnings
    if volume is not None:
        assert node.GetTransformNodeID() == volume.GetTransformNodeID()
        # In the node's own coordinates the grid is that of the volume: moved once, not twice.
        matrix, of_volume = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        node.GetSegmentation().GetSegment("femur").GetRepresentation("Binary labelmap").GetImageToWorldMatrix(matrix)
        volume.GetIJKToRASMatrix(of_volume)
        assert [matrix.GetElement(r, c) for r in range(4) for c in range(4)] == pytest.approx(
            [of_volume.GetElement(r, c) for r in range(4) for c in range(4)], abs=1e-12)


def test_slicer_s_own_export_gives_the_same_voxels(scene, labels):
    volume = new_volume_node(scene, "v", gray_like(labels))
    node = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, volume)
    for structure in STRUCTURES:
        own = slicer.util.arrayFromSegmentBinaryLabelmap(node, structure.name, volume)
        np.testing.assert_array_equal(own > 0, array(labels) == structure.label, err_msg=structure.name)


def test_names_colors_and_terminology(scene, labels):
    node = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, algorithm="MRI Seg Suite m 1")
    entry = slicer.vtkSlicerTerminologyEntry()
    for structure in STRUCTURES:
        segment = node.GetSegmentation().GetSegment(structure.name)
        assert segment.GetName() == structure.title
        assert segment.GetColor() == pytest.approx(structure.color)
        assert slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(
            tag(segment, "TerminologyEntry"), entry)
        for coded, wanted in ((entry.GetCategoryObject(), structure.category), (entry.GetTypeObject(), structure.code),
                              (entry.GetRegionObject(), structure.region)):
            assert (coded.GetCodingSchemeDesignator(), coded.GetCodeValue(), coded.GetCodeMeaning()) == wanted
        assert entry.GetRegionModifierObject().GetCodeMeaning() == "Left"


def test_what_dicom_seg_export_asks_of_a_segment(scene, labels):
    """The conditions of Slicer's DICOMSegmentationExporter, one by one."""
    volume = new_volume_node(scene, "v", gray_like(labels))
    node = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, volume, algorithm="MRI Seg Suite m 1")
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is volume
    for structure in STRUCTURES:
        segment = node.GetSegmentation().GetSegment(structure.name)
        assert tag(segment, "DICOM.SegmentAlgorithmType") == "AUTOMATIC"
        assert tag(segment, "DICOM.SegmentAlgorithmName") == "MRI Seg Suite m 1"
        scalars = segment.GetRepresentation("Binary labelmap").GetPointData().GetArray("ImageScalars")
        assert scalars is not None and scalars.GetValueRange() != (0, 0)  # else "empty segment"
    drawn = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, volume, algorithm_type="MANUAL")
    assert tag(drawn.GetSegmentation().GetSegment("femur"), "DICOM.SegmentAlgorithmType") == "MANUAL"


def test_edited_segments_are_no_longer_called_automatic(scene, labels, tmp_path):
    """Told by the voxels: also of a neighbor that was painted over, also after saving, not of segments left alone."""
    volume = new_volume_node(scene, "v", gray_like(labels))
    node = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, volume, algorithm="MRI Seg Suite m 1")

    def types(of):
        segmentation = of.GetSegmentation()
        return {s.name: tag(segmentation.GetSegment(s.name), "DICOM.SegmentAlgorithmType") for s in STRUCTURES}

    path = tmp_path / "s.seg.nrrd"
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    read = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "read")
    assert storage.ReadData(read)
    for each in (node, read):
        assert mark_edited_segments(each) == [] and set(types(each).values()) == {"AUTOMATIC"}
        tibia = slicer.util.arrayFromSegmentBinaryLabelmap(each, "tibia", volume).copy()
        tibia[2, 0, 4] = 1  # a voxel of the femur
        slicer.util.updateSegmentBinaryLabelmapFromArray(tibia, each, "tibia", volume)
        femur = slicer.util.arrayFromSegmentBinaryLabelmap(each, "femur", volume).copy()
        femur[2, 0, 4] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(femur, each, "femur", volume)
        each.GetSegmentation().GetSegment("patella").SetName("Kneecap")  # a name is no edit
        assert sorted(mark_edited_segments(each)) == ["femur", "tibia"]
        assert {name for name, kind in types(each).items() if kind == "SEMIAUTOMATIC"} == {"femur", "tibia"}
        assert tag(each.GetSegmentation().GetSegment("femur"), "DICOM.SegmentAlgorithmName") == "MRI Seg Suite m 1"
        assert mark_edited_segments(each) == []


def test_segments_drawn_by_hand_keep_their_algorithm_type(scene, labels):
    node = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, algorithm_type="MANUAL")
    node.GetSegmentation().GetSegment("femur").GetRepresentation("Binary labelmap").GetPointData().GetScalars().Fill(0)
    assert mark_edited_segments(node) == []
    assert tag(node.GetSegmentation().GetSegment("femur"), "DICOM.SegmentAlgorithmType") == "MANUAL"


def test_given_surfaces_become_the_closed_surfaces_and_the_rest_is_made(scene, labels):
    ball = vtk.vtkSphereSource()
    ball.SetCenter(10, 20, 30)
    ball.Update()
    node = new_segmentation_node(scene, "s", labels, VALUES, LOOKS, surfaces={"femur": ball.GetOutput()})
    segments = node.GetSegmentation()
    femur = segments.GetSegment("femur").GetRepresentation(CLOSED_SURFACE)
    assert femur.GetNumberOfPoints() == ball.GetOutput().GetNumberOfPoints()
    assert femur.GetCenter() == pytest.approx((10, 20, 30), abs=0.01)
    for structure in STRUCTURES[1:]:
        assert segments.GetSegment(structure.name).GetRepresentation(CLOSED_SURFACE).GetNumberOfPoints() > 0


def test_terminology_is_what_slicer_ships(slicer_terminologies):
    """Category and type are in both type lists of Slicer, regions in its anatomic list or in DICOM CID 4031."""
    types, regions = slicer_terminologies
    cid_4031_only = {"12611008", "87342007"}  # Tibia, Fibula
    for structure in STRUCTURES:
        for name, codes in types.items():
            assert (structure.category, structure.code) in codes, (structure.name, name)
        assert structure.region in regions or structure.region[1] in cid_4031_only, structure.name


@pytest.fixture
def slicer_terminologies(repository):
    """Slicer's lists, where its sources are at hand (SLICER_SOURCES, a work tree)."""
    sources = os.environ.get("SLICER_SOURCES")
    if not sources:
        pytest.skip("SLICER_SOURCES does not name a copy of Slicer's sources")
    folder = Path(sources) / "Modules" / "Loadable" / "Terminologies" / "Resources"
    types = {}
    for path in folder.glob("SegmentationCategoryTypeModifier-*.json"):
        types[path.stem] = {
            (code(category), code(kind))
            for category in json.loads(path.read_text())["SegmentationCodes"]["Category"] for kind in category["Type"]
        }
    regions = json.loads((folder / "AnatomicRegionAndModifier-DICOM-Master.json").read_text())
    assert types
    return types, {code(region) for region in regions["AnatomicCodes"]["AnatomicRegion"]}


def code(record):
    return record["CodingSchemeDesignator"], record["CodeValue"], record["CodeMeaning"]


# -- a person's segmentation to the input of a job

@pytest.fixture
def drawn(scene):
    """A segmentation as a person makes it: own ids, names written freely, overlapping."""
    def make(**masks):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
        volume = new_volume_node(scene, "v", sitk.Image(10, 10, 10, sitk.sitkInt16))
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for number, (name, mask) in enumerate(masks.items()):
            node.GetSegmentation().AddEmptySegment(f"Segment_{number}", name.replace("_", " "))
            slicer.util.updateSegmentBinaryLabelmapFromArray(
                mask.astype(np.uint8), node, f"Segment_{number}", volume)
        return node, volume
    return make


def box(*where) -> np.ndarray:
    mask = np.zeros((10, 10, 10), bool)
    mask[tuple(slice(a, b) for a, b in where)] = True
    return mask


def test_segments_are_known_by_their_names(drawn, tmp_path):
    femur, cartilage = box((0, 5), (0, 9), (0, 9)), box((6, 7), (0, 9), (0, 9))
    node, volume = drawn(Femoral_Cartilage=cartilage, FEMUR=femur, skin=box((8, 9), (0, 9), (0, 9)))
    path, values, warnings = write_segmentation_for_job(node, volume, INPUT_NAMES, tmp_path)
    written = sitk.ReadImage(str(path))
    assert set(values) == {"femur", "femoral_cartilage"} and not warnings
    np.testing.assert_array_equal(array(written) == values["femur"], femur)
    np.testing.assert_array_equal(array(written) == values["femoral_cartilage"], cartilage)
    assert written.GetSize() == (10, 10, 10)


def test_where_segments_overlap_the_smaller_one_wins(drawn, tmp_path):
    femur, cartilage = box((0, 7), (0, 9), (0, 9)), box((5, 7), (0, 9), (0, 9))
    node, volume = drawn(femoral_cartilage=cartilage, femur=femur)
    path, values, warnings = write_segmentation_for_job(node, volume, INPUT_NAMES, tmp_path)
    written = array(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(written == values["femoral_cartilage"], cartilage)
    np.testing.assert_array_equal(written == values["femur"], femur & ~cartilage)
    shared = int((femur & cartilage).sum())
    assert warnings == [f"{shared} voxels of femur also lie in a smaller segment and count there."]


def test_exporting_does_not_change_the_scene(scene, drawn, tmp_path):
    node, volume = drawn(femur=box((0, 7), (0, 9), (0, 9)), femoral_cartilage=box((5, 7), (0, 9), (0, 9)))
    before = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    content = node.GetSegmentation().GetMTime()
    write_segmentation_for_job(node, volume, INPUT_NAMES, tmp_path)
    after = [(scene.GetNthNode(i).GetID(), scene.GetNthNode(i).GetMTime()) for i in range(scene.GetNumberOfNodes())]
    assert after == before and node.GetSegmentation().GetMTime() == content


def test_surfaces_alone_are_turned_into_labels(scene, tmp_path):
    ball = vtk.vtkSphereSource()
    ball.SetRadius(3)
    ball.SetCenter(5, 5, 5)
    ball.SetThetaResolution(40)
    ball.SetPhiResolution(40)
    ball.Update()
    volume = new_volume_node(scene, "v", sitk.Image(10, 10, 10, sitk.sitkInt16))
    volume.SetIJKToRASDirections(1, 0, 0, 0, 1, 0, 0, 0, 1)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "s")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "femur")
    path, values, _ = write_segmentation_for_job(node, volume, INPUT_NAMES, tmp_path)
    k, j, i = np.indices((10, 10, 10))
    inside = (i - 5) ** 2 + (j - 5) ** 2 + (k - 5) ** 2 < 2.95 ** 2
    np.testing.assert_array_equal(array(sitk.ReadImage(str(path))) > 0, inside)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


@pytest.mark.parametrize(("masks", "message"), [
    ({"skin": box((0, 5), (0, 5), (0, 5))}, "No segment .* name that can be measured"),
    ({"femur": box((0, 5), (0, 5), (0, 5)), "Femur": box((6, 8), (0, 5), (0, 5))}, "both named femur"),
    ({"femur": box((0, 0), (0, 5), (0, 5))}, "empty"),
])
def test_segmentations_that_cannot_be_measured(drawn, tmp_path, masks, message):
    node, volume = drawn(**masks)
    with pytest.raises(WrongContent, match=message):
        write_segmentation_for_job(node, volume, INPUT_NAMES, tmp_path)


def tag(segment, name) -> str:
    value = vtk.mutable("")
    assert segment.GetTag(name, value), name
    return str(value)
