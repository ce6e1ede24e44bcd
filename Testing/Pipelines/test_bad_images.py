"""Bad input: each a typed error whose message names the file and says what to do; doubtful input: a warning."""

import gzip

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from MRISegSuiteLib.errors import DiskFull, SuiteError, UnreadableImage, UnwritableOutput, WrongContent
from MRISegSuiteLib.images.checks import check_knee_volume, check_on_scan
from MRISegSuiteLib.images.plausibility import plausible_knee
from MRISegSuiteLib.images.reading import read_volume
from MRISegSuiteLib.images.writing import write_image

BRAIN_AS_KNEE = {"femur": 2, "tibia": 41, "patella": 8, "femoral_cartilage": 3, "tibial_cartilage": 42}
KNEE_LABELS = {
    "femur": 1, "femoral_cartilage": 2, "tibia": 3, "tibial_cartilage": 4, "patella": 5, "patellar_cartilage": 6,
}  # fmt: skip


def knee_sized(array=None, spacing=(1.5, 1.5, 3.0)):
    if array is None:
        array = np.random.default_rng(0).integers(0, 1000, (40, 100, 100)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    return image


def refused(path, kind, *words):
    """Reading and checking ``path`` raises ``kind`` with a message that names the file, the words and a remedy."""
    with pytest.raises(kind) as caught:
        check_knee_volume(read_volume(path), path)
    assert isinstance(caught.value, SuiteError)
    assert caught.value.exit_code == 2
    assert path.name in caught.value.message and caught.value.hint
    for word in words:
        assert word in str(caught.value)


def test_a_good_volume_passes(tmp_path):
    path = tmp_path / "good.nii.gz"
    sitk.WriteImage(knee_sized(spacing=(1.5, 1.5, 1.8)), str(path))
    assert check_knee_volume(read_volume(path), path) == []


def test_missing_file(tmp_path):
    refused(tmp_path / "nowhere.nii.gz", UnreadableImage, "does not exist")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    refused(tmp_path / name, UnreadableImage, "empty")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("part", [0.5, 0.999])
@pytest.mark.parametrize("compress", [False, True])
def test_truncated_file(tmp_path, name, part, compress):
    path = tmp_path / name
    sitk.WriteImage(knee_sized(), str(path), useCompression=compress)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, UnreadableImage)


