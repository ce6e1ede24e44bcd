"""The worker's packages: real pip, real wheels made here, real worker processes."""

import json
import os
import sys
import time
import zipfile
from pathlib import Path

import pytest

from MRISegSuiteLib.environment import LargeModelsEnvironment, WorkerEnvironment, variables_for
from MRISegSuiteLib.environment.packages import LARGE_MODELS, PACKAGES, TORCH
from MRISegSuiteLib.environment.worker_environment import MANIFEST
from MRISegSuiteLib.errors import BadArguments, BadInput, DiskFull
from MRISegSuiteLib.jobs import Job, JobProcess

pytest.importorskip("torch", reason="the folder is filled beside a torch that is there already, as in Slicer")


def make_wheel(folder: Path, package, version: str, source: str = "") -> None:
    name = package.name.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    levels = package.module.split(".")
    files = {f"{'/'.join(levels[:n])}/__init__.py": "" for n in range(1, len(levels))} | {
        f"{'/'.join(levels)}/__init__.py": source or f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(path, text)


@pytest.fixture
def wheels(tmp_path):
    for package in PACKAGES:
        if package is not TORCH:
            make_wheel(tmp_path / "wheels", package, "99.1")
    return tmp_path / "wheels"


def test_plain_python_uses_its_own_packages(monkeypatch):
    monkeypatch.delenv("MRISEG_WORKER_FOLDER", raising=False)
    environment = WorkerEnvironment.default()
    assert environment.folder is None and str(environment.python) == sys.executable
    status = environment.status()
    assert status.ready and status.versions["torch"] and status.megabytes == 0, status
    with pytest.raises(BadArguments, match="no folder to fill"):
        environment.start_install()
    with pytest.raises(BadArguments):
        environment.remove()


def test_install_from_an_offline_folder_then_use_replace_and_remove(tmp_path, wheels, monkeypatch):
    folder = tmp_path / "data" / "packages"
    environment = WorkerEnvironment(folder)
    assert TORCH not in environment.packages_to_install()  # this Python has it, as with the PyTorch extension
    assert 0 < environment.megabytes_to_install() < 200
    assert all("--no-index" in command for command in environment.install_command(wheels))

    process = environment.start_install(wheels)
    stages = set()
    while (state := process.poll()).status == "running":
        stages.add(state.stage)
        time.sleep(0.02)
    assert state.status == "done", state
    assert len(stages) > 2 and "Trying the packages" in stages, stages
    assert not process.folder.exists() and [p.name for p in folder.parent.iterdir()] == ["packages"]
    status = environment.status()
    assert status.ready and status.versions["monai"] == "99.1" and status.folder == folder
    assert environment.manifest()["versions"]["monai"] == "99.1"

    # a worker sees the folder before anything else
    monkeypatch.setenv("MRISEG_WORKER_FOLDER", str(folder))
    chosen = WorkerEnvironment.default()
    job = JobProcess.for_job(Job("probe"), tmp_path / "probe", environment=chosen.environment_variables())
    job.start()
    assert job.wait(60).status == "done", job.poll()
    report = json.loads((tmp_path / "probe" / "devices.json").read_text())
    assert report["packages"]["monai"] == "99.1" and report["chosen"] in ("cpu", "cuda")

    # a new installation that does not work leaves the former one in use
    monai = next(p for p in PACKAGES if p.name == "monai")
    make_wheel(wheels, monai, "99.2", "raise ImportError('broken build')")
    process = environment.start_install(wheels)
    state = process.wait(60)
    assert state.status == "failed" and "broken build" in state.message, state
    assert environment.status().versions["monai"] == "99.1"
    assert [p.name for p in folder.parent.iterdir()] == ["packages"]
    assert "99.2" in (process.folder / "log.txt").read_text()

    # and one that is cancelled too
    process = environment.start_install(wheels)
    wait = time.monotonic() + 20
    while not list(folder.parent.glob(".*.installing")) and time.monotonic() < wait:
        time.sleep(0.01)
    begin = time.monotonic()
    assert process.cancel().status == "cancelled" and time.monotonic() - begin < 2.0
    assert [p.name for p in folder.parent.iterdir()] == ["packages"]
    assert environment.status().versions["monai"] == "99.1"

    environment.remove()
    assert list(folder.parent.iterdir()) == []
    assert "torch" not in environment.status().missing and "monai" in environment.status().versions


def test_what_cannot_be_installed_is_said(tmp_path, wheels):
    environment = WorkerEnvironment(tmp_path / "packages")
    with pytest.raises(BadInput, match="holds no wheel files"):
        environment.start_install(tmp_path)
    next(wheels.glob("einops*")).unlink()
    state = environment.start_install(wheels).wait(60)
    assert state.status == "failed" and "einops" in state.message and "offline folder" in state.message
    assert not (tmp_path / "packages").exists()
    with pytest.raises(BadArguments, match="no build of torch for 'tpu'"):
        environment.start_install(wheels, accelerator="tpu")


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path, monkeypatch):
    environment = WorkerEnvironment(tmp_path / "packages")
    monkeypatch.setattr(WorkerEnvironment, "megabytes_to_install", lambda self, accelerator="cpu": 10**9)
    with pytest.raises(DiskFull, match="take about"):
        environment.start_install()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_removed(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("x")
    with pytest.raises(BadArguments, match="was not made by MRI Seg Suite"):
        WorkerEnvironment(tmp_path / "thesis").remove()
    assert (tmp_path / "thesis" / "chapter1.txt").exists() and not (tmp_path / "thesis" / MANIFEST).exists()


def test_a_job_file_cannot_start_an_installation(tmp_path):
    parameters = {"target": str(tmp_path / "t"), "packages": ["monai"], "wheels": str(tmp_path), "accelerator": None}
    process = JobProcess.for_job(Job("install_environment", {}, parameters), tmp_path / "job")
    process.start()
    assert process.wait(30).error.code == "bad_arguments"


def test_the_probe_tries_a_device_that_is_asked_for(tmp_path):
    process = JobProcess.for_job(Job("probe", {}, {"device": "cuda"}), tmp_path)
    process.start()
    assert process.wait(60).status == "done"
    report = json.loads((tmp_path / "devices.json").read_text())
    working = [device["kind"] for device in report["devices"] if device["works"]]
    assert "cpu" in working and report["devices"][0]["milliseconds"] > 0
    assert report["chosen"] == ("cuda" if "cuda" in working else None)
    assert len(report["reason"]) > 10 and report["processors"] >= 1


def test_large_models_have_a_folder_of_their_own_that_only_jobs_see_that_ask_one(tmp_path, wheels, monkeypatch):
    monkeypatch.setenv("MRISEG_LARGE_MODELS_FOLDER", str(tmp_path / "data" / "large"))
    job, other = Job("ensemble", {}, {"sam3": {"checkpoint": "x"}}), Job("ensemble", {}, {"experts": ["a"]})
    large = LargeModelsEnvironment()
    with monkeypatch.context() as nothing:
        nothing.setattr(LargeModelsEnvironment, "_version_of", lambda self, package: None)
        status = large.status()
        assert not status.ready and status.text.startswith("Off: transformers") and "abstain" in status.text
    given = {"PYTHONPATH": "/first"}
    assert variables_for(job, given) == given, "a folder that is not there is on no path"
    for package in LARGE_MODELS:
        make_wheel(tmp_path / "large-wheels", package, package.requirement.split("==")[1])
    assert large.start_install(tmp_path / "large-wheels").wait(120).status == "done"
    status = large.status()
    assert status.ready and status.folder == tmp_path / "data" / "large" and "transformers 5" in status.text
    assert variables_for(job, given)["PYTHONPATH"].split(os.pathsep) == ["/first", str(large.folder)]
    assert variables_for(other, given) == given and str(large.folder) not in str(WorkerEnvironment().status())
    large.remove()
    assert not large.folder.exists()

    empty = LargeModelsEnvironment(WorkerEnvironment(tmp_path / "worker"))
    monkeypatch.setattr(WorkerEnvironment, "_version_of", lambda self, package: None)
    with pytest.raises(BadArguments, match="Install the worker environment first"):
        empty.start_install(tmp_path / "large-wheels")
