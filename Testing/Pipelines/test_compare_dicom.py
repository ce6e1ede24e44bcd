"""DICOM SEG and SR of a comparison whose scans came as DICOM folders: real series, the real command, read again."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import write_series

from LongitudinalCompareLib import pipeline, results
from LongitudinalCompareLib.change.alignment import Alignment
from LongitudinalCompareLib.change.matching import match_lesions
from LongitudinalCompareLib.change.timeline import lesion_tracks
from MRISegSuiteLib.jobs import Job, JobContext, Result

pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
hd = pytest.importorskip("highdicom", reason="highdicom is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "InSlicer"))
from virtual_heads import head, pose  # noqa: E402

OLD, NEW = ((25.0, 20.0, 15.0), 9.0), ((-30.0, -10.0, 20.0), 8.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two DICOM folders with their masks: a lesion that grows, and a new one, larger than the old one was."""
    folder = tmp_path_factory.mktemp("series")
    scans, masks = [], []
    for n, (matrix, lesions) in enumerate([(None, [OLD]), (pose(6, 5), [(OLD[0], 11.0), NEW])], start=1):
        image, mask = head(matrix, lesions, spacing=(3.0, 3.5, 4.0), seed=n)
        scans.append(str(write_series(folder / f"scan{n}", image, f"2024010{n}")))
        masks.append(str(folder / f"mask{n}.nrrd"))
        sitk.WriteImage(mask, masks[-1])
    return scans, masks


@pytest.fixture(scope="module")
def done(tmp_path_factory, files):
    """The comparison of the two folders; its job folder, and what was measured (to vary the output)."""
    kept = []

    def writing(found, *rest):
        kept.append(found)
        return results.write_results(found, *rest)

    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "write_results", writing)
        inputs = {"images": files[0], "masks": files[1]}
        result = pipeline.run(Job("compare", inputs, {"calibrate": False}), JobContext(folder))
    return folder, result, kept[0]


def test_both_timepoints_get_a_seg_and_an_sr_that_belong_together(done, files):
    folder, result, _ = done
    lesions = {}
    for n in (1, 2):
        segmentation = hd.seg.segread(str(folder / result.files[f"dicom_seg_{n}"]))
        report = hd.sr.srread(str(folder / result.files[f"dicom_sr_{n}"]))
        assert segmentation.PatientID == report.PatientID == "P1"
        # every voxel of the mask, where it is in space
        volume = segmentation.get_volume(combine_segments=True)
        points = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
        mask = sitk.ReadImage(files[1][n - 1])
        array = sitk.GetArrayFromImage(mask)
        indices = np.array([mask.TransformPhysicalPointToIndex(point.tolist()) for point in points])
        assert (array[tuple(indices.T[::-1])] > 0).all() and len(points) == np.count_nonzero(array)
        for group in report.content.get_volumetric_roi_measurement_groups():
            values = {one.name.meaning: one.value for one in group.get_measurements()}
            assert group.referenced_segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
            lesions[n, group.tracking_identifier] = group.tracking_uid, values
    # the numbers are those of the report: the grown lesion is the larger one
    record = json.loads((folder / "lesions.json").read_text(encoding="utf-8"))
    status = {f"Lesion {one['number']}": one for one in record["pairs"][0]["lesions"]}
    assert {name: one["status"] for name, one in status.items()} == {"Lesion 1": "matched", "Lesion 2": "new"}
    assert set(lesions) == {(1, "Lesion 1"), (2, "Lesion 1"), (2, "Lesion 2")}
    assert lesions[1, "Lesion 1"][0] == lesions[2, "Lesion 1"][0] != lesions[2, "Lesion 2"][0]
    before, after = lesions[1, "Lesion 1"][1], lesions[2, "Lesion 1"][1]
    assert before["Volume"] == pytest.approx(status["Lesion 1"]["baseline_mm3"])
    assert after["Volume"] == pytest.approx(status["Lesion 1"]["followup_mm3"])
    assert after["Change of volume from baseline"] == pytest.approx(status["Lesion 1"]["percent"])
    assert "Change of volume from baseline" not in before
    assert not [text for text in result.warnings if "DICOM SEG" in text]


def _written(found, folder, model=None):
    context, result = JobContext(folder), Result()
    results._write_dicom(found, result, folder, model, context)
    return result.files, context.warnings


