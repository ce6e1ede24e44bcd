"""Segmentation files: Slicer reads ours, we read Slicer's, and plain label maps need names."""

import numpy as np
import pytest
import SimpleITK as sitk

from KneeSegLib.structures import BY_NAME, INPUT_NAMES, STRUCTURES
from MRISegSuiteLib.errors import BadArguments, UnreadableImage, UnwritableOutput, WrongContent
from MRISegSuiteLib.images.segmentation_files import match_name, read_segmentation, write_segmentation


def oblique_labels(values=(1, 2, 4, 5, 6)) -> sitk.Image:
    array = np.zeros((12, 14, 16), np.uint8)
    for number, value in enumerate(values):
        array[2 * number : 2 * number + 2, 3:9, 4:12] = value
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.365, 0.4, 0.7))
    image.SetOrigin((-52.25, 31.5, 7.125))
    c, s = np.cos(0.4), np.sin(0.4)
    image.SetDirection((c, 0, -s, 0, -1, 0, -s, 0, -c))
    return image


def same_geometry(a: sitk.Image, b: sitk.Image, tolerance=1e-6) -> bool:
    return all(
        np.allclose(getattr(a, what)(), getattr(b, what)(), atol=tolerance)
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection")
    )


def voxels(image, names, name):
    return sitk.GetArrayViewFromImage(image) == names[name]


# --- our own round trip ---------------------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    labels = oblique_labels()
    path = write_segmentation(labels, STRUCTURES, tmp_path / "a.seg.nrrd")
    image, names = read_segmentation(path, accepted=INPUT_NAMES)
    assert list(names) == [structure.name for structure in STRUCTURES if structure.label in (1, 2, 4, 5, 6)]
    assert image.GetPixelID() == sitk.sitkUInt8 and same_geometry(image, labels)
    for name in names:
        assert np.array_equal(
            voxels(image, names, name), sitk.GetArrayViewFromImage(labels) == BY_NAME[name].label
        )
    assert [file.name for file in tmp_path.iterdir()] == ["a.seg.nrrd"]


def test_a_label_of_no_structure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="77"):
        write_segmentation(oblique_labels((1, 77)), STRUCTURES, tmp_path / "a.seg.nrrd")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder(tmp_path):
    with pytest.raises(UnwritableOutput, match="no folder"):
        write_segmentation(oblique_labels(), STRUCTURES, tmp_path / "nowhere" / "a.seg.nrrd")
    (tmp_path / "taken.seg.nrrd").mkdir()
    with pytest.raises(UnwritableOutput):
        write_segmentation(oblique_labels(), STRUCTURES, tmp_path / "taken.seg.nrrd")
    assert [file.name for file in tmp_path.iterdir()] == ["taken.seg.nrrd"]


