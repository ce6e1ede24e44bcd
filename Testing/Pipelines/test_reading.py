"""Real scans and made files are read with the right voxels, geometry, echoes and nothing about a person."""

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from MRISegSuiteLib.errors import BadArguments, UnreadableImage, WrongContent
from MRISegSuiteLib.images.reading import read_volume


@pytest.fixture(scope="module")
def qdess(qdess_folder):
    return read_volume(qdess_folder)


@pytest.fixture(scope="module")
def mese(mese_folder):
    return read_volume(mese_folder)


def test_qdess_is_recognized_and_its_echoes_separated(qdess, qdess_folder):
    assert qdess.info["kind"] == "qdess"
    assert qdess.info["te_ms"] == [7.48, 42.52]
    assert (qdess.info["tr_ms"], qdess.info["flip_deg"], qdess.info["modality"]) == (25.0, 30.0, "MR")
    assert qdess.image.GetSize() == (512, 512, 80)
    assert qdess.image.GetSpacing() == pytest.approx((0.3125, 0.3125, 1.5), abs=1e-4)
    first, second = (sitk.GetArrayViewFromImage(echo).astype(float) for echo in qdess.echoes)
    assert first.mean() > 2 * second.mean()  # the second echo has decayed
    assert np.allclose(sitk.GetArrayViewFromImage(qdess.image), np.hypot(first, second), rtol=1e-5, atol=1e-2)


def test_every_slice_lies_where_its_header_says(qdess, qdess_folder):
    files = sorted(qdess_folder.rglob("*.dcm"))[::23]
    assert len(files) > 5
    for file in files:
        header = pydicom.dcmread(file)
        index = qdess.image.TransformPhysicalPointToContinuousIndex([float(v) for v in header.ImagePositionPatient])
        assert np.allclose(index, np.rint(index), atol=2e-3)
        assert np.rint(index[:2]).tolist() == [0, 0]
        echo = qdess.echoes[int(header.EchoNumbers) - 1]
        plane = sitk.GetArrayViewFromImage(echo)[round(index[2])]
        assert np.array_equal(plane, header.pixel_array)


def test_the_order_of_files_does_not_matter(mese, mese_folder, tmp_path):
    for number, file in enumerate(sorted(mese_folder.rglob("*.dcm"), reverse=True)):
        shutil.copyfile(file, tmp_path / f"{(number * 7919) % 10007:05d}")  # no extension, other order
    again = read_volume(tmp_path)
    assert np.array_equal(sitk.GetArrayViewFromImage(again.image), sitk.GetArrayViewFromImage(mese.image))
    assert again.image.GetOrigin() == mese.image.GetOrigin()


def test_multi_echo_spin_echo_is_recognized_and_oblique(mese):
    assert mese.info["kind"] == "multi_echo_spin_echo"
    assert len(mese.echoes) == 8
    assert mese.info["te_ms"] == pytest.approx([6.312 * n for n in range(1, 9)])
    assert mese.image.GetSize() == (256, 256, 24)
    assert mese.image.GetSpacing() == pytest.approx((0.625, 0.625, 4.0), abs=1e-4)
    direction = np.array(mese.image.GetDirection()).reshape(3, 3)
    assert np.abs(np.abs(direction).max(axis=0) - 1).max() > 1e-3  # oblique, and still orthonormal
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-6)
    assert np.linalg.det(direction) > 0
    assert any("gaps" in sentence for sentence in mese.warnings)
    means = [float(sitk.GetArrayViewFromImage(echo).mean()) for echo in mese.echoes]
    assert means == sorted(means, reverse=True)


def test_one_echo_can_be_chosen(mese_folder, mese):
    third = read_volume(mese_folder, echo=3)
    assert np.array_equal(sitk.GetArrayViewFromImage(third.image), sitk.GetArrayViewFromImage(mese.echoes[2]))
    with pytest.raises(BadArguments, match="8 echo"):
        read_volume(mese_folder, echo=9)


def test_nothing_about_a_person_is_kept(qdess, mese):
    for volume in (qdess, mese):
        assert not any(image.GetMetaDataKeys() for image in [volume.image, *volume.echoes])
        text = repr(volume.info)
        assert "2016" not in text and "1.2.840" not in text and "10157" not in text


def test_without_a_slice_the_gap_is_named(mese_folder, tmp_path):
    files = sorted(mese_folder.rglob("*.dcm"))
    positions = sorted({round(float(pydicom.dcmread(f, stop_before_pixels=True).SliceLocation), 2) for f in files})
    for file in files:
        if round(float(pydicom.dcmread(file, stop_before_pixels=True).SliceLocation), 2) != positions[10]:
            shutil.copyfile(file, tmp_path / file.name)
    with pytest.raises(WrongContent, match=r"1 slice\(s\) are missing"):
        read_volume(tmp_path)


def test_an_echo_that_lacks_a_slice_is_refused(mese_folder, tmp_path):
    files = sorted(mese_folder.rglob("*.dcm"))
    dropped = False
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        if int(header.EchoNumbers) == 4 and not dropped:
            dropped = True
            continue
        shutil.copyfile(file, tmp_path / file.name)
    with pytest.raises(WrongContent, match="echo 4 has 23 slices"):
        read_volume(tmp_path)


