"""Several contrasts a timepoint: who is registered, who is moved within a session, what each contrast shows."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LongitudinalCompareLib import pipeline
from LongitudinalCompareLib.registration.rigid import displacement_mm, matrix_of
from LongitudinalCompareLib.timepoints import contrasts_of
from MRISegSuiteLib.cli.arguments import parse
from MRISegSuiteLib.cli.jobs_commands import compare_job
from MRISegSuiteLib.errors import BadArguments, SuiteError
from MRISegSuiteLib.jobs import JobContext

pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "InSlicer"))
from virtual_heads import head, pose  # noqa: E402

OLD, NEW = ((25.0, 20.0, 15.0), 9.0), ((-30.0, -10.0, 20.0), 6.0)
#: Where the head lay in each scan: it moved between FLAIR and T1 of the follow-up.
POSES = {"flair1": None, "t1w1": None, "flair2": pose(6, 5), "t1w2": pose(6, 5) @ pose(4, 7, (2, -1, 1))}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrasts")
    found = {}
    for seed, (name, matrix) in enumerate(POSES.items()):
        spacing = (3.0, 3.0, 3.0) if "flair" in name else (2.5, 2.5, 4.0)
        lesions = [OLD] if name.endswith("1") else [OLD, NEW]
        image, mask = head(matrix, lesions, spacing, seed=seed, inverted="t1" in name)
        found[name], found[f"{name}_mask"] = (str(folder / f"{name}{end}.nrrd") for end in ("", "_mask"))
        sitk.WriteImage(image, found[name])
        sitk.WriteImage(mask, found[f"{name}_mask"])
    return found


def _job(files, *more):
    command = ["compare", "--timepoint", f"T1W={files['t1w1']}", f"FLAIR={files['flair1']}",
               "--timepoint", f"FLAIR={files['flair2']}", f"T1={files['t1w2']}", "--out", "x", *more]  # fmt: skip
    return compare_job(parse(command))


def test_a_contrast_that_moved_within_its_session_is_found_and_laid_back(tmp_path, files):
    job = _job(files, "--reference", "FLAIR", "--masks", files["flair1_mask"], files["t1w2_mask"],
               "--without-calibration")  # fmt: skip
    assert [Path(path).stem for path in job.inputs["images"]] == ["flair1", "flair2"]
    assert job.parameters["channel_names"] == [["FLAIR", "T1"], ["FLAIR", "T1"]]
    context = JobContext(tmp_path)
    result = pipeline.run(job, context)
    first, second = result.parameters["contrasts"]
    assert not first[0]["registered"] and first[0]["beside_mm"] < 0.5
    assert second[0]["registered"] and second[0].get("beside_mm", np.inf) > 1  # no number where it is far
    assert any("T1 of the follow-up was registered within its session" in text for text in context.warnings)
    assert "session_T1_1" not in result.files
    found = matrix_of(sitk.ReadTransform(str(tmp_path / result.files["session_T1_2"])))
    points = np.random.default_rng(1).uniform(-60, 60, (200, 3))
    truth = np.linalg.inv(POSES["t1w2"]) @ POSES["flair2"]  # points of the FLAIR to points of the T1
    assert displacement_mm(found, truth, points).mean() < 0.5
    # the mask was drawn on the T1 that was moved: it is measured in its own voxels and lies where the lesion is
    values = {(m.name, m.region): m.value for m in result.measurements}
    drawn = sitk.ReadImage(files["t1w2_mask"])
    count = np.count_nonzero(sitk.GetArrayViewFromImage(drawn))
    assert values["volume_followup", "whole"] == pytest.approx(count * np.prod(drawn.GetSpacing()))
    record = json.loads((tmp_path / "lesions.json").read_text(encoding="utf-8"))
    assert sorted(one["status"] for one in record["pairs"][0]["lesions"]) == ["matched", "new"]
    assert record["timepoints"][1]["contrasts"] == second and record["timepoints"][0]["reference"] == "FLAIR"
    # each contrast has its own map, and both show the new lesion
    for role in ("intensity_change_2", "intensity_change_T1_2"):
        z = sitk.ReadImage(str(tmp_path / result.files[role]))
        place = np.linalg.inv(matrix_of(sitk.ReadTransform(str(tmp_path / "transform_1.tfm")))) @ (*NEW[0], 1)
        index = z.TransformPhysicalPointToIndex(place[:3].tolist())
        array = sitk.GetArrayViewFromImage(z)
        assert z[index] > 10 * np.median(np.abs(array[array != 0])), role
    assert {"halfway_T1_1", "halfway_T1_2", "subtraction_T1_2", "picture_change_T1"} <= set(result.files)


def test_contrasts_are_named_by_the_command_or_the_files(files):
    job = _job(files)
    assert [Path(path).stem for path in job.inputs["images"]] == ["t1w1", "t1w2"], "the first that both have"
    plain = compare_job(parse(["compare", files["flair1"], files["flair2"], "--out", "x"]))
    assert "channels_1" not in plain.inputs and len(plain.inputs["images"]) == 2
    assert contrasts_of(["a/flair.nii.gz", "x.nrrd"], [["t1_gd.nii.gz"], []], None) == [["FLAIR", "T1c"], [""]]
    with pytest.raises(BadArguments, match="has no T2"):
        _job(files, "--reference", "T2")
    with pytest.raises(BadArguments, match="no contrast in common"):
        compare_job(parse(["compare", "--timepoint", f"FLAIR={files['flair1']}", f"T1={files['t1w1']}",
                           "--timepoint", f"T2={files['flair2']}", "--out", "x"]))  # fmt: skip


@pytest.mark.parametrize("change, words", [
    ({"channel_names": [["FLAIR", "FLAIR"], ["FLAIR", "T1"]]}, "two scans of one contrast"),
    ({"channel_names": [["FLAIR"], ["FLAIR", "T1"]]}, "not named one by one"),
    ({"channel_names": [["FLAIR", "../x"], ["FLAIR", "T1"]]}, "is called '../x'"),
    ({"within_session": "perhaps"}, "within_session"),
    ({"channels_3": ["x.nrrd"]}, "unknown input 'channels_3'"),
    ({"channels_2": ["t1w1"]}, "named twice"),
])  # fmt: skip
def test_bad_contrasts_are_told(tmp_path, files, change, words):
    job = _job(files)
    for name, value in change.items():
        if name.startswith("channels"):
            job.inputs[name] = [files.get(one, one) for one in value]
        else:
            job.parameters[name] = value
    with pytest.raises(SuiteError, match=words):
        pipeline.run(job, JobContext(tmp_path))
