"""``mriseg batch``: rows of a table as jobs, in processes of their own."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SimpleITK as sitk
from ensemble_cases import write_case

from KneeSegLib.virtual_knee.anatomy_labels import CANONICAL_DIRECTION
from KneeSegLib.virtual_knee.shape_model import ShapeModel
from MRISegSuiteLib.cli.arguments import parse
from MRISegSuiteLib.cli.batch_command import read_manifest
from MRISegSuiteLib.cli.jobs_commands import compare_job
from MRISegSuiteLib.errors import BadArguments

SCRIPT = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Scripts" / "mriseg.py"
LABELS = '"femur=1,tibia=2,patella=3,femoral_cartilage=4,tibial_cartilage=5,patellar_cartilage=6"'


def command(*words) -> list[str]:
    return [sys.executable, str(SCRIPT), "batch", *map(str, words)]


def batch(*words, cwd):
    return subprocess.run(command(*words), cwd=cwd, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with the masks of two knees, each at another time: one mean knee, one of thicker bones."""
    folder = tmp_path_factory.mktemp("scans")
    for name, weight in (("early", 0.0), ("late", 0.6)):
        image = sitk.GetImageFromArray(ShapeModel.read().labels([weight], (1.6, 1.0, 1.0)))
        image.SetSpacing((1.0, 1.0, 1.6))
        image.SetDirection(CANONICAL_DIRECTION)
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    (folder / "broken.nrrd").write_text("no image")
    return folder


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_rows_become_jobs_a_failed_one_is_told_and_what_is_done_stays_done(scans, tmp_path):
    manifest = scans / "knees.csv"
    manifest.write_text(
        "id,segmentation,labels,baseline,without\n"
        f'one,early.nrrd,{LABELS},,"thickness,report"\n'
        f'two,late.nrrd,{LABELS},early.nrrd,"shape,report"\n'
        f"three,broken.nrrd,{LABELS},,shape\n"
    )
    done = batch(manifest, "--task", "knee", "--out", "out", "--workers", 2, cwd=tmp_path)
    assert done.returncode == 1 and "2 of 3 done" in done.stdout and "three: " in done.stdout
    out = tmp_path / "out"
    ended = {row["id"]: row for row in rows_of(out / "batch.csv")}
    assert [ended[name]["status"] for name in ("one", "two", "three")] == ["done", "done", "failed"]
    assert "broken.nrrd" in ended["three"]["message"]
    numbers = rows_of(out / "measurements.csv")
    changes = [row for row in numbers if row["name"] == "ThCtAB_change"]
    assert changes and {row["id"] for row in changes} == {"two"} and all(row["low"] for row in changes)

    stamps = {name: (out / name / "result.json").stat().st_mtime_ns for name in ("one", "two")}
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:3]) + "\n")
    again = batch(manifest, "--task", "knee", "--out", "out", cwd=tmp_path)
    assert again.returncode == 0 and "2 of 2 done" in again.stdout
    assert {name: (out / name / "result.json").stat().st_mtime_ns for name in stamps} == stamps


@pytest.mark.parametrize(("text", "said"), [
    ("", "has no rows"),
    ("name,segmentation\na,early.nrrd\n", "no column 'id'"),
    ("id,segmentation\na,missing.nrrd\n", "Line 2.*missing.nrrd does not exist"),
    ("id,segmentation\n../a,early.nrrd\n", "Line 2.*no plain name"),
    ("id,segmentation\na,early.nrrd\nA,early.nrrd\n", "Line 3.*twice"),
    ("id,colour,segmentation\na,red,early.nrrd\n", "Line 2.*no options"),
    ("id,segmentation\na,\n", "Line 2.*nothing to measure"),
])  # fmt: skip
def test_a_wrong_manifest_starts_nothing(scans, tmp_path, text, said):
    manifest = scans / "wrong.csv"
    manifest.write_text(text)
    done = batch(manifest, "--task", "knee", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(said, done.stderr.replace("\n", " ")), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process there")
def test_ctrl_c_ends_what_runs_and_a_second_start_goes_on(scans, tmp_path):
    manifest = scans / "stopped.csv"
    manifest.write_text(f'id,segmentation,labels,without\none,early.nrrd,{LABELS},"thickness,report"\n')
    process = subprocess.Popen(command(manifest, "--task", "knee", "--out", "out"), cwd=tmp_path,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "out" / "one" / "log.txt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 3 and "go on" in process.stderr.read()
    assert rows_of(tmp_path / "out" / "batch.csv")[0]["status"] == "cancelled"
    assert batch(manifest, "--task", "knee", "--out", "out", cwd=tmp_path).returncode == 0


def test_ensembles_and_comparisons_are_run_from_tables_too(tmp_path):
    write_case(tmp_path)
    manifest = tmp_path / "panels.csv"
    manifest.write_text(
        "id,input,masks,labels,fusion\n"
        "one,FLAIR=case_flair.nii.gz,a.nii.gz;b.nii.gz;c.nii.gz,whole_tumour=1,staple\n"
        "two,case_flair.nii.gz,broken.nii.gz,,\n"
    )
    (tmp_path / "broken.nii.gz").write_text("no image")
    done = batch(manifest, "--task", "ensemble", "--out", "out", "--workers", 2, cwd=tmp_path)
    ended = {row["id"]: row for row in rows_of(tmp_path / "out" / "batch.csv")}
    assert done.returncode == 1 and [ended[name]["status"] for name in ("one", "two")] == ["done", "failed"]
    assert "broken.nii.gz" in ended["two"]["message"]
    numbers = rows_of(tmp_path / "out" / "measurements.csv")
    assert {row["id"] for row in numbers if row["name"] == "sensitivity"} == {"one"}
    record = json.loads((tmp_path / "out" / "one" / "result.json").read_text())
    assert record["parameters"]["channel_names"] == ["FLAIR"] and len(record["parameters"]["panel"]) == 3
    stamp = (tmp_path / "out" / "one" / "result.json").stat().st_mtime_ns
    batch(manifest, "--task", "ensemble", "--out", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "one" / "result.json").stat().st_mtime_ns == stamp, "what is done stays done"


def test_a_row_of_a_table_is_the_job_of_its_command(tmp_path):
    write_case(tmp_path)
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        "id,input,masks,labels,dates,without-calibration,jacobian\n"
        "pair,a.nii.gz;b.nii.gz,b.nii.gz;c.nii.gz,lesion=1,2024-01-31;2024-07-31,yes,no\n")
    row, = read_manifest(manifest, "compare", tmp_path / "out")
    words = ["compare", "a.nii.gz", "b.nii.gz", "--masks", "b.nii.gz", "c.nii.gz", "--labels", "lesion=1", "--dates",
             "2024-01-31", "2024-07-31", "--without-calibration", "--out", "out"]
    assert row.job == compare_job(parse([str(tmp_path / w) if w.endswith("gz") else w for w in words]))
    assert row.job.parameters["calibrate"] is False and "jacobian" not in row.job.parameters
    manifest.write_text("id,input,jacobian\npair,a.nii.gz;b.nii.gz,maybe\n")
    with pytest.raises(BadArguments, match="yes or no"):
        read_manifest(manifest, "compare", tmp_path / "out")
    manifest.write_text("id,input,sam3,prompt\none,case_flair.nii.gz,.,whole_tumour=brain tumor;edema=edema\n")
    row, = read_manifest(manifest, "ensemble", tmp_path / "out")
    assert [p["structure"] for p in row.job.parameters["sam3"]["prompts"]] == ["whole_tumour", "edema"]