def test_what_cannot_be_made_is_told_and_fails_nothing(done, files, tmp_path, monkeypatch):
    found = done[2]
    first, second = found.timepoints
    # one scan is not DICOM
    made, notes = _written(replace(found, timepoints=(first, replace(second, path="after.nii.gz"))), tmp_path)
    assert sorted(made) == ["dicom_seg_1", "dicom_sr_1"]
    assert notes == ["No DICOM SEG and SR of the follow-up: its scan did not come from DICOM."]
    # the folder no longer holds the series
    made, notes = _written(replace(found, timepoints=(first, replace(second, path=str(tmp_path)))), tmp_path)
    assert "dicom_seg_2" not in made and "no DICOM series on the grid" in notes[0] and str(tmp_path) not in notes[0]
    # none is DICOM: nothing is said
    plain = tuple(replace(one, path="scan.nii.gz") for one in found.timepoints)
    assert _written(replace(found, timepoints=plain), tmp_path) == ({}, [])
    # the package is not there
    monkeypatch.setitem(sys.modules, "highdicom", None)
    made, notes = _written(found, tmp_path)
    assert made == {} and "highdicom is not installed" in notes[0]


def test_a_series_without_what_a_seg_needs_is_told(done, files, tmp_path):
    found = done[2]
    for file in sorted(Path(files[0][0]).iterdir()):
        data = pydicom.dcmread(file)
        del data.StudyInstanceUID
        data.save_as(tmp_path / file.name)
    out = tmp_path / "out"
    out.mkdir()
    timepoints = replace(found.timepoints[0], path=str(tmp_path)), found.timepoints[1]
    made, notes = _written(replace(found, timepoints=timepoints), out, {"id": "a-model"})
    assert sorted(made) == ["dicom_seg_2", "dicom_sr_2"] and "headers of its series" in notes[0]
    assert sorted(one.name for one in out.iterdir()) == ["lesions_2_seg.dcm", "lesions_2_sr.dcm"]
    segment = hd.seg.segread(str(out / "lesions_2_seg.dcm")).SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "AUTOMATIC" and "a-model" in str(segment)


def test_three_timepoints_keep_the_numbers_of_the_tracks(done, tmp_path):
    """The follow-up again as third timepoint: numbers come from the tracks, its changes from its own pair."""
    found = done[2]
    first, second = found.timepoints
    lesions = found.lesions[0], found.lesions[1], found.lesions[1]
    still = Alignment(sitk.Transform(3, sitk.sitkIdentity), sitk.Transform(3, sitk.sitkIdentity), 0.1)
    tracks = lesion_tracks(lesions, [found.pairs[0].change.matching, match_lesions(lesions[1], lesions[2], still)])
    made, notes = _written(replace(
        found, timepoints=(first, second, second), lesions=lesions, tracks=tracks,
        pairs=(found.pairs[0], replace(found.pairs[0], number=2)),
        alignment=replace(found.alignment, pairs=found.alignment.pairs * 2),
    ), tmp_path)  # fmt: skip
    assert notes == [] and len(made) == 6
    uids = []
    for n in (1, 2, 3):
        segments = hd.seg.segread(str(tmp_path / made[f"dicom_seg_{n}"])).SegmentSequence
        uids.append({one.SegmentLabel: one.TrackingUID for one in segments})
    assert [set(one) for one in uids] == [{"Lesion 1"}, {"Lesion 1", "Lesion 2"}, {"Lesion 1", "Lesion 2"}]
    assert uids[1] == uids[2] and uids[0]["Lesion 1"] == uids[1]["Lesion 1"]
    groups = hd.sr.srread(str(tmp_path / made["dicom_sr_3"])).content.get_volumetric_roi_measurement_groups()
    names = {one.tracking_identifier: {m.name.meaning for m in one.get_measurements()} for one in groups}
    assert "Change of volume from baseline" in names["Lesion 1"] - names["Lesion 2"]


def test_where_the_registration_failed_each_scan_has_its_own_numbers(done, tmp_path):
    found = done[2]
    pair = found.alignment.pairs[0]
    failed = replace(pair, gate=replace(pair.gate, state="failed"))
    alignment = replace(found.alignment, pairs=(failed,))
    made, notes = _written(replace(found, alignment=alignment, tracks=()), tmp_path)
    assert len(made) == 4 and len(notes) == 1 and "in each scan for itself" in notes[0]
    uids = [
        {one.TrackingUID for one in hd.seg.segread(str(tmp_path / made[f"dicom_seg_{n}"])).SegmentSequence}
        for n in (1, 2)
    ]
    assert len(uids[0]) == 1 and len(uids[1]) == 2 and not uids[0] & uids[1]