def test_truncated_before_compression(tmp_path):
    sitk.WriteImage(knee_sized(), str(tmp_path / "a.nii"))
    data = (tmp_path / "a.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(data[: len(data) // 2]))
    refused(path, UnreadableImage, "truncated")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_garbage(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no image at all" * 100)
    refused(tmp_path / name, UnreadableImage)


def test_other_extension(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x" * 500)
    refused(tmp_path / "a.png", UnreadableImage, "NIfTI")


@pytest.mark.parametrize("part", [0.001, 0.003, 0.01, 0.02, 0.5, 0.999])
def test_truncated_dicom(mese_folder, tmp_path, part):
    files = sorted(mese_folder.rglob("*.dcm"))[:24]
    for number, file in enumerate(files):
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[: int(len(data) * part)] if number == 11 else data)
    with pytest.raises(UnreadableImage) as caught:
        read_volume(tmp_path)
    assert files[11].name in str(caught.value)


def test_empty_file_among_dicom(mese_folder, tmp_path):
    for file in sorted(mese_folder.rglob("*.dcm"))[:24]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / file.name).write_bytes(b"")
    with pytest.raises(UnreadableImage, match="damaged"):
        read_volume(tmp_path)


def test_enhanced_multi_frame_dicom_is_refused_with_a_remedy(mese_folder, tmp_path):
    data = pydicom.dcmread(sorted(mese_folder.rglob("*.dcm"))[0])
    data.NumberOfFrames = 24
    data.save_as(tmp_path / "enhanced.dcm")
    with pytest.raises(UnreadableImage, match="multi-frame.*dcm2niix"):
        read_volume(tmp_path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.seg.nrrd"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, name):
    """A limit on the size of files cuts off what is written, as a full disk does; ITK says nothing about NIfTI."""
    resource = pytest.importorskip("resource")
    path = tmp_path / name
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises((DiskFull, UnwritableOutput), match=name):
            write_image(knee_sized(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    write_image(knee_sized(), path)
    assert sitk.ReadImage(str(path)).GetSize() == (100, 100, 40)


def test_2d_image(tmp_path):
    for name, image in (("a.nii.gz", knee_sized()[:, :, 3]), ("b.mha", knee_sized()[:, :, 3:4])):
        sitk.WriteImage(image, str(tmp_path / name))
        refused(tmp_path / name, WrongContent, "2D")


def test_one_dicom_slice(mese_folder, tmp_path):
    file = sorted(mese_folder.rglob("*.dcm"))[0]
    (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(WrongContent, match="2D image"):
        read_volume(tmp_path)


def test_4d_image(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([knee_sized(), knee_sized()]), str(tmp_path / "a.nii.gz"))
    refused(tmp_path / "a.nii.gz", WrongContent, "4D")


def test_color_and_complex_images(tmp_path):
    color = sitk.Compose([sitk.Cast(knee_sized(), sitk.sitkUInt8)] * 3)
    sitk.WriteImage(color, str(tmp_path / "a.nii.gz"))
    refused(tmp_path / "a.nii.gz", WrongContent, "color")
    numbers = sitk.Cast(knee_sized(), sitk.sitkFloat32)
    sitk.WriteImage(sitk.RealAndImaginaryToComplex(numbers, numbers), str(tmp_path / "b.nii.gz"))
    refused(tmp_path / "b.nii.gz", WrongContent, "complex")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("everywhere", [True, False])
def test_voxels_that_are_no_numbers(tmp_path, value, everywhere):
    array = np.random.default_rng(0).random((40, 100, 100)).astype(np.float32)
    array[... if everywhere else (3, 4, 5)] = value
    sitk.WriteImage(knee_sized(array), str(tmp_path / "a.nii.gz"))
    refused(tmp_path / "a.nii.gz", WrongContent, "not numbers", "400000 voxels" if everywhere else "1 voxels")


@pytest.mark.parametrize("value", [0, 77])
def test_constant_volume(tmp_path, value):
    sitk.WriteImage(knee_sized(np.full((40, 100, 100), value, np.int16)), str(tmp_path / "a.nii.gz"))
    refused(tmp_path / "a.nii.gz", WrongContent, "constant", str(value))


def test_a_label_map_is_no_scan(shared_data):
    path = next((shared_data / "knee_labels").glob("*.nii.gz"))
    refused(path, WrongContent, "--segmentation")


def test_a_segmentation_of_another_scan():
    scan = knee_sized()
    labels = sitk.Image(scan.GetSize(), sitk.sitkUInt8)
    labels.CopyInformation(scan)
    labels[20:80, 20:80, 10:30] = 1
    assert check_on_scan(labels, scan) == []
    finer = sitk.Resample(labels, [200, 200, 80], sitk.Transform(), sitk.sitkNearestNeighbor, scan.GetOrigin(),
                          (0.75, 0.75, 1.5), scan.GetDirection())
    assert check_on_scan(finer, scan) == []
    labels.SetOrigin((60.0, 0.0, 0.0))
    (warning,) = check_on_scan(labels, scan)
    assert "67 %" in warning
    labels.SetOrigin((500.0, 0.0, 0.0))
    with pytest.raises(WrongContent, match="Nothing of the segmentation"):
        check_on_scan(labels, scan)


@pytest.mark.parametrize("spacing", [(0.0003, 0.0003, 0.0007), (300.0, 300.0, 700.0), (0.5, 0.5, 40.0)])
def test_absurd_spacing(tmp_path, spacing):
    sitk.WriteImage(knee_sized(spacing=spacing), str(tmp_path / "a.nrrd"))
    refused(tmp_path / "a.nrrd", WrongContent, "no MR scan has such voxels")


def test_a_far_too_small_field_of_view(tmp_path):
    sitk.WriteImage(knee_sized(spacing=(0.3, 0.3, 0.3)), str(tmp_path / "a.nrrd"))
    refused(tmp_path / "a.nrrd", WrongContent, "30 x 30 x 12 mm", "does not fit")


def test_thick_slices_are_a_warning(mese_folder):
    warnings = check_knee_volume(read_volume(mese_folder), mese_folder)
    assert any("4 mm apart" in w and "thickness" in w for w in warnings)


def test_a_real_knee_has_no_warning(qdess_folder):
    assert check_knee_volume(read_volume(qdess_folder), qdess_folder) == []


def test_a_head_is_a_warning_not_a_crash(shared_data):
    path = shared_data / "brain_t1" / "t1_crop.nii.gz"
    (warning,) = check_knee_volume(read_volume(path), path)
    assert "is it a knee?" in warning


def test_a_brain_of_knee_size_passes_here_and_is_caught_by_its_segmentation(shared_data):
    path = next((shared_data / "glioma_whole_tumour" / "case_0").glob("*[Ff][Ll][Aa][Ii][Rr]*"))
    assert check_knee_volume(read_volume(path), path) == []  # the field of view alone cannot tell
    brain = sitk.ReadImage(str(shared_data / "brain_label_maps" / "training_seg_01.nii.gz"))
    warnings = plausible_knee(brain, BRAIN_AS_KNEE)
    assert any("not on top of it" in w for w in warnings)
    assert any("femoral cartilage has" in w for w in warnings)
    assert "Not a knee" in warnings[-1]


def test_expert_segmentations_of_knees_are_plausible(shared_data):
    for path in sorted((shared_data / "knee_labels").glob("*.nii.gz"))[::12]:
        assert plausible_knee(sitk.ReadImage(str(path)), KNEE_LABELS) == []


def test_what_a_failed_segmentation_looks_like(shared_data):
    labels = sitk.ReadImage(str(next((shared_data / "knee_labels").glob("akoa*.nii.gz"))))
    assert "No femur was found." in plausible_knee(labels, {"femur": 99, "tibia": 3})
    swapped = {**KNEE_LABELS, "femur": 3, "tibia": 1}
    warnings = " ".join(plausible_knee(labels, swapped))
    assert "not on top of it" in warnings and "% of the femoral cartilage lies on the femur" in warnings
    upside_down = sitk.GetImageFromArray(sitk.GetArrayFromImage(labels)[::-1])
    upside_down.CopyInformation(labels)
    assert any("not on top" in w for w in plausible_knee(upside_down, KNEE_LABELS))
    array = sitk.GetArrayFromImage(labels)
    array[array == 2] = 0
    array[:40, :40, :40] = 2  # "cartilage" in a corner of the image
    apart = sitk.GetImageFromArray(array)
    apart.CopyInformation(labels)
    assert any("0 % of the femoral cartilage" in w for w in plausible_knee(apart, KNEE_LABELS))
    array = sitk.GetArrayFromImage(labels)
    array[:80, ::60] = 0  # saw the bones into slabs
    sawn = sitk.GetImageFromArray(np.where(np.arange(array.shape[0])[:, None, None] % 40 < 8, 0, array))
    sawn.CopyInformation(labels)
    assert any("pieces" in w for w in plausible_knee(sawn, KNEE_LABELS))


def test_nothing_at_all_was_segmented():
    empty = sitk.Image(40, 40, 40, sitk.sitkUInt8)
    warnings = plausible_knee(empty, KNEE_LABELS)
    assert "No femur was found." in warnings and "No tibia was found." in warnings
