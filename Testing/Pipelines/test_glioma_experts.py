"""The embedded glioma experts: cards, size, any orientation, the panel by default; and their training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from EnsembleReviewLib.experts.interface import Case, Channel, ask
from EnsembleReviewLib.experts.registry import ModelExpert, models_of
from MRISegSuiteLib.images.canonical import from_canonical, to_canonical
from MRISegSuiteLib.images.segmentation_files import read_masks
from MRISegSuiteLib.measures.overlap import dice
from MRISegSuiteLib.models import Registry
from MRISegSuiteLib.models.inference import segment
from MRISegSuiteLib.models.registry import EMBEDDED_FOLDER

ON_FLAIR = ["glioma-generated", "glioma-slices", "glioma-volume"]
REGIONS = "glioma-regions"


@pytest.fixture
def training(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "Training"))


@pytest.fixture(scope="module")
def brain():
    """FLAIR of a cut-out brain, 3 mm: white matter, darker ventricles, and a bright lesion; and the lesion."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 3.0 for n in (50, 62, 52)], indexing="ij", sparse=True)
    inside = sum((axis / half) ** 2 for axis, half in zip(axes, (62, 82, 66))) < 1
    fluid = sum(((axis - c) / half) ** 2 for axis, c, half in zip(axes, (8, 0, 0), (14, 32, 8))) < 1
    lesion = sum(((axis - c) / half) ** 2 for axis, c, half in zip(axes, (12, 20, -32), (18, 24, 18))) < 1
    values = np.where(lesion, 190, np.where(fluid, 35, 100)) + rng.normal(0, 4, inside.shape)
    image = sitk.GetImageFromArray(np.where(inside, values, 0).astype(np.float32))
    image.SetSpacing((3.0, 3.0, 3.0))
    image.SetOrigin((-80.0, -95.0, 10.0))
    return image, lesion


def test_they_are_small_and_say_what_they_are():
    cards = [Registry(user_dir="nowhere").check(name) for name in sorted([*ON_FLAIR, REGIONS])]
    assert sum(card.bytes for card in cards) < 12e6
    assert [card.id for card in Registry(user_dir="nowhere").cards("glioma")] == [card.id for card in cards]
    for card in cards:
        content = card.content
        names = ["whole_tumour"] + ["tumour_core", "enhancing_tumour"] * (card.id == REGIONS)
        assert card.embedded and list(card.names) == names and content["medical_device"] is False
        licences = " ".join(entry["terms"] for entry in content["training"]["data"]) + content["terms"]
        assert ("BraTS 2018: research" in licences) == (card.id in ("glioma-slices", "glioma-volume"))
        assert ("CC BY-NC-SA 3.0" in licences) == (card.id != "glioma-generated")
        cases = {row["data"] for row in content["performance"] if row["n"] == 1 and "TCIA" not in row["data"]}
        assert len(cases) == (3 if card.id == REGIONS else 7) and len(content["known_failures"]) >= 3
        assert "Not looked at" not in content["seen_on_real_scans"]


def test_by_default_those_are_asked_who_work_on_the_channels():
    registry = Registry(user_dir="nowhere")

    def asked(*channels):
        return [expert.id for expert in models_of(None, registry, channels)]

    everybody = sorted([*ON_FLAIR, REGIONS])
    assert asked("FLAIR") == asked("") == asked("T1", "flair") == ON_FLAIR
    assert asked("T1ce", "FLAIR") == everybody
    assert asked("T1") == asked("", "") == everybody  # so that each says what it lacks


@pytest.mark.parametrize("name", ON_FLAIR)
def test_a_lesion_is_found_in_any_orientation_and_scaling(brain, name):
    image, lesion = brain
    card = Registry().get(name)
    found = segment(image, card, "cpu").labels
    mask = sitk.GetArrayFromImage(found) > 0
    assert dice(mask, lesion) > 0.6
    again = from_canonical(segment(to_canonical(image, "AIR"), card, "cpu").labels, image)
    assert np.mean(sitk.GetArrayFromImage(again) != sitk.GetArrayFromImage(found)) < 1e-4
    # z-scored in the brain before, so that what was cut away is no longer 0
    scaled = segment((image - 105.0) / 31.0, card, "cpu").labels
    assert dice(sitk.GetArrayFromImage(scaled) > 0, mask) > 0.98


def test_an_image_with_its_skull_on_is_warned_about(brain):
    noise = sitk.GetImageFromArray(np.random.default_rng(1).normal(50, 5, brain[1].shape).astype(np.float32))
    noise.SetSpacing((3.0, 3.0, 3.0))
    warnings = segment(noise, Registry().get("glioma-generated"), "cpu").warnings
    assert any("more than the brain" in text for text in warnings)
    assert not segment(brain[0], Registry().get("glioma-generated"), "cpu").warnings


def test_the_command_asks_them_when_nobody_is_named(shared_data, tmp_path):
    """The case was trained on: its Dice says that the way from file to fusion is right, nothing about quality."""
    folder = shared_data / "glioma_whole_tumour" / "case_3"
    script = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Scripts" / "mriseg.py"
    done = subprocess.run(
        [sys.executable, str(script), "ensemble", str(folder / "FLAIR.nii.gz"), "--out", "out"], cwd=tmp_path,
        env=os.environ | {"MRISEG_MODELS": str(tmp_path / "none")}, capture_output=True, text=True, timeout=280,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    panel = json.loads((tmp_path / "out" / "panel.json").read_text())
    assert [expert["id"] for expert in panel["experts"]] == ON_FLAIR and not panel["abstentions"]
    assert all(expert["probabilities"] for expert in panel["experts"])
    _, masks = read_masks(tmp_path / "out" / "fusion.seg.nrrd")
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "GT_W.nii.gz"))) > 0
    assert dice(next(iter(masks.values())), truth) > 0.8