def test_an_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    path = write_segmentation(oblique_labels(), STRUCTURES, tmp_path / "a.seg.nrrd")
    before = path.read_bytes()

    def half_written(image, name, **_):
        with open(name, "wb") as stream:
            stream.write(b"NRRD0004")
        raise RuntimeError("ITK ERROR: could not write")

    monkeypatch.setattr("MRISegSuiteLib.images.writing.sitk.WriteImage", half_written)
    with pytest.raises(UnwritableOutput):
        write_segmentation(oblique_labels((1,)), STRUCTURES, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# --- Slicer ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def slicer():
    return pytest.importorskip("slicer")


def loaded(slicer, path):
    """The segmentation node that Slicer's own storage node makes of ``path``."""
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.ReadData(node) == 1
    return scene, node, storage


def segment_tag(segment, key):
    import vtk

    value = vtk.reference("")
    return str(value) if segment.GetTag(key, value) else None


def test_slicer_reads_ours(slicer, tmp_path):
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    labels = oblique_labels()
    path = write_segmentation(labels, STRUCTURES, tmp_path / "a.seg.nrrd", side="right", algorithm="knee 1.0|x")
    scene, node, _ = loaded(slicer, path)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 5
    assert segmentation.GetNumberOfLayers() == 1
    direction = np.array(labels.GetDirection()).reshape(3, 3) * labels.GetSpacing()
    ras = np.diag([-1, -1, 1, 1]) @ np.vstack([np.column_stack([direction, labels.GetOrigin()]), [0, 0, 0, 1]])
    for number in range(5):
        name = segmentation.GetNthSegmentID(number)
        segment, structure = segmentation.GetNthSegment(number), BY_NAME[name]
        assert segment.GetName() == structure.title and segment.GetLabelValue() == structure.label
        assert segment.GetColor() == pytest.approx(structure.color)
        assert not segment.GetNameAutoGenerated() and not segment.GetColorAutoGenerated()
        terminology = segment_tag(segment, "TerminologyEntry")
        assert f"~{'^'.join(structure.code)}~" in terminology
        assert terminology.endswith(f"{'^'.join(structure.region)}~SCT^24028007^Right")
        assert segment_tag(segment, "DICOM.SegmentAlgorithmType") == "AUTOMATIC"
        assert segment_tag(segment, "DICOM.SegmentAlgorithmName") == "knee 1.0 x"
        image = segment.GetRepresentation("Binary labelmap")
        assert image.GetDimensions() == labels.GetSize()
        array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(labels.GetSize()[::-1])
        assert np.array_equal(array == structure.label, sitk.GetArrayViewFromImage(labels) == structure.label)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        assert np.allclose([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)], ras, atol=1e-9)
    reference = slicer.vtkOrientedImageData()
    geometry = segmentation.GetConversionParameter("Reference image geometry")
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, reference, False)
    matrix = vtk.vtkMatrix4x4()
    reference.GetImageToWorldMatrix(matrix)
    assert reference.GetDimensions() == labels.GetSize()
    assert np.allclose([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)], ras, atol=1e-9)


def test_we_read_what_slicer_saves_again(slicer, tmp_path):
    labels = oblique_labels()
    scene, node, storage = loaded(slicer, write_segmentation(labels, STRUCTURES, tmp_path / "a.seg.nrrd"))
    storage.SetFileName(str(tmp_path / "b.seg.nrrd"))
    assert storage.WriteData(node) == 1
    image, names = read_segmentation(tmp_path / "b.seg.nrrd", accepted=INPUT_NAMES)
    assert same_geometry(image, labels) and len(names) == 5
    for name in names:
        assert np.array_equal(voxels(image, names, name), sitk.GetArrayViewFromImage(labels) == BY_NAME[name].label)


