"""What a person reads and signs: HTML, PDF and its signature, DICOM SEG and SR. Real packages, real files."""

import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import write_slice
from key_files import write_key
from pydicom.uid import generate_uid

from LongitudinalCompareLib.change.alignment import Alignment
from LongitudinalCompareLib.change.calibration import calibrate_masks
from LongitudinalCompareLib.change.compare import compare_lesions
from LongitudinalCompareLib.change.intensity import intensity_change
from LongitudinalCompareLib.change.lesions import find_lesions
from LongitudinalCompareLib.change.timeline import lesion_tracks
from LongitudinalCompareLib.reporting import lesion_segments, tables
from LongitudinalCompareLib.reporting.dicom_objects import (
    Segment,
    source_series,
    write_measurements,
    write_segmentation,
)
from LongitudinalCompareLib.reporting.pdf import write_pdf
from LongitudinalCompareLib.reporting.pictures import (
    BASELINE_COLOR,
    FOLLOWUP_COLOR,
    change_map,
    side_by_side,
    timeline,
)
from LongitudinalCompareLib.reporting.signing import check_signature, sign_pdf
from LongitudinalCompareLib.response.assess import assess
from LongitudinalCompareLib.response.criteria_files import criteria
from LongitudinalCompareLib.response.measures import measures_of
from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import read_volume
from MRISegSuiteLib.reports.html_report import Picture, Report, write_report

sys.path.insert(0, str(Path(__file__).parents[1] / "Science"))
import lesion_phantoms as phantoms  # noqa: E402

STILL = Alignment(sitk.Transform(3, sitk.sitkIdentity), sitk.Transform(3, sitk.sitkIdentity), 0.1)
FRAME = phantoms.turned((25, -15, 40))
GRID = phantoms.grid((64, 56, 24), (1.0, 1.25, 3.0), FRAME, center=(10, -20, 30))


def in_frame(x, y, z):
    return FRAME @ np.array([x, y, z], float) + (10, -20, 30)


def scan(mask, seed):
    """A made scan: tissue with noise, the lesions brighter."""
    random = np.random.default_rng(seed)
    array = sitk.GetArrayFromImage(mask)
    tissue = 400 + 40 * np.sin(np.indices(array.shape).sum(axis=0) / 5)
    values = tissue + 250 * array + random.normal(0, 10, array.shape)
    image = sitk.GetImageFromArray(np.clip(values, 0, 4000).astype(np.int16))
    image.CopyInformation(mask)
    return image


@pytest.fixture(scope="module")
def comparison():
    before = phantoms.draw(GRID, (in_frame(-12, 0, 0), 8 * np.eye(3)), (in_frame(15, 10, 5), 6 * np.eye(3)))
    after = phantoms.draw(GRID, (in_frame(-12, 0, 0), 10 * np.eye(3)), (in_frame(15, -14, -5), 7 * np.eye(3)))
    lesions = [find_lesions(mask) for mask in (before, after)]
    change = compare_lesions(*lesions, STILL, 90)
    tracks = lesion_tracks(lesions, [change.matching])
    points = measures_of(lesions, tracks, [0, 90])
    categories = [one for criterion in criteria().values() for one in assess(criterion, points)]
    return before, after, change, categories