def test_regions_on_a_case_of_another_source(shared_data):
    """Never trained on; the truth is the majority of five published algorithms. Channels in any order, axes too."""
    folder = shared_data / "glioma_expert_masks" / "TCGA-FG-6692"
    flair, t1c, labels = (sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("fla", "t1c", "fusion_mav"))
    given = [Channel("T1c", to_canonical(t1c, "AIR")), Channel("FLAIR", to_canonical(flair, "AIR"))]
    opinion = ask(ModelExpert(Registry().get(REGIONS)), Case(given[0].image, given, "cpu"), lambda *_: None)
    labels = sitk.GetArrayFromImage(to_canonical(labels, "AIR"))
    whole, core, enhancing = (opinion.mask(name) for name in ("whole_tumour", "tumour_core", "enhancing_tumour"))
    assert not (core & ~whole).any() and not (enhancing & ~core).any() and (core & ~enhancing).any()
    assert dice(whole, labels > 0) > 0.75
    assert dice(core, np.isin(labels, (1, 4))) > 0.6 and dice(enhancing, labels == 4) > 0.65


def test_train_leave_out_publish_and_use(training, brain, tmp_path):
    """A few steps through the real script on a tiny data set: what is left out is not read."""
    pytest.importorskip("torch")
    from glioma_training.experts import EXPERTS as KNOWN
    from glioma_training.publish import publish
    from glioma_training.train import run_name, train

    image, lesion = brain
    data = tmp_path / "data"
    labels = np.where(sitk.GetArrayFromImage(image) > 0, 2, 0)
    labels[20:28, 20:40, 24:28] = 4
    _write(labels, image, data / "brain_label_maps" / "one.nii.gz")
    for number in (0, 1):
        folder = data / "glioma_whole_tumour" / f"case_{number}"
        _write(lesion, image, folder / "GT_W.nii.gz")
        sitk.WriteImage(image, str(folder / "FLAIR.nii.gz"))
    (data / "glioma_whole_tumour" / "case_1" / "FLAIR.nii.gz").write_bytes(b"not an image")
    expert = KNOWN["glioma-slices"]
    weights = train(expert, data, tmp_path / "run", "case_1", 1, 2, 2)
    assert weights.name == run_name(expert, "case_1") and (tmp_path / "run" / "glioma-slices_generated.pt").exists()
    with pytest.raises(SystemExit, match="there is no case case_9"):
        train(expert, data, tmp_path / "run", "case_9", 1, 2, 2)
    publish(expert, weights, tmp_path / "models")
    card = Registry(user_dir=tmp_path / "models").cards("glioma")
    mine = next(one for one in card if one.id == "glioma-slices")
    assert mine.embedded  # the one that comes with the suite goes first: run the new one by its own card
    from MRISegSuiteLib.models import Card

    assert segment(image, Card.read(tmp_path / "models" / "glioma-slices"), "cpu").names == {"whole_tumour": 1}


def test_every_nested_output_learns_everywhere_and_lies_within_the_one_before(training):
    torch = pytest.importorskip("torch")
    from glioma_training.networks import NestedNet

    torch.manual_seed(0)
    network = NestedNet(2, 3, (4, 8))
    with torch.no_grad():  # an inner one that is sure where what holds it is not
        network.net.head.bias[:] = torch.tensor([3.0, -3.0, 6.0])
    logits = network(3 + torch.rand(1, 2, 8, 8, 8))
    assert torch.isfinite(logits).all() and (logits[:, 1:] <= logits[:, :-1]).all()
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.zeros(1, 3, 8, 8, 8)).backward()
    assert (network.net.head.bias.grad != 0).all()


def test_generated_tumors_are_what_they_are_called(training):
    from glioma_training.virtual_heads import FLUID, WHITE
    from glioma_training.virtual_tumors import virtual_case

    tissues = np.zeros((44, 50, 44), np.uint8)
    tissues[4:40, 4:46, 4:40] = WHITE
    tissues[18:26, 14:36, 19:25] = FLUID
    seen = bright = 0
    for seed in range(4):
        images, truths = virtual_case(tissues, tissues == FLUID, np.random.default_rng(seed))
        again, same = virtual_case(tissues, tissues == FLUID, np.random.default_rng(seed))
        assert (images == again).all() and (truths == same).all()
        (image, t1c), (tumor, core, enhancing) = images, truths
        assert image.shape == tumor.shape == tissues.shape and image[0, 0, 0] == 0 and not tumor[image == 0].any()
        assert not (core & ~tumor).any() and not (enhancing & ~core).any()
        if tumor.any():
            seen += 1
            edema = tumor & ~core
            around = np.roll(tumor, -4, 1) & ~tumor & (tissues == WHITE) & (image > 0)
            assert np.median(image[edema]) > np.median(image[around])
            if enhancing.any():
                bright += 1
                assert np.median(t1c[enhancing]) > np.median(t1c[edema])
    assert seen >= 3 and bright >= 1


def _as_image(array, like):
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.CopyInformation(like)
    return image


def _write(array, like, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.Cast(_as_image(array, like), sitk.sitkUInt8), str(path))


def test_cards_in_the_tree_are_those_of_the_experts(training):
    from glioma_training.experts import EXPERTS as KNOWN

    embedded = sorted(folder.name for folder in EMBEDDED_FOLDER.glob("glioma-*"))
    assert embedded == sorted(KNOWN) == sorted([*ON_FLAIR, REGIONS])
