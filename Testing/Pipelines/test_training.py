"""Training from one command: virtual knees from label maps, resumed after a stop, published as a model that runs."""

import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from KneeSegLib.virtual_knee.anatomy_labels import CANONICAL_DIRECTION, FEMUR
from KneeSegLib.virtual_knee.shape_model import ShapeModel
from MRISegSuiteLib.models import Registry
from MRISegSuiteLib.models.inference import segment

SPACING = (2.1, 1.0, 1.0)
#: Our values -> those of the expert maps, see knee_training.label_maps.
EXPERT = np.array([0, 1, 3, 5, 2, 4, 6], np.uint8)
HELD_OUT, TRAINED_ON = "9057479", "9014797"


def run(repository, module, *arguments):
    folders = [str(repository / name) for name in ("MRISegSuite", "KneeSeg", "Training")]
    done = subprocess.run(
        [sys.executable, "-m", f"knee_training.{module}", *map(str, arguments)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders), "CUDA_VISIBLE_DEVICES": ""}, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def label_folder(tmp_path_factory):
    """Two coarse label maps in the layout of the expert maps, one of a subject that is held out."""
    folder = tmp_path_factory.mktemp("labels")
    for subject, weight in ((HELD_OUT, 0.0), (TRAINED_ON, 1.0)):
        image = sitk.GetImageFromArray(EXPERT[ShapeModel.read().labels([weight], SPACING)])
        image.SetSpacing(SPACING[::-1])
        image.SetDirection(CANONICAL_DIRECTION)
        sitk.WriteImage(image, str(folder / f"akoa_{subject}_00m_seg.nii.gz"))
    return folder


def test_train_stop_resume_publish_and_use(repository, label_folder, tmp_path):
    out, models = tmp_path / "run", tmp_path / "models"
    common = ("train", "--labels", label_folder, "--out", out, "--size", 64, "--workers", 0)
    first = run(repository, *common, "--minutes", 0.15)
    assert "1 label maps to train on, 1 held out" in first
    resumed = run(repository, *common, "--minutes", 0.3)
    steps = [int(text.split("done: ")[1].split()[0]) for text in (first, resumed)]
    assert 0 < steps[0] < steps[1]
    offsets = tmp_path / "offsets.json"
    offsets.write_text('{"femoral_cartilage": -0.5}', encoding="utf-8")
    run(repository, "publish", "--checkpoint", out / "last.pt", "--models", models, "--offsets", offsets)
    # Published under another name, it stands beside the embedded one.
    folder = models / "knee-virtual"
    text = (folder / "model.json").read_text(encoding="utf-8")
    (folder / "model.json").write_text(text.replace('"id": "knee-virtual"', '"id": "just-trained"'), encoding="utf-8")
    card = Registry(user_dir=models).get("just-trained")
    assert f"{steps[1]} steps" in card.content["training"]["procedure"]
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((6, 90, 90), np.float32))
    image.SetSpacing((1.0, 1.0, 3.0))
    image.SetDirection(CANONICAL_DIRECTION)
    assert segment(image, card, "cpu").names["femur"] == FEMUR


@pytest.fixture
def training_on_path(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "Training"))


def test_offsets_bring_each_cartilage_to_its_true_volume(training_on_path):
    from knee_training.calibrate import CARTILAGES, volume_matching_offsets

    rng = np.random.default_rng(3)
    truth = rng.integers(0, 7, 20_000)
    logits = rng.normal(size=(7, truth.size))
    logits[truth, np.arange(truth.size)] += 1.5
    biased = logits.copy()
    for value, bias in zip(CARTILAGES.values(), (1.0, -0.7, 0.4)):
        biased[value] += bias
    offsets = volume_matching_offsets(biased, truth)
    for name, value in CARTILAGES.items():
        biased[value] += offsets[name]
    found = np.bincount(biased.argmax(0), minlength=7)
    wanted = np.bincount(truth, minlength=7)
    for value in CARTILAGES.values():
        assert found[value] == pytest.approx(wanted[value], rel=0.01)


def test_no_subject_is_on_both_sides(shared_data, training_on_path):
    from knee_training.subjects import split, subject_of

    training, held_out = split(shared_data / "knee_labels")
    assert len(training) == 38 and len(held_out) == 12
    assert not {subject_of(p) for p in training} & {subject_of(p) for p in held_out}
