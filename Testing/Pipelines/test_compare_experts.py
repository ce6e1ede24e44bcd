"""Masks by a panel of experts within a comparison: the embedded networks on cut-out virtual brains."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LongitudinalCompareLib import pipeline
from LongitudinalCompareLib.reporting.tables import calibration_measurements, calibration_table
from LongitudinalCompareLib.segmenting import brain_masks, calibrate_scan, segmenter_of
from LongitudinalCompareLib.timepoints import Timepoint
from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.jobs import Job, JobContext

pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "InSlicer"))
from model_files import bands_model  # noqa: E402
from virtual_heads import BRAIN_MM, head, pose  # noqa: E402


def _cut_out(path, matrix, radius, seed):
    """A brain alone, on nothing, with one bright lesion."""
    image, mask = head(matrix, [((25.0, 20.0, 15.0), radius)], seed=seed)
    i, j, k = np.meshgrid(*[np.arange(n) for n in image.GetSize()], indexing="ij")
    points = np.stack([i, j, k], axis=-1) * image.GetSpacing() + image.GetOrigin()
    points = points @ matrix[:3, :3].T + matrix[:3, 3]
    inside = (np.linalg.norm(points / np.array(BRAIN_MM), axis=-1) < 0.99).transpose(2, 1, 0)
    cut = sitk.GetImageFromArray(np.where(inside, sitk.GetArrayFromImage(image), 0).astype(np.int16))
    cut.CopyInformation(image)
    sitk.WriteImage(cut, str(path))
    return str(path), np.count_nonzero(sitk.GetArrayFromImage(mask)) * np.prod(mask.GetSpacing())


def test_a_panel_segments_both_and_its_disagreement_is_part_of_the_interval(tmp_path):
    before, v1 = _cut_out(tmp_path / "before.nrrd", pose(), 16.0, 1)
    after, v2 = _cut_out(tmp_path / "after.nrrd", pose(5, 4), 20.0, 2)
    out = tmp_path / "out"
    out.mkdir()
    context = JobContext(out)
    result = pipeline.run(Job("compare", {"images": [before, after]}, {"experts": ["glioma"], "device": "cpu",
                                                                       "calibrate": False}), context)  # fmt: skip
    values = {(m.name, m.region): m for m in result.measurements}
    for name, truth in (("volume_baseline", v1), ("volume_followup", v2)):
        print(name, values[name, "whole"].value, truth)
        assert values[name, "whole"].value == pytest.approx(truth, rel=0.5)
    ratio = values["log_volume_ratio", "whole"]
    assert ratio.interval[0] < np.log(v2 / v1) < ratio.interval[1]
    assert result.model["id"].startswith("panel of glioma-generated, glioma-slices, glioma-volume")
    panel = json.loads((out / result.files["panel_2_panel"]).read_text(encoding="utf-8"))
    assert len(panel["voices"]) == 3
    # the volume of the comparison is that of the panel's fusion, and the interval says where it comes from
    bits = sitk.ReadImage(str(out / result.files["panel_2_jackknife_whole_tumour"]))
    fusion = np.count_nonzero(sitk.GetArrayFromImage(bits) & 1) * np.prod(bits.GetSpacing())
    assert values["volume_followup", "whole"].value == pytest.approx(fusion)
    assert "jackknife of a panel of 3" in (out / result.files["report"]).read_text(encoding="utf-8")


def test_known_growth_is_put_into_the_scan_itself_and_segmented_anew(tmp_path):
    path, volume = _cut_out(tmp_path / "before.nrrd", pose(), 16.0, 1)
    job = Job("compare", {"images": [path, path]}, {"device": "cpu"}, {"id": "glioma-volume"})
    context = JobContext(tmp_path / "out", progress_file=tmp_path / "progress.json")
    context.folder.mkdir()
    by = segmenter_of(job, context)
    one = by.segmented(Timepoint(path, sitk.ReadImage(path), None, None, "baseline"), "x", "Baseline", 0.0, 0.1)
    found = calibrate_scan(one, by, 2, context, 0.1, 0.9)
    assert found.level == "image" and len(found.trials) == 2 and found.missed == 0 and found.seconds > 0
    assert [math.exp(trial.true_log) for trial in found.trials] == pytest.approx([0.8, 1.25])
    assert abs(found.bias) < 0.2
    told = json.loads((tmp_path / "progress.json").read_text(encoding="utf-8"))
    assert "Known growth" in told["stage"] and 0.1 < told["fraction"] <= 0.9
    assert not list(context.folder.iterdir()), "simulated scans were left behind"
    table = calibration_table([found])
    assert table.rows[0][:3] == ("scan, segmented again", 2, "-20 %, +25 %")
    values = {m.name: m.value for m in calibration_measurements([found], "lesion")}
    assert values["calibration_bias"] == pytest.approx(100 * math.expm1(found.bias))


@pytest.mark.parametrize("parameters, words", [
    ({"experts": "glioma"}, "The experts are"),
    ({"experts": ["glioma-volume"], "structure": "necrosis"}, "does not segment 'necrosis'"),
    ({"experts": ["nobody"]}, "Nobody on the panel has an answer"),
    ({"experts": ["glioma"], "calibrate_image": 1}, "2 to 50 trials"),
    ({"calibrate_image": True}, "where a model or a panel segments it"),
    ({"brain_model": "nobody"}, "There is no model 'nobody'"),
])  # fmt: skip
def test_a_panel_that_cannot_answer_is_told(tmp_path, parameters, words):
    scans = [_cut_out(tmp_path / f"{n}.nrrd", pose(n), 16.0, n)[0] for n in (1, 2)]
    with pytest.raises(SuiteError, match=words):
        pipeline.run(Job("compare", {"images": scans}, parameters), JobContext(tmp_path))


class _Bright(torch.nn.Module):
    """A brain extraction whose answer is known: what is not black, as the tests' brains are cut out already."""

    def forward(self, image):
        return torch.cat([1.0 - image, image - 1.0], 1)


def test_the_users_own_model_finds_the_brain_to_register_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MRISEG_MODELS", str(tmp_path / "models"))
    structures = [{"name": name, "channel": n, "value": n} for n, name in enumerate(("background", "brain"))]
    bands_model(tmp_path / "models" / "stripper", _Bright(), id="stripper", task="brain",
                output={"activation": "softmax", "structures": structures})
    scans = [_cut_out(tmp_path / f"{n}.nrrd", pose(3 * n, n), 16.0, n)[0] for n in (1, 2)]
    out = tmp_path / "out"
    out.mkdir()
    job = Job("compare", {"images": scans}, {"brain_model": "stripper", "device": "cpu"})
    result = pipeline.run(job, JobContext(out))
    assert result.parameters["brain_model"]["id"] == "stripper" and result.parameters["brain_model"]["sha256"]
    numbers = {m.name: m.value for m in result.measurements if m.structure == "registration"}
    assert numbers["mask_overlap"] > 0.95 and numbers["inverse_consistency_mm"] < 0.1
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(sitk.ReadImage(scans[0])))
    masks, _ = brain_masks([Timepoint(scans[0], sitk.ReadImage(scans[0]), None, None, "baseline")], "stripper", job,
                           JobContext(out), 0.0)
    assert np.count_nonzero(sitk.GetArrayViewFromImage(masks[0])) == pytest.approx(voxels, rel=0.01)
    with pytest.raises(SuiteError, match="Both a brain model and registration masks"):
        pipeline.run(Job("compare", {"images": scans, "registration_masks": scans}, job.parameters), JobContext(out))