@pytest.fixture(scope="module")
def report(comparison):
    before, after, change, categories = comparison
    images = scan(before, 1), scan(after, 2)
    inside = sitk.Cast(images[0] > 0, sitk.sitkUInt8)
    z = intensity_change(*images, inside).z
    legend = (("baseline", BASELINE_COLOR), ("follow-up", FOLLOWUP_COLOR))
    return Report(
        "Comparison of two scans",
        facts={"Time between the scans": "90 days"},
        outcomes=tables.OUTCOMES,
        pictures=[
            Picture("picture_side_by_side", "The same slices.", side_by_side(*images, before, after), legend=legend),
            Picture("picture_change", "Where the image changed.", change_map(images[1], z, before | after)),
            Picture("picture_timeline", "Volumes.", timeline([0, 90], {"whole": [2.0, 4.2]}, [0, 0.28])),
        ],
        tables=[
            tables.category_table(categories), tables.reason_table(categories), tables.lesion_table(change),
            tables.uncertainty_table(change), tables.calibration_table([calibrate_masks(before, trials=4)]),
            tables.gate_table("good", ["NMI gain 0.2"], {"inverse consistency": "0.02 mm"}),
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def record(comparison):
    rows = [one.to_record() for one in tables.measurements(comparison[2])]
    return {"measurements": rows, "warnings": ["Scale: ≥ 1 % ² → check"], "software": {"mri_seg_suite": "0"},
            "inputs": [{"role": "baseline", "file": "/home/jane_doe/first.nii.gz", "sha256": "ab" * 32}]}  # fmt: skip


def test_measurements_are_complete_and_named(comparison):
    change = comparison[2]
    rows = {(one.name, one.region): one for one in tables.measurements(change)}
    assert rows["volume_followup", "whole"].value == change.total.growth.followup_mm3
    low, high = rows["log_volume_ratio", "lesion_1"].interval
    assert low < 3 * np.log(10 / 8) < high
    assert rows["Dice", "whole"].value == change.overlap.dice
    assert np.isnan(rows["volume_change_percent", "lesion_2"].value)  # new
    explained = {name for group in tables.OUTCOMES.values() for name in group}
    assert {name for name, _ in rows} == explained


def test_the_html_report_holds_numbers_pictures_and_what_is_not_certain(tmp_path, record, report):
    files = write_report(tmp_path, record, report)
    page = (tmp_path / files["report"]).read_text(encoding="utf-8")
    for text in ("NOT YET CHECKED", "no diagnosis", "Smallest real change", "new", "resolved", "data:image/png"):
        assert text in page
    assert "jane_doe" not in page


def test_the_pdf_is_one_and_holds_no_folder_names(tmp_path, record, report):
    from pyhanko.pdf_utils.reader import PdfFileReader

    path = write_pdf(tmp_path / "report.pdf", record, report, "Dr. A. Reader")
    assert path.read_bytes().startswith(b"%PDF")
    with open(path, "rb") as stream:
        reader = PdfFileReader(stream)
        assert int(reader.root["/Pages"]["/Count"]) >= 2
        assert str(reader.trailer["/Info"]["/Title"]) == "Comparison of two scans"
    assert b"jane_doe" not in path.read_bytes()
    assert check_signature(path).is_signed is False
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    return write_key(tmp_path_factory.mktemp("key") / "reader.p12")


def test_a_flipped_bit_in_a_signed_pdf_is_detected(tmp_path, record, key_file):
    plain = write_pdf(tmp_path / "report.pdf", record, Report("Comparison"))
    signed = sign_pdf(plain, key_file, "secret", out=tmp_path / "signed.pdf")
    found = check_signature(signed)
    assert (found.is_signed, found.is_intact, found.signer) == (True, True, "Dr. A. Reader")
    content = signed.read_bytes()
    assert b"/ETSI.CAdES.detached" in content
    random = np.random.default_rng(4)
    hole = content.index(b"/Contents <") + len(b"/Contents <")  # the signature itself: envelope, certificate, padding
    places = [*random.integers(0, len(content), 25), *(hole + random.integers(40, 120, 10)),
              *(hole + random.integers(0, 2000, 15))]  # fmt: skip
    damaged = tmp_path / "damaged.pdf"
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(0, 8))
        damaged.write_bytes(bytes(flipped))
        assert not check_signature(damaged).is_intact, place
    damaged.write_bytes(content + b"\n% more")
    assert not check_signature(damaged).is_intact


def test_a_wrong_passphrase_or_key_file_is_told(tmp_path, record, key_file):
    plain = write_pdf(tmp_path / "report.pdf", record, Report("Comparison"))
    with pytest.raises(BadInput, match="passphrase"):
        sign_pdf(plain, key_file, "wrong")
    with pytest.raises(BadInput, match="cannot be read"):
        sign_pdf(plain, tmp_path / "none.p12", "secret")
    (tmp_path / "no.pdf").write_bytes(b"hello")
    with pytest.raises(BadInput, match="no sound PDF"):
        sign_pdf(tmp_path / "no.pdf", key_file, "secret")
    assert check_signature(plain).is_signed is False


# DICOM


@pytest.fixture(scope="module")
def series(tmp_path_factory, comparison):
    """An oblique MR series of 24 slices, stored in a shuffled order, beside another series of the same study."""
    folder = tmp_path_factory.mktemp("series")
    image = scan(comparison[1], 3)
    study, frame, uid = generate_uid(), generate_uid(), generate_uid()
    array = sitk.GetArrayFromImage(image).astype(np.uint16)
    for k in np.random.default_rng(0).permutation(len(array)):
        write_slice(folder / f"IM{k:04d}", image, int(k), array[k], study, frame, uid, 4)
    write_slice(folder / "scout", image, 0, array[0], study, frame, generate_uid(), 1)
    return folder, image


@pytest.fixture(scope="module")
def labels(comparison):
    """Lesion numbers of the follow-up on its whole grid."""
    after = comparison[1]
    found = sitk.ConnectedComponent(after)
    return sitk.Cast(sitk.RelabelComponent(found), sitk.sitkUInt8)


SEGMENTS = [
    Segment(1, "Lesion 1", "1.2.826.0.1.3680043.2.1125.1", (("volume", 4188.0), ("longest_diameter", 20.0),
            ("volume_change_percent", 95.3), ("log_volume_ratio", float("nan")))),
    Segment(2, "Lesion 2", measurements=(("volume", 1436.0),)),
    Segment(9, "Lesion 9"),
]  # fmt: skip


def test_dicom_seg_lies_where_the_mask_lies(tmp_path, series, labels):
    import highdicom as hd

    folder, image = series
    source = source_series(folder, read_volume(folder).image)
    assert [int(one.InstanceNumber) for one in source] == list(range(1, 25))
    write_segmentation(tmp_path / "lesions.dcm", source, labels, SEGMENTS, "test model")
    segmentation = hd.seg.segread(str(tmp_path / "lesions.dcm"))
    assert segmentation.PatientID == "P1" and segmentation.StudyInstanceUID == source[0].StudyInstanceUID
    assert [one.SegmentLabel for one in segmentation.SegmentSequence] == ["Lesion 1", "Lesion 2"]
    volume = segmentation.get_volume(combine_segments=True)
    # every voxel of the file is where the voxel of the mask is, in space
    found = np.argwhere(volume.array == 1)
    points = volume.map_indices_to_reference(found)
    indices = np.array([labels.TransformPhysicalPointToIndex(point.tolist()) for point in points])
    array = sitk.GetArrayFromImage(labels)
    assert (array[tuple(indices.T[::-1])] == 1).all() and len(found) == (array == 1).sum()
    off = points - [labels.TransformIndexToPhysicalPoint(index.tolist()) for index in indices]
    assert np.abs(off).max() < 1e-4


def test_structured_report_is_tid_1500_and_holds_the_measurements(tmp_path, series, labels):
    import highdicom as hd

    folder, image = series
    source = source_series(folder, image)
    segmentation = write_segmentation(tmp_path / "seg.dcm", source, labels, SEGMENTS, None)
    write_measurements(tmp_path / "sr.dcm", source, segmentation, SEGMENTS)
    report = hd.sr.srread(str(tmp_path / "sr.dcm"))
    assert str(report.VerificationFlag) == "UNVERIFIED" and report.SeriesInstanceUID != segmentation.SeriesInstanceUID
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    first = groups[0]
    assert first.tracking_uid == SEGMENTS[0].tracking_uid and first.tracking_identifier == "Lesion 1"
    reference = first.reference_type, first.referenced_segment
    assert reference[1].referenced_sop_instance_uid == segmentation.SOPInstanceUID
    values = {one.name.meaning: (one.value, one.unit.value) for one in first.get_measurements()}
    assert values["Volume"] == (4188.0, "mm3") and values["Long axis"] == (20.0, "mm")
    assert values["Change of volume from baseline"] == (95.3, "%") and len(values) == 3
    template = report.ContentTemplateSequence[0]
    assert template.TemplateIdentifier == "1500"
    assert pydicom.dcmread(tmp_path / "sr.dcm").Modality == "SR"


def test_lesions_keep_their_number_and_uid_from_baseline_to_follow_up(comparison):
    before, after, change, _ = comparison
    uids = lesion_segments.tracking_uids(change)
    segments = {when: lesion_segments.lesion_segments(change, when, uids) for when in ("baseline", "followup")}
    by_status = {one.status: one.number for one in change.lesions}
    assert {one.value for one in segments["baseline"]} == {by_status["matched"], by_status["resolved"]}
    assert {one.value for one in segments["followup"]} == {by_status["matched"], by_status["new"]}
    for when, mask in (("baseline", before), ("followup", after)):
        labels = lesion_segments.lesion_labels(change, when, mask)
        array = sitk.GetArrayFromImage(labels)
        assert ((array > 0) == (sitk.GetArrayFromImage(mask) > 0)).all()
        for segment in segments[when]:
            volume = (array == segment.value).sum() * np.prod(mask.GetSpacing())
            assert dict(segment.measurements)["volume"] == pytest.approx(volume)
    matched = [next(s for s in group if s.value == by_status["matched"]) for group in segments.values()]
    assert matched[0].tracking_uid == matched[1].tracking_uid
    assert "log_volume_ratio" in dict(matched[1].measurements)
    with pytest.raises(BadInput, match="has not the grid"):
        lesion_segments.lesion_labels(change, "followup", phantoms.grid((64, 56, 24), (1.0, 1.25, 3.0)))


def test_dicom_of_a_whole_comparison(tmp_path, series, comparison):
    import highdicom as hd

    folder, _ = series
    _, after, change, _ = comparison
    uids = lesion_segments.tracking_uids(change)
    files = lesion_segments.write_dicom(tmp_path, change, "followup", folder, after, uids, "test model")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files.values())
    segmentation = hd.seg.segread(str(tmp_path / files["dicom_seg_followup"]))
    groups = hd.sr.srread(str(tmp_path / files["dicom_sr_followup"])).content.get_volumetric_roi_measurement_groups()
    assert {one.tracking_uid for one in groups} == {one.TrackingUID for one in segmentation.SegmentSequence}
    names = {m.name.meaning for m in next(g for g in groups if len(g.get_measurements()) > 5).get_measurements()}
    assert {"Volume", "Long axis", "Short axis", "Natural logarithm of volume ratio"} <= names


def test_another_grid_is_refused(tmp_path, series, labels):
    folder, image = series
    with pytest.raises(BadInput, match="no DICOM series on the grid"):
        source_series(folder, phantoms.grid((64, 56, 24), (1.0, 1.25, 3.0), center=(10, -20, 30)))
    source = source_series(folder, image)
    with pytest.raises(BadInput, match="does not lie on the grid"):
        write_segmentation(tmp_path / "x.dcm", source, sitk.Flip(labels, [True, False, False]), SEGMENTS, None)
    with pytest.raises(BadInput, match="empty"):
        write_segmentation(tmp_path / "x.dcm", source, labels * 0, SEGMENTS, None)