# --- made series: what the two real ones do not show ----------------------------------------------------------------


def write_series(folder, slices=12, series=1, frame="1.2.3", first=0.0, step=3.0, slope=None, **fields):
    """A small axial-sagittal MR series; returns its array [k, j, i]."""
    folder.mkdir(exist_ok=True, parents=True)
    array = np.random.default_rng(series).integers(0, 4000, (slices, 16, 20)).astype(np.uint16)
    uid = generate_uid()
    for k in range(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2", uid, frame
        data.PatientName, data.PatientID, data.SeriesDescription = "Doe^Jane", "4711", "knee of Jane"
        data.Modality, data.SeriesNumber, data.InstanceNumber = "MR", series, slices - k
        data.ScanningSequence, data.MRAcquisitionType = "GR", "3D"
        data.RepetitionTime, data.EchoTime, data.FlipAngle = 20, 5, 15
        data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        data.ImagePositionPatient = [first - step * k, -5, 7]
        data.PixelSpacing, data.SliceThickness = [0.5, 0.4], abs(step)
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 16, 20, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        if slope is not None:
            data.RescaleSlope, data.RescaleIntercept = slope, 1
        for name, value in fields.items():
            setattr(data, name, value(k) if callable(value) else value)
        data.PixelData = array[k].tobytes()
        data.save_as(folder / f"{series:02d}_{k:03d}_{uid[-4:]}.dcm", enforce_file_format=True)
    return array


def test_geometry_of_a_made_series(tmp_path):
    array = write_series(tmp_path, first=11.0)
    volume = read_volume(tmp_path)
    assert np.array_equal(sitk.GetArrayViewFromImage(volume.image), array)
    assert volume.image.GetSpacing() == pytest.approx((0.4, 0.5, 3.0))  # columns apart, rows apart, slices apart
    assert volume.image.GetOrigin() == pytest.approx((11.0, -5, 7))
    assert volume.image.GetDirection() == pytest.approx((0, 0, -1, 1, 0, 0, 0, -1, 0))
    assert volume.info["kind"] == "single" and len(volume.echoes) == 1


def test_slices_stored_the_other_way_round_make_the_same_volume(tmp_path):
    forward, backward = tmp_path / "a", tmp_path / "b"
    array = write_series(forward, first=0.0, step=3.0)
    write_series(backward, first=-33.0, step=-3.0)
    a, b = read_volume(forward).image, read_volume(backward).image
    assert a.GetOrigin() == b.GetOrigin() and a.GetDirection() == b.GetDirection()
    assert np.array_equal(sitk.GetArrayViewFromImage(b), array[::-1])


def test_rescale_slope_is_applied(tmp_path):
    array = write_series(tmp_path, slope=0.5)
    assert np.allclose(sitk.GetArrayViewFromImage(read_volume(tmp_path).image), array * 0.5 + 1)


def test_a_siemens_style_dess_in_one_series_is_recognized(tmp_path):
    uid = generate_uid()
    write_series(tmp_path, series=1, EchoTime=6.0, SeriesInstanceUID=uid, Manufacturer="SIEMENS")
    write_series(tmp_path, series=2, EchoTime=34.0, SeriesInstanceUID=uid, Manufacturer="SIEMENS")
    volume = read_volume(tmp_path)
    assert volume.info["kind"] == "qdess" and volume.info["te_ms"] == [6.0, 34.0]


def test_dual_echo_gradient_echo_is_not_taken_for_qdess(tmp_path):
    write_series(tmp_path, series=1, EchoTime=2.3)
    write_series(tmp_path, series=2, EchoTime=4.6)
    assert read_volume(tmp_path).info["kind"] == "multi_echo"


def test_two_scans_are_listed_and_one_can_be_chosen_by_a_file(tmp_path):
    write_series(tmp_path, series=4)
    second = write_series(tmp_path, series=7)
    with pytest.raises(BadArguments) as caught:
        read_volume(tmp_path)
    message = str(caught.value)
    assert "series 4" in message and "series 7" in message and "any one of its files" in message
    assert "Jane" not in message and "4711" not in message
    chosen = read_volume(next(tmp_path.glob("07_*.dcm")))
    assert np.array_equal(sitk.GetArrayViewFromImage(chosen.image), second)


def test_echoes_in_series_of_their_own_that_lack_slices_are_told_from_two_scans(tmp_path):
    write_series(tmp_path, slices=12, series=4, EchoTime=5)
    write_series(tmp_path, slices=10, series=5, EchoTime=35)
    with pytest.raises(WrongContent, match="echoes of one scan, but have not the same slices"):
        read_volume(tmp_path)


def test_a_scout_beside_the_scan_is_passed_over_with_a_warning(tmp_path):
    write_series(tmp_path, series=1, slices=3, step=20.0)
    array = write_series(tmp_path, series=2)
    volume = read_volume(tmp_path)
    assert np.array_equal(sitk.GetArrayViewFromImage(volume.image), array)
    assert "series 1" in volume.warnings[0]


def test_phase_images_are_left_aside(tmp_path):
    array = write_series(tmp_path, series=1, ImageType=["ORIGINAL", "PRIMARY", "M"])
    write_series(tmp_path, series=2, ImageType=["ORIGINAL", "PRIMARY", "P"])
    assert np.array_equal(sitk.GetArrayViewFromImage(read_volume(tmp_path).image), array)


def test_time_frames_are_a_4d_image(tmp_path):
    uid = generate_uid()
    write_series(tmp_path, series=1, SeriesInstanceUID=uid)
    write_series(tmp_path, series=2, SeriesInstanceUID=uid)
    with pytest.raises(WrongContent, match="4D"):
        read_volume(tmp_path)


def test_uneven_slices(tmp_path):
    write_series(tmp_path / "a", ImagePositionPatient=lambda k: [-3.0 * k - 0.2 * (k % 2), -5, 7])
    assert any("vary from 2.80 to 3.20" in sentence for sentence in read_volume(tmp_path / "a").warnings)
    write_series(tmp_path / "b", ImagePositionPatient=lambda k: [-3.0 * k - 1.0 * (k % 2), -5, 7])
    with pytest.raises(WrongContent, match="equal distances"):
        read_volume(tmp_path / "b")


def test_a_tilted_stack_is_refused(tmp_path):
    write_series(tmp_path, ImagePositionPatient=lambda k: [-3.0 * k, -5 + 0.4 * k, 7])
    with pytest.raises(WrongContent, match="shifted against each other"):
        read_volume(tmp_path)


def test_recorded_side(tmp_path):
    write_series(tmp_path, ImageLaterality="L")
    assert read_volume(tmp_path).info["laterality"] == "left"


def test_other_modality_is_a_warning(tmp_path):
    write_series(tmp_path, Modality="CT")
    assert any("CT, not MR" in sentence for sentence in read_volume(tmp_path).warnings)


# --- image files ----------------------------------------------------------------------------------------------------


def oblique_image():
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 1000, (9, 10, 11)).astype(np.int16))
    image.SetSpacing((0.4, 0.5, 2.0))
    image.SetOrigin((-12.0, 30.0, 4.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, -1))
    return image


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "UPPER.NII.GZ"])
def test_every_format_gives_the_same_volume(tmp_path, name):
    image = oblique_image()
    image.SetMetaData("descrip", "Jane Doe")
    sitk.WriteImage(image, str(tmp_path / name.lower()))
    if name != name.lower():
        (tmp_path / name.lower()).rename(tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert np.array_equal(sitk.GetArrayViewFromImage(volume.image), sitk.GetArrayViewFromImage(image))
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(volume.image, what)() == pytest.approx(getattr(image, what)(), abs=1e-5)
    assert not volume.image.GetMetaDataKeys() and not volume.warnings


def test_4d_of_one_frame_is_squeezed(tmp_path):
    image = sitk.JoinSeries([oblique_image()])
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.image.GetSize() == (11, 10, 9)
    assert volume.image.GetDirection() == pytest.approx(oblique_image().GetDirection(), abs=1e-5)


def edit_nifti_header(path, offset, content):
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(bytes(data))


def test_conflicting_sform_and_qform_are_told(tmp_path):
    path = tmp_path / "a.nii"
    sitk.WriteImage(oblique_image(), str(path))
    assert not read_volume(path).warnings
    edit_nifti_header(path, 268, np.array([50.0], np.float32).tobytes())  # qoffset_x
    (warning,) = read_volume(path).warnings
    assert "sform and qform" in warning and "38.0 mm" in warning
    origin = read_volume(path).image.GetOrigin()
    used = "sform" if origin[0] == pytest.approx(-12.0) else "qform"
    assert f"the {used} was used" in warning


def test_no_position_in_a_nifti_is_told(tmp_path):
    path = tmp_path / "a.nii"
    sitk.WriteImage(oblique_image(), str(path))
    edit_nifti_header(path, 252, bytes(4))
    assert any("neither sform nor qform" in sentence for sentence in read_volume(path).warnings)


def test_units_of_meters_are_converted(tmp_path):
    path = tmp_path / "a.nii"
    image = oblique_image()
    sitk.WriteImage(image, str(path))
    header = np.frombuffer(path.read_bytes()[:348], np.uint8).copy()
    for start, count in ((80, 3), (268, 3), (280, 12)):  # pixdim, qoffset, srow
        values = header[start : start + 4 * count].view(np.float32)
        values /= 1000
    header[123] = 1  # meters
    edit_nifti_header(path, 0, header.tobytes())
    volume = read_volume(path)
    assert volume.image.GetSpacing() == pytest.approx(image.GetSpacing(), rel=1e-5)
    assert volume.image.GetOrigin() == pytest.approx(image.GetOrigin(), rel=1e-5)
    assert any("meters" in sentence for sentence in volume.warnings)


def test_a_folder_without_dicom(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UnreadableImage, match="no DICOM image"):
        read_volume(tmp_path)