def drawn_in_slicer(slicer, path, boxes):
    """A segmentation as a person leaves it: {segment name: box of voxels}, overlapping ones in layers."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    for name, box in boxes.items():
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(16, 14, 12)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(12, 14, 16)
        array[:] = 0
        array[box] = 1
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy([0, 0, 0.7, 5, -0.36, 0, 0, 6, 0, 0.36, 0, 7, 0, 0, 0, 1])
        image.SetImageToWorldMatrix(matrix)
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.WriteData(node) == 1
    return path


def test_overlapping_layers(slicer, tmp_path):
    boxes = {"Femur": np.s_[1:11, 2:12, 2:14], "Femur Cartilage": np.s_[3:5, 4:8, 4:9], "Tibia": np.s_[0, 0, 0:5]}
    path = drawn_in_slicer(slicer, tmp_path / "drawn.seg.nrrd", boxes)
    assert sitk.ReadImage(str(path)).GetNumberOfComponentsPerPixel() >= 2  # really several layers
    said = []
    image, names = read_segmentation(path, accepted=INPUT_NAMES, warn=said.append)
    assert set(names) == {"femur", "femoral_cartilage", "tibia"}
    assert image.GetSpacing() == pytest.approx((0.36, 0.36, 0.7))
    cartilage = np.zeros((12, 14, 16), bool)
    cartilage[boxes["Femur Cartilage"]] = True
    femur = np.zeros_like(cartilage)
    femur[boxes["Femur"]] = True
    found = {name: voxels(image, names, name) for name in names}
    assert found["femoral_cartilage"].sum() == cartilage.sum() == 40  # the smaller one stays whole
    assert found["femur"].sum() == (femur & ~cartilage).sum()
    assert found["tibia"].sum() == 5
    for name, box in (("femoral_cartilage", "Femur Cartilage"), ("tibia", "Tibia")):
        index = np.argwhere(found[name])[0][::-1]
        k, j, i = (s.start if isinstance(s, slice) else s for s in boxes[box])
        expected_ras = np.array([0.7 * k + 5, -0.36 * i + 6, 0.36 * j + 7])
        point = image.TransformIndexToPhysicalPoint([int(v) for v in index])
        assert np.allclose(np.array(point) * [-1, -1, 1], expected_ras)
    assert len(said) == 1 and "40 of femur as femoral_cartilage" in said[0]
    with pytest.raises(BadArguments, match="overlap"):
        read_segmentation(path, accepted=INPUT_NAMES)


def test_segments_that_are_not_known(slicer, tmp_path):
    boxes = {"Femur": np.s_[1:5, 2:12, 2:14], "my scribble": np.s_[6:8, 4:8, 4:9]}
    path = drawn_in_slicer(slicer, tmp_path / "drawn.seg.nrrd", boxes)
    said = []
    _, names = read_segmentation(path, accepted=INPUT_NAMES, warn=said.append)
    assert list(names) == ["femur"] and "my scribble" in said[0]
    only = drawn_in_slicer(slicer, tmp_path / "only.seg.nrrd", {"Segment_1": np.s_[1:5, 2:12, 2:14]})
    with pytest.raises(BadArguments, match="Segment_1") as caught:
        read_segmentation(only, accepted=INPUT_NAMES)
    assert "femoral_cartilage" in caught.value.hint


def test_two_segments_of_one_name(slicer, tmp_path):
    boxes = {"Femur": np.s_[1:5, 2:12, 2:14], "femur": np.s_[6:8, 4:8, 4:9]}
    with pytest.raises(BadArguments, match="two segments named femur"):
        read_segmentation(drawn_in_slicer(slicer, tmp_path / "a.seg.nrrd", boxes), accepted=INPUT_NAMES)


def test_label_numbers_beside_a_seg_nrrd_are_refused(tmp_path):
    path = write_segmentation(oblique_labels(), STRUCTURES, tmp_path / "a.seg.nrrd")
    with pytest.raises(BadArguments, match="carries the names"):
        read_segmentation(path, {"femur": 1}, INPUT_NAMES)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("femur", "femur"),
        ("FEMUR", "femur"),
        ("Right Femur", "femur"),
        ("Femur cartilage", "femoral_cartilage"),
        ("femoral-cartilage", "femoral_cartilage"),
        ("Cartilage, femoral (left)", "femoral_cartilage"),
        ("medial tibia cartilage", "medial_tibial_cartilage"),
        ("Meniscus medial", "medial_meniscus"),
        ("Patella Cartilage", "patellar_cartilage"),
        ("tibial cartilage", "tibial_cartilage"),
        ("cartilage", None),
        ("femoral", None),
        ("Segment_1", None),
        ("femur lesion", None),
        ("", None),
    ],
)
def test_names(given, meant):
    assert match_name(given, INPUT_NAMES) == meant


def test_names_without_a_list_are_tidied():
    assert match_name("Whole Tumour", None) == "whole_tumour"


# --- plain label maps -----------------------------------------------------------------------------------------------

REAL = {"femur": 1, "Femur cartilage": 2, "tibia": 3, "tibial_cartilage": 4, "patella": 5, "patellar cartilage": 6}


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.nii.gz"
    sitk.WriteImage(oblique_labels((1, 2, 4)), str(path))
    return path


def test_a_real_label_map(shared_data):
    path = sorted((shared_data / "knee_labels").glob("*.nii.gz"))[0]
    image, names = read_segmentation(path, REAL, INPUT_NAMES)
    original = sitk.ReadImage(str(path))
    assert same_geometry(image, original)
    assert list(names) == [match_name(name, INPUT_NAMES) for name in REAL]
    for given, value in REAL.items():
        mask = voxels(image, names, match_name(given, INPUT_NAMES))
        assert np.array_equal(mask, sitk.GetArrayViewFromImage(original) == value)


def test_parts_of_one_structure_are_joined(plain):
    image, names = read_segmentation(plain, {"femur": [1, 4, 9], "tibia": 2}, INPUT_NAMES)
    original = sitk.GetArrayFromImage(sitk.ReadImage(str(plain)))
    assert np.array_equal(voxels(image, names, "femur"), np.isin(original, [1, 4]))


def test_a_label_map_needs_names_and_says_how(plain):
    with pytest.raises(BadArguments) as caught:
        read_segmentation(plain, None, INPUT_NAMES)
    assert "values 1, 2, 4" in caught.value.message
    assert "--labels femur=1,femoral_cartilage=2" in caught.value.hint


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"femur": 7}, ["femur=7", "1, 2, 4"]),
        ({"bone": 1}, ["'bone'", "femoral_cartilage"]),
        ({"femur": 1, "tibia": 1}, ["both femur and tibia"]),
        ({"femur": 1, "Femur": 2}, ["femur is named twice"]),
        ({"femur": [0, 1]}, ["background"]),
        ({"femur": "12"}, ["femur='12'", "whole number"]),
        ({"femur": 1.0}, ["whole number"]),
        ({"femur": []}, ["whole number"]),
        (["femur"], ["must map names to values"]),
        ({"femur": 1, "tibia": 2}, ["the values 4 have no name"]),
    ],
)
def test_wrong_maps(plain, labels, words):
    with pytest.raises(BadArguments) as caught:
        read_segmentation(plain, labels, INPUT_NAMES)
    for word in words:
        assert word in str(caught.value)


def test_values_without_a_name_are_left_out_with_a_warning(plain):
    said = []
    image, names = read_segmentation(plain, {"femur": 1}, INPUT_NAMES, said.append)
    assert names == {"femur": 1} and "2, 4" in said[0]
    assert set(np.unique(sitk.GetArrayViewFromImage(image))) == {0, 1}


def test_a_scan_is_no_label_map(tmp_path):
    array = np.random.default_rng(0).random((12, 14, 16)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a.nii.gz"))
    with pytest.raises(WrongContent, match="fractions"):
        read_segmentation(tmp_path / "a.nii.gz", {"femur": 1}, INPUT_NAMES)
    sitk.WriteImage(sitk.GetImageFromArray((array * 3000).astype(np.int16)), str(tmp_path / "b.nii.gz"))
    with pytest.raises(WrongContent, match="different values"):
        read_segmentation(tmp_path / "b.nii.gz", {"femur": 1}, INPUT_NAMES)


def test_an_empty_label_map(tmp_path):
    sitk.WriteImage(sitk.Image(10, 10, 10, sitk.sitkUInt8), str(tmp_path / "a.nii.gz"))
    with pytest.raises(WrongContent, match="every voxel is 0"):
        read_segmentation(tmp_path / "a.nii.gz", {"femur": 1}, INPUT_NAMES)


def test_float_labels_are_taken_as_numbers(tmp_path, plain):
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(plain)), sitk.sitkFloat64), str(tmp_path / "a.nii.gz"))
    image, names = read_segmentation(tmp_path / "a.nii.gz", {"femur": 1, "tibia": 2, "patella": 4}, INPUT_NAMES)
    assert voxels(image, names, "patella").sum() == 96


def test_a_damaged_file(tmp_path):
    (tmp_path / "a.seg.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(UnreadableImage):
        read_segmentation(tmp_path / "a.seg.nrrd")
