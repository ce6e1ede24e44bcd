"""``mriseg knee`` and ``mriseg demo`` from end to end, on real scans and real masks, in processes of their own."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from MRISegSuiteLib.images.reading import read_volume
from MRISegSuiteLib.models.registry import EMBEDDED_FOLDER

MASK_LABELS = "femur=1,femoral_cartilage=2,tibia=3,tibial_cartilage=4,patella=5,patellar_cartilage=6"
#: Mean thickness of whole plates of adult knees, mm, and volume of the femoral cartilage, mm3.
PLAUSIBLE_MM, PLAUSIBLE_MM3 = (1.3, 2.8), (5000, 15000)
#: What the embedded network reaches on the demo's knee, less a little; raise it with a better network.
LEAST_DICE = {
    "femur": 0.95, "tibia": 0.94, "patella": 0.91, "femoral_cartilage": 0.75, "patellar_cartilage": 0.63,
}  # fmt: skip


def mriseg(*arguments, cwd, **environment):
    script = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Scripts" / "mriseg.py"
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], cwd=cwd, env=dict(os.environ) | environment,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900,
    )  # fmt: skip


def values(folder) -> dict:
    rows = json.loads((folder / "result.json").read_text())["measurements"]
    return {(r["structure"], r["region"], r["name"]): r["value"] for r in rows}


def dice(found, truth) -> float:
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


def test_a_real_mask_becomes_surfaces_table_report_and_scene(shared_data, tmp_path):
    mask = shared_data / "knee_labels" / "akoa_9086407_00m_seg.nii.gz"
    done = mriseg("knee", "--segmentation", mask, "--labels", MASK_LABELS, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    measured = values(out)
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(mask)))
    voxel_mm3 = np.prod(sitk.ReadImage(str(mask)).GetSpacing())
    assert measured["femoral_cartilage", "whole", "VC"] == pytest.approx((voxels == 2).sum() * voxel_mm3, rel=0.01)
    for structure in ("femoral", "medial_tibial", "lateral_tibial", "patellar"):
        assert PLAUSIBLE_MM[0] < measured[f"{structure}_cartilage", "whole", "ThCtAB"] < PLAUSIBLE_MM[1]
    with open(out / "table.csv", newline="") as stream:
        regions = {(row["structure"], row["region"]) for row in csv.DictReader(stream)}
    assert len([r for r in regions if r[0] == "femoral_cartilage"]) == 16  # the whole, five regions, ten subregions
    assert measured["femur", "whole", "shape_ASSD"] < 0.9 and 0.3 < measured["femur", "whole", "shape_distance"] < 2
    assert json.loads((out / "shape.json").read_text())["model"]["id"] == "femur-shape-linear"
    assert (out / "shape_femur.vtp").exists() and 0 < measured["femoral_cartilage", "ccMFC", "curvature"] < 100
    with zipfile.ZipFile(out / "scene.mrb") as scene:
        assert any(name.endswith(".mrml") for name in scene.namelist())
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "ThCtAB" in report and "data:image/png;base64," in report
    result = json.loads((out / "result.json").read_text())
    assert all((out / name).stat().st_size for name in result["files"].values())
    assert result["model"] is None and result["parameters"]["side_found"] == "right"


def test_parts_of_a_structure_are_joined(shared_data, tmp_path):
    """``patella=5+6`` takes bone and cartilage as one piece: the cartilage as such is then absent."""
    mask = shared_data / "knee_labels" / "akoa_9086407_00m_seg.nii.gz"
    joined = "femur=1,femoral_cartilage=2,tibia=3,tibial_cartilage=4,patella=5+6"
    done = mriseg("knee", "--segmentation", mask, "--labels", joined, "--without", "thickness,report", "--out", "out",
                  cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    image = sitk.ReadImage(str(tmp_path / "out" / "segmentation.seg.nrrd"))
    found = sitk.GetArrayFromImage(image)
    source = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(mask)), "LPS"))
    wanted = np.isin(source, (5, 6)).sum()
    assert wanted in [(found == value).sum() for value in np.unique(found)[1:]]
    named = {image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.endswith("_ID")}
    assert "patella" in named and "patellar_cartilage" not in named
    assert not (tmp_path / "out" / "report.html").exists() and not list((tmp_path / "out").glob("*.vtp"))


def test_the_real_qdess_knee_with_the_embedded_model(qdess_folder, tmp_path):
    done = mriseg("knee", qdess_folder, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    scan, found = read_volume(qdess_folder).image, sitk.ReadImage(str(out / "segmentation.seg.nrrd"))
    assert found.GetSize() == scan.GetSize()
    for mine, wanted in ((found.GetOrigin(), scan.GetOrigin()), (found.GetSpacing(), scan.GetSpacing()),
                         (found.GetDirection(), scan.GetDirection())):  # fmt: skip
        assert np.allclose(mine, wanted, atol=1e-3)
    measured = values(out)
    assert PLAUSIBLE_MM3[0] < measured["femoral_cartilage", "whole", "VC"] < PLAUSIBLE_MM3[1]
    for structure in ("femoral", "medial_tibial", "lateral_tibial"):
        assert PLAUSIBLE_MM[0] < measured[f"{structure}_cartilage", "whole", "ThCtAB"] < PLAUSIBLE_MM[1]
    for name in ("femur", "tibia", "patella"):
        assert (out / f"surface_{name}.vtp").stat().st_size > 10000
    assert json.loads((out / "result.json").read_text())["model"]["id"] == "knee-virtual"
    # T2 of healthy cartilage at 3 T, longer towards the joint surface
    for structure in ("femoral", "medial_tibial", "lateral_tibial"):
        assert 22 < measured[f"{structure}_cartilage", "whole", "T2_median"] < 42
        deep, superficial = (
            measured[f"{structure}_cartilage", "whole", f"T2_mean_{layer}"] for layer in ("deep", "superficial")
        )
        assert deep < superficial
        assert measured[f"{structure}_cartilage", "whole", "T2_excluded"] < 15
    t2 = sitk.ReadImage(str(out / "t2.nrrd"))
    assert t2.GetSize() == scan.GetSize() and np.allclose(t2.GetOrigin(), scan.GetOrigin(), atol=1e-3)


def test_a_brain_is_segmented_with_a_warning_not_a_crash(shared_data, tmp_path):
    brain = sitk.ReadImage(str(shared_data / "brain_t1" / "t1_crop.nii.gz"))
    # Some slices of the head only: all of it would take minutes.
    sitk.WriteImage(brain[104:152:6], str(tmp_path / "brain.nii.gz"))
    done = mriseg("knee", "brain.nii.gz", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Not a knee, or the segmentation failed?" in done.stdout


def test_a_changed_model_is_not_loaded_and_nothing_stays(shared_data, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(EMBEDDED_FOLDER / "knee-virtual", models / "mine")
    card = json.loads((models / "mine" / "model.json").read_text(encoding="utf-8")) | {"id": "mine"}
    (models / "mine" / "model.json").write_text(json.dumps(card), encoding="utf-8")
    weights = models / "mine" / card["files"][0]["path"]
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    scan = shared_data / "brain_t1" / "t1_crop.nii.gz"
    done = mriseg("knee", scan, "--model", "mine", "--out", "out", cwd=tmp_path, MRISEG_MODELS=str(models))
    assert done.returncode == 2 and weights.name in done.stderr and "add it again" in done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"job.json", "log.txt", "result.json"}


def test_demo_finds_the_known_truth(tmp_path):
    done = mriseg("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "demo"
    found, truth = (sitk.ReadImage(str(out / f"{name}.seg.nrrd")) for name in ("segmentation", "truth"))
    measured = values(out)
    for name in LEAST_DICE:
        value = next(int(found.GetMetaData(f"Segment{i}_LabelValue")) for i in range(9)
                     if found.GetMetaData(f"Segment{i}_ID") == name)  # fmt: skip
        mine = dice(sitk.GetArrayFromImage(found) == value, sitk.GetArrayFromImage(truth) == value)
        assert measured[name, "whole", "Dice"] == pytest.approx(mine, abs=1e-6)
        assert mine > LEAST_DICE[name]
    error = measured["femoral_cartilage", "whole", "ThCtAB_error"]
    assert error == pytest.approx(measured["femoral_cartilage", "whole", "ThCtAB"]
                                  - measured["femoral_cartilage", "whole", "ThCtAB_true"])  # fmt: skip
    assert abs(error) < 0.6
    assert "Overlap with the truth" in (out / "report.html").read_text(encoding="utf-8")


def test_a_mask_of_something_else_is_measured_with_a_warning(shared_data, tmp_path):
    brain = sitk.ReadImage(str(shared_data / "brain_label_maps" / "training_seg_01.nii.gz"))
    sitk.WriteImage(brain[::3, ::3, ::3], str(tmp_path / "brain.nii.gz"))
    wrong = ("--labels", "femur=2,tibia=41,femoral_cartilage=3", "--side", "left")
    done = mriseg("knee", "--segmentation", "brain.nii.gz", *wrong, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not on top of it" in done.stdout and "Not a knee" in done.stdout
