"""The compare task from files to result.json: change, no change, failure, bad input. Heads from formulas."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LongitudinalCompareLib import pipeline
from LongitudinalCompareLib.registration.rigid import matrix_of
from MRISegSuiteLib.cli.main import main
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.jobs import Job, JobContext, Result

pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "InSlicer"))
from virtual_heads import head, pose  # noqa: E402

OLD, NEW = ((25.0, 20.0, 15.0), 9.0), ((-30.0, -10.0, 20.0), 6.0)


def _write(folder, name, *arguments, **options):
    image, mask = head(*arguments, **options)
    paths = folder / f"{name}.nrrd", folder / f"{name}_mask.nrrd"
    for one, path in zip((image, mask), paths):
        sitk.WriteImage(one, str(path), useCompression=True)
    return tuple(map(str, paths))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """before, after (a lesion grown to 1.7 times its volume and a new one), same (nothing changed), other (person)."""
    folder = tmp_path_factory.mktemp("heads")
    return {
        "before": _write(folder, "before", None, [OLD]),
        "after": _write(folder, "after", pose(6, 5), [(OLD[0], OLD[1] * 1.7 ** (1 / 3)), NEW], seed=2),
        "same": _write(folder, "same", pose(-5, 4), [OLD], seed=3),
        "other": _write(folder, "other", None, [OLD], subject=7),
    }


def _run(folder, names, files, masks=True, **parameters):
    inputs = {"images": [files[name][0] for name in names]}
    if masks:
        inputs["masks"] = [files[name][1] for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    context = JobContext(folder)
    result = pipeline.run(Job("compare", inputs, parameters), context)
    record = json.loads((folder / "lesions.json").read_text(encoding="utf-8"))
    return result, record, context


def _values(result):
    return {(m.name, m.region): m for m in result.measurements}


def test_growth_and_a_new_lesion_through_the_command_line(tmp_path, files, capsys):
    out = tmp_path / "out"
    code = main(["compare", files["before"][0], files["after"][0], "--masks", files["before"][1], files["after"][1],
                 "--dates", "2024-01-01", "2024-07-01", "--out", str(out)])  # fmt: skip
    assert code == 0, capsys.readouterr().err
    result = Result.read(out)
    values = _values(result)
    whole = values["volume_change_percent", "whole"]
    truth = 100 * (0.7 * OLD[1] ** 3 + NEW[1] ** 3) / OLD[1] ** 3
    assert whole.interval[0] < truth < whole.interval[1]
    assert values["growth_rate", "whole"].value > 0 and values["Dice", "whole"].value > 0.6
    record = json.loads((out / "lesions.json").read_text(encoding="utf-8"))
    assert record["pairs"][0]["state"] == "good"
    assert sorted(one["status"] for one in record["pairs"][0]["lesions"]) == ["matched", "new"]
    assert record["timepoints"][1]["days"] == 182 and "2024" not in json.dumps(record)
    for role in ("report", "report_pdf", "table", "transform_1", "transform_2", "baseline_to_2", "halfway_1",
                 "halfway_2", "subtraction_2", "intensity_change_2", "segmentation_1", "picture_checkerboard",
                 "scene"):  # fmt: skip
        assert (out / result.files[role]).is_file(), role
    # the chain of transforms is the whole registration: common to baseline and back gives baseline to follow-up
    first, second, direct = (
        matrix_of(sitk.ReadTransform(str(out / result.files[role])))
        for role in ("transform_1", "transform_2", "baseline_to_2")
    )
    assert np.allclose(second @ np.linalg.inv(first), direct, atol=1e-6)
    assert np.allclose(first, np.linalg.inv(second), atol=1e-6), "the common space is not halfway"


def test_nothing_changed_and_exchanging_the_scans_negates(tmp_path, files):
    there, record, _ = _run(tmp_path / "there", ["before", "same"], files, criteria="rano_2_volumetric", jacobian=True)
    back, record_back, _ = _run(tmp_path / "back", ["same", "before"], files, jacobian=True)
    total = record["pairs"][0]["total"]
    # Two masks drawn on two grids of 2.5 mm: the grid alone makes some percent, which is inside the interval.
    assert not total["is_real"] and record["pairs"][0]["category"]["text"] == "no measurable change"
    forward, backward = _values(there)["log_volume_ratio", "whole"], _values(back)["log_volume_ratio", "whole"]
    assert forward.value == pytest.approx(-backward.value, abs=1e-12)
    assert forward.interval[0] == pytest.approx(-backward.interval[1], abs=1e-6)
    assert _values(there)["Dice", "whole"].value == pytest.approx(_values(back)["Dice", "whole"].value, abs=0.02)
    maps = [sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "subtraction_2.nrrd")))
            for name in ("there", "back")]  # fmt: skip
    # a rigid copy expands nowhere; the map is a file and a picture, and no number
    expansion = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "there" / there.files["jacobian_2"])))
    opposite = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back" / back.files["jacobian_2"])))
    assert np.allclose(np.log1p(expansion / 100), -np.log1p(opposite / 100), atol=0.01), "exchanging must negate ln J"
    assert "picture_jacobian" in there.files
    assert np.count_nonzero(expansion) > 10_000 and np.abs(expansion).mean() < 1.0
    assert not [m for m in there.measurements if "jacobian" in m.name] and any("eye only" in w for w in there.warnings)
    assert maps[0].shape == maps[1].shape and np.allclose(maps[0], -maps[1], atol=0.05)
    assert record_back["pairs"][0]["state"] == record["pairs"][0]["state"] == "good"


def test_another_person_gives_native_volumes_only(tmp_path, files):
    result, record, context = _run(tmp_path / "out", ["before", "other"], files, calibrate=False, jacobian=True)
    values = _values(result)
    assert record["pairs"][0]["state"] == "failed" and record["pairs"][0]["reasons"]
    assert ("volume_followup", "whole") in values
    assert not {"Dice", "HD95", "ASSD"} & {name for name, _ in values}
    assert not [role for role in result.files if role.startswith(("halfway", "subtraction", "intensity"))]
    assert not [role for role in result.files if role.startswith("transform")]
    assert "category" not in record["pairs"][0]
    assert "jacobian_2" not in result.files and any("No Jacobian map" in text for text in context.warnings)
    assert record["pairs"][0]["lesions"] == [] and any("failed" in text for text in context.warnings)


def test_without_masks_nothing_is_measured(tmp_path, files):
    result, record, context = _run(tmp_path / "out", ["before", "after"], files, masks=False)
    assert record["pairs"][0]["state"] == "good" and {"halfway_2", "intensity_change_2"} <= set(result.files)
    assert not [m for m in result.measurements if m.structure == "lesion"]
    assert any("nothing is measured" in text for text in context.warnings)


def test_three_timepoints_are_followed(tmp_path, files):
    result, record, _ = _run(tmp_path / "out", ["before", "same", "after"], files, calibrate=False,
                             dates=["2024-01-01", "2024-04-01", "2024-07-01"])  # fmt: skip
    assert [pair["state"] for pair in record["pairs"]] == ["good", "good"]
    values = _values(result)
    first, second = (values["volume_change_percent", f"whole_timepoint_{n}"] for n in (2, 3))
    assert first.interval[0] < 0 < first.interval[1] and second.interval[0] > 0
    assert [track["members"] for track in record["tracks"]] == [[[1], [1], [1]], [[], [], [2]]]
    assert [pair["category"]["text"] for pair in record["pairs"]][0] == "no measurable change"
    assert record["pairs"][1]["category"]["category"] == "PD"
    assert {"halfway_3", "intensity_change_3", "transform_3"} <= set(result.files)


def test_dates_come_from_dicom(tmp_path):
    import pydicom

    from LongitudinalCompareLib.timepoints import days_of

    for name, text in (("a", "20240131"), ("b", "20240302")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("not DICOM")
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.MRImageStorage, pydicom.uid.generate_uid()
        dataset.StudyDate = text
        dataset.save_as(tmp_path / name / "image.dcm", enforce_file_format=True)
    paths = [str(tmp_path / name) for name in "ab"]
    assert days_of(paths, None) == [0, 31]
    assert days_of([paths[0], "scan.nii.gz"], None) == [None, None]
    with pytest.raises(SuiteError, match="in the DICOM files are not in the order"):
        days_of(paths[::-1], None)


@pytest.mark.parametrize("changed, words", [
    ({"images": 1}, "two scans or more"),
    ({"masks": 1}, "1 masks were given for 2 scans"),
    ({"dates": ["2024-01-01"]}, "1 dates were given for 2 scans"),
    ({"dates": ["2024-07-01", "2024-01-01"]}, "not in the order"),
    ({"dates": ["2024-01-01", "yesterday"]}, "YYYY-MM-DD"),
    ({"criteria": "wishful"}, "no response criterion"),
    ({"engine": "magic"}, "no registration engine"),
    ({"colour": "red"}, "unknown parameter"),
    ({"structure": "liver"}, "holds no 'liver'"),
    ({"links": [{"linked": True}]}, "corrected link"),
    ({"swapped_masks": True}, "another grid"),
])  # fmt: skip
def test_bad_input_is_told(tmp_path, files, changed, words):
    names = ["before", "same"]
    inputs = {"images": [files[name][0] for name in names], "masks": [files[name][1] for name in names]}
    parameters = dict(changed)
    for role in ("images", "masks"):
        if role in parameters:
            inputs[role] = inputs[role][: parameters.pop(role)]
    if parameters.pop("swapped_masks", False):
        odd = tmp_path / "odd.nrrd"
        sitk.WriteImage(sitk.ReadImage(files["same"][1])[:-1], str(odd))
        inputs["masks"][1] = str(odd)
    with pytest.raises(SuiteError, match=words):
        pipeline.run(Job("compare", inputs, parameters), JobContext(tmp_path))
