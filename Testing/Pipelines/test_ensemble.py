"""The ensemble task: masks from files, models of the registry, what abstains, what is refused, and the command."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ensemble_cases import SHAPE, ball, image_of, ran, write_case
from hypothesis import given, settings
from hypothesis import strategies as st

from EnsembleReviewLib.experts.from_files import _without_what_they_share, opinions_of_files
from EnsembleReviewLib.experts.grids import on_grid
from EnsembleReviewLib.experts.interface import Abstains, Case, Channel, ask
from EnsembleReviewLib.opinions import Abstention, Opinion
from EnsembleReviewLib.pipeline import run
from MRISegSuiteLib.errors import BadArguments, BadInput, SuiteError, UnreadableImage
from MRISegSuiteLib.images.channels import channel_of, same_channel
from MRISegSuiteLib.images.segmentation_files import read_masks, write_segmentation
from MRISegSuiteLib.images.structures import TUMOR_STRUCTURES, with_tumor_regions
from MRISegSuiteLib.jobs import Job, JobContext


@pytest.fixture
def case(tmp_path):
    write_case(tmp_path)
    return tmp_path


def measured(result) -> dict:
    return {(m.structure, m.region, m.name): m for m in result.measurements}


def test_masks_become_a_fusion_with_table_maps_and_report(case):
    result, folder, warnings = ran(case, without=[])
    _, masks = read_masks(folder / result.files["fusion"])
    assert (masks["edema"] == ball(7) & ~ball(3)).all() and (masks["enhancing_tumor"] == ball(2)).all()
    found = measured(result)
    volume = found["whole_tumour", "whole", "volume"]
    assert volume.value == pytest.approx(ball(7).sum() * 0.8 * 0.9 * 2.5) and volume.interval[0] < volume.value
    assert found["whole_tumour", "b", "volume"].value == pytest.approx(ball(6).sum() * 1.8)
    assert found["enhancing_tumour", "whole", "Dice_min"].value == 1.0
    assert found["whole_tumour", "whole", "HD95_max"].value > 0
    assert any("BraTS" in text for text in warnings)
    for role in ("table", "pairs", "report", "disagreement", "hot_spots", "probability_whole_tumour", "expert_3"):
        assert (folder / result.files[role]).stat().st_size > 0
    with open(folder / "table.csv", newline="") as stream:
        structures = {row["structure"] for row in csv.DictReader(stream)}
    assert structures == {"whole_tumour", "tumour_core", "enhancing_tumour"}
    text = (folder / "report.html").read_text()
    assert "A person decides" in text and "Who was asked" in text and "panel-disagreement interval" in text
    panel = json.loads((folder / "panel.json").read_text())
    assert [e["id"] for e in panel["experts"]] == ["a", "b", "c"] and panel["fusion"]["tie"] == "absent"
    assert all(len(e["record"]["sha256"]) == 64 for e in panel["experts"])
    grid = sitk.ReadImage(str(folder / "disagreement.nrrd"))
    scan = sitk.ReadImage(str(case / "case_flair.nii.gz"))
    assert grid.GetDirection() == pytest.approx(scan.GetDirection(), abs=1e-6)


@pytest.mark.parametrize("fusion", ["staple", "weighted"])
def test_another_fusion_has_the_majority_beside_it(case, fusion):
    result, folder, _ = ran(case, fusion=fusion)
    assert (folder / result.files["majority"]).exists()
    record = json.loads((folder / "panel.json").read_text())
    if fusion == "staple":
        assert record["fusion"]["region"] == "box" and 0 < record["staple"]["whole_tumour"]["prior"] < 1
        assert ("whole_tumour", "b", "sensitivity") in measured(result)
    assert set(record["weights"]["whole_tumour"]) == {"a", "b", "c"}


def test_probability_maps_are_opinions_too(case):
    for name, high in (("p", 0.9), ("q", 0.4), ("r", 0.35)):
        array = np.where(ball(5), high, 0.02).astype(np.float32)
        sitk.WriteImage(image_of(array), str(case / f"{name}.nii.gz"))
    maps = ("p.nii.gz", "q.nii.gz", "r.nii.gz")
    result, folder, _ = ran(case, maps, fusion="confidence")
    _, masks = read_masks(folder / result.files["fusion"])
    assert (masks["lesion"] == ball(5)).all() and "mutual_information" in result.files
    majority, _, _ = ran(case, maps, labels={"whole_tumour": 1})
    assert measured(majority)["whole_tumour", "whole", "volume"].value == 0.0
    with pytest.raises(BadArguments, match="probabilities"):
        ran(case, fusion="confidence")


def test_an_empty_mask_counts_and_only_empty_masks_are_refused(case):
    sitk.WriteImage(image_of(np.zeros(SHAPE, np.uint8)), str(case / "none.nii.gz"))
    result, _, warnings = ran(case, ("a.nii.gz", "none.nii.gz", "b.nii.gz"))
    assert measured(result)["whole_tumour", "none", "volume"].value == 0.0
    assert measured(result)["whole_tumour", "whole", "HD95_max"].value == np.inf
    assert any("none.nii.gz is empty" in text for text in warnings)
    with pytest.raises(BadInput, match="All 2 masks are empty"):
        ran(case, ("none.nii.gz", "none.nii.gz"), mask_names=["x", "y"])


def test_what_rests_on_one_expert_is_said_to(case):
    """Two know the whole tumor only; what the third says about its parts stays within what all of them make of it."""
    whole = ball(3).astype(np.uint8) * 5
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "a.nii.gz")))
    for name, array in (("f", whole), ("g", whole), ("a", labels)):
        write_segmentation(image_of(array), TUMOR_STRUCTURES, case / f"{name}.seg.nrrd")
    result, folder, warnings = ran(case, ("f.seg.nrrd", "g.seg.nrrd", "a.seg.nrrd"), without=[])
    lonely = "Tumor core and enhancing tumor: one independent opinion only (a). Nobody confirms it"
    assert sum(lonely in text for text in warnings) == 1 and lonely in (folder / "report.html").read_text()
    assert any("voxels of tumour core lay outside of the fused whole tumour" in text for text in warnings)
    _, masks = read_masks(folder / result.files["fusion"])
    core = masks["necrotic_and_non_enhancing_core"] | masks["enhancing_tumor"]
    assert (core == ball(4)).all() and "edema" not in masks  # the whole tumor grew to the core and no further
    light = json.loads((folder / "panel.json").read_text())["lights"][1]
    assert light["structure"] == "tumour_core" and light["color"] == "" and "too few" in light["reasons"][0]


def test_what_cannot_be_fused_is_refused_by_name(case):
    other = sitk.Image([9, 9, 9], sitk.sitkUInt8) + 1
    sitk.WriteImage(other, str(case / "other.nii.gz"))
    with pytest.raises(BadInput, match=r"other\.nii\.gz lies on another grid than .*case_flair\.nii\.gz.*Resample"):
        ran(case, ("a.nii.gz", "other.nii.gz"))
    elsewhere = image_of(ball(5).astype(np.uint8))
    elsewhere.SetOrigin(elsewhere.TransformIndexToPhysicalPoint((500, 0, 0)))
    sitk.WriteImage(elsewhere, str(case / "elsewhere.nii.gz"))
    with pytest.raises(BadInput, match=r"elsewhere\.nii\.gz lies nowhere on .*another scan.s"):
        ran(case, ("a.nii.gz", "elsewhere.nii.gz"))
    (case / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match="broken"):
        ran(case, ("a.nii.gz", "broken.nii.gz"))
    (case / "empty.nrrd").touch()
    with pytest.raises(UnreadableImage, match="0 bytes"):
        ran(case, ("a.nii.gz", "empty.nrrd"))
    sitk.WriteImage(image_of((ball(5) * 3).astype(np.uint8) + ball(3)), str(case / "odd.nii.gz"))
    with pytest.raises(BadArguments, match="3, 4.*--labels"):
        ran(case, ("odd.nii.gz",))
    with pytest.raises(BadArguments, match="weight"):
        ran(case, fusion="weighted", weights={"a": "much"})
    with pytest.raises(BadArguments, match="prior"):
        ran(case, fusion="staple", staple_prior=1.5)
    with pytest.raises(BadInput, match="no_such_model"):
        ran(case, (), experts=["no_such_model"])


def test_segments_with_names_that_overlap_and_another_axis_order_are_understood(case):
    names = {s.name: s for s in TUMOR_STRUCTURES}
    labels = image_of((ball(7) * 2 + (ball(4) * 2)).astype(np.uint8))
    flipped = sitk.PermuteAxes(labels, (2, 0, 1))[:, ::-1, 2:]  # cropped as Slicer does on saving
    write_segmentation(flipped, [names["edema"], names["enhancing_tumour"]], case / "d.seg.nrrd")
    result, folder, warnings = ran(case, ("d.seg.nrrd",), experts=[])
    _, masks = read_masks(folder / result.files["fusion"])
    assert (masks["enhancing_tumor"] == ball(4)).all() and (masks["edema"] == ball(7) & ~ball(4)).all()
    assert any("one independent opinion" in text for text in warnings)
    # beside label maps without names, whose numbers are told or taken for the labels of BraTS
    labels_mm = labels.GetSpacing()
    for given_labels in ({}, {"labels": {"non_enhancing_core": 1, "edema": 2, "enhancing_tumour": 4}}):
        result, *_ = ran(case, ("a.nii.gz", "d.seg.nrrd"), experts=[], **given_labels)
        volume = measured(result)["enhancing_tumour", "d", "volume"].value
        assert volume == pytest.approx(np.count_nonzero(ball(4)) * np.prod(labels_mm))


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3), st.tuples(*[st.integers(0, 3)] * 3),
       st.tuples(*[st.integers(0, 3)] * 3))
def test_voxels_stay_in_their_place_in_any_storage_order(order, flips, before, after):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 5, (9, 10, 11)).astype(np.uint8)
    inner = np.zeros_like(array)
    keep = tuple(slice(b, n - a) for b, a, n in zip(before[::-1], after[::-1], array.shape, strict=True))
    inner[keep] = array[keep]
    grid = image_of(array)
    stored = image_of(inner)[tuple(slice(b, n - a) for b, a, n in zip(before, after, (11, 10, 9), strict=True))]
    stored = sitk.PermuteAxes(stored, order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    found, lost = on_grid(sitk.GetArrayFromImage(stored), stored, grid, "mask", "image")
    assert (found == inner).all() and lost == 0
    back, lost = on_grid(array, grid, stored, "mask", "image")
    assert (back == sitk.GetArrayFromImage(stored)).all()
    assert lost == np.count_nonzero(array) - np.count_nonzero(inner)


def test_a_case_stored_in_another_order_gives_the_same_numbers_and_places(case):
    """Image permuted and flipped; one mask stored like it, the others as before."""
    first, folder, _ = ran(case)
    spots = json.loads((folder / "hot_spots.json").read_text())
    fused = sitk.ReadImage(str(folder / "fusion.seg.nrrd"))
    shutil.rmtree(folder)

    def stored_otherwise(image):
        return sitk.Flip(sitk.PermuteAxes(image, (2, 0, 1)), (True, False, True))

    for name in ("case_flair", "b"):
        path = str(case / f"{name}.nii.gz")
        sitk.WriteImage(stored_otherwise(sitk.ReadImage(path)), path)
    second, folder, _ = ran(case)
    numbers = {key: m.value for key, m in measured(first).items()}
    assert {key: m.value for key, m in measured(second).items()} == pytest.approx(numbers, rel=1e-6, nan_ok=True)
    other = sitk.ReadImage(str(folder / "fusion.seg.nrrd"))
    assert (sitk.GetArrayFromImage(stored_otherwise(fused)) == sitk.GetArrayFromImage(other)).all()
    again = json.loads((folder / "hot_spots.json").read_text())
    assert len(again) == len(spots)
    for one, two in zip(spots, again, strict=True):
        assert two["voxels"] == one["voxels"] and two["shares"] == one["shares"]
        assert np.linalg.norm(np.subtract(two["center_lps"], one["center_lps"])) < 2.6  # a tie may go to a neighbor


def test_another_image_is_resampled_with_a_warning_and_channels_can_be_named(case, monkeypatch):
    monkeypatch.setenv("MRISEG_MODELS", str(case / "models"))
    write_glioma_models(case / "models")
    flair = sitk.ReadImage(str(case / "case_flair.nii.gz"))
    fine = sitk.Image([44, 48, 20], sitk.sitkFloat32)
    fine.SetSpacing([s / 2 if axis < 2 else s for axis, s in enumerate(flair.GetSpacing())])
    fine.SetDirection(flair.GetDirection())
    fine.SetOrigin(flair.GetOrigin())
    sitk.WriteImage(sitk.Resample(flair, fine), str(case / "other.nii.gz"))
    context_inputs = {"image": str(case / "case_flair.nii.gz"), "channels": [str(case / "other.nii.gz")]}
    folder = case / "two"
    folder.mkdir()
    context = JobContext(folder, logging.getLogger("test"))
    result = run(Job("ensemble", context_inputs, {
        "experts": ["flair-one", "with-t1c"], "channel_names": ["T2", "FLAIR"], "without": ["report"]}), context)
    assert any("resampled" in text for text in context.warnings)
    assert result.parameters["channel_names"] == ["T2", "FLAIR"] and result.parameters["abstained"] == ["with-t1c"]
    _, masks = read_masks(folder / result.files["fusion"])
    bright = sitk.GetArrayFromImage(flair) > 130
    inner = (slice(1, -1),) * 3  # the resampled image ends within the last half voxel
    assert (masks["whole_tumor"][inner] == bright[inner]).mean() > 0.97


def test_half_a_voxel_off_is_another_grid():
    grid, moved = image_of(ball(3).astype(np.uint8)), image_of(ball(3).astype(np.uint8))
    moved.SetOrigin(np.add(moved.GetOrigin(), 0.4).tolist())
    with pytest.raises(BadInput, match="another grid"):
        on_grid(ball(3), moved, grid, "mask", "image")
    finer = image_of(ball(3).astype(np.uint8), (0.8, 0.9, 2.4))
    with pytest.raises(BadInput, match="another grid"):
        on_grid(ball(3), finer, grid, "mask", "image")


def test_a_region_follows_only_from_all_of_its_labels():
    edema, core, enhancing = ball(7) & ~ball(4), ball(4) & ~ball(2), ball(2)
    found = with_tumor_regions({"edema": edema, "non_enhancing_core": core, "enhancing_tumour": enhancing})
    assert (found["whole_tumour"] == ball(7)).all() and (found["tumour_core"] == ball(4)).all()
    assert "whole_tumour" not in with_tumor_regions({"edema": edema})


@pytest.mark.parametrize(("text", "channel"), [
    ("fla", "FLAIR"), ("case_03_T2_FLAIR", "FLAIR"), ("sub-01_t1ce", "T1c"), ("t1 post gd", "T1c"), ("T1", "T1"),
    ("BraTS-GLI-00000-000-t1n", "T1"), ("t2", "T2"), ("scan", None), ("t1 and t2", None),
])  # fmt: skip
def test_channels_are_read_from_names(text, channel):
    assert channel_of(text) == channel


# -- models ----------------------------------------------------------------------------------------------------------


def write_glioma_models(folder) -> None:
    """Real exported networks: voxels above 130 are tumor, more surely the brighter they are. One wants T1c too."""
    torch = pytest.importorskip("torch")
    from model_files import card_content, write_card

    from MRISegSuiteLib.models.exporting import write_torch_export

    class Bright(torch.nn.Module):
        def forward(self, image):
            tumor = (image[:, :1] - 130.0) * 0.05
            return torch.cat([-tumor, tumor], 1)

    folder.mkdir()
    write_torch_export(Bright().eval(), torch.rand(2, 1, 8, 16, 16), folder / "model.pt2", (0, 2, 3, 4))
    for name, channels in (("flair-one", ["FLAIR"]), ("flair-two", ["FLAIR"]), ("with-t1c", ["FLAIR", "T1c"])):
        (folder / name).mkdir()
        shutil.copy(folder / "model.pt2", folder / name)
        none = {"kind": "none"}
        write_card(folder / name, card_content(
            "torch_export", folder / name, ["model.pt2"], id=name, title=f"Model {name}", task="glioma",
            input={"channels": [{"name": c, "modality": "MR", "normalization": none} for c in channels],
                   "axes": "LIP", "spacing_mm": [None] * 3},
            output={"activation": "softmax", "structures": [
                {"name": s, "channel": i, "value": i} for i, s in enumerate(("background", "whole_tumour"))]},
            inference={"patch": [8, 16, 16]},
        ))  # fmt: skip


def test_models_are_asked_and_who_cannot_answer_abstains(case, monkeypatch):
    monkeypatch.setenv("MRISEG_MODELS", str(case / "models"))
    write_glioma_models(case / "models")
    asked = ["flair-one", "flair-two", "with-t1c", "gone"]
    result, folder, warnings = ran(case, (), experts=asked, fusion="confidence")
    panel = json.loads((folder / "panel.json").read_text())
    assert [e["id"] for e in panel["experts"]] == ["flair-one", "flair-two"]
    assert panel["experts"][0]["record"]["sha256"] and panel["experts"][0]["probabilities"]
    why = {a["expert"]: a["why"] for a in panel["abstentions"]}
    assert "T1c" in why["with-t1c"] and "There is no model 'gone'" in why["gone"]
    assert any("abstained" in text for text in warnings) and result.parameters["abstained"] == ["with-t1c", "gone"]
    _, masks = read_masks(folder / result.files["fusion"])
    scan = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "case_flair.nii.gz")))
    assert (masks["whole_tumor"] == (scan > 130)).mean() > 0.999
    every, _, _ = ran(case, ())  # nobody was chosen: every glioma model
    assert {"flair-one", "flair-two"} <= set(every.parameters["panel"]) | set(every.parameters["abstained"])


def test_an_expert_that_breaks_abstains_and_a_canceled_one_ends_the_panel():
    grid = image_of(np.zeros(SHAPE, np.float32))

    class Broken:
        id = title = "broken"

        def __init__(self, reason):
            self.reason = reason

        def answer(self, case, progress):
            raise self.reason

    case_ = Case(grid, [Channel("FLAIR", grid)])
    found = ask(Broken(ZeroDivisionError("by zero")), case_, print)
    assert found == Abstention("broken", "broken", "It failed (ZeroDivisionError: by zero).")
    assert ask(Broken(Abstains("not today.")), case_, print).why == "not today."
    assert "too big" in ask(Broken(SuiteError("too big")), case_, print).why
    from MRISegSuiteLib.errors import Cancelled

    with pytest.raises(Cancelled):
        ask(Broken(Cancelled("stopped")), case_, print)

    class Wrong(Broken):
        def answer(self, case, progress):
            return Opinion("broken", "broken", {"lesion": np.zeros((2, 2, 2), bool)})

    assert "grid" in ask(Wrong(None), case_, print).why
    assert same_channel("flair", "FLAIR") and not same_channel("T1", "T1c")
    with pytest.raises(Abstains, match="needs T2; the case has FLAIR"):
        case_.images_for(["T2"])


def test_files_with_one_name_get_two(case):
    for folder in ("x", "y"):
        (case / folder).mkdir()
        sitk.WriteImage(image_of(ball(3).astype(np.uint8)), str(case / folder / "seg.nii.gz"))
    grid = sitk.ReadImage(str(case / "a.nii.gz"))
    found = opinions_of_files([case / "x" / "seg.nii.gz", case / "y" / "seg.nii.gz"], grid)
    assert [o.expert for o in found] == ["x_seg", "y_seg"] and set(found[0].answers) == {"lesion"}
    assert [o.title for o in found] == ["x", "y"]
    for names, titles in (
        (["segmentation_a-20", "segmentation_b1-20"], ["a", "b1"]), (["one", "two"], ["one", "two"]), (["a"], ["a"]),
        (["a_1", "a_1_2"], ["a_1", "a_1_2"]),
    ):  # fmt: skip
        assert _without_what_they_share(names) == titles


# -- the command -----------------------------------------------------------------------------------------------------


def mriseg(*arguments, cwd):
    script = Path(__file__).resolve().parents[2] / "MRISegSuite" / "Scripts" / "mriseg.py"
    return subprocess.run([sys.executable, str(script), *map(str, arguments)], cwd=cwd, env=dict(os.environ),
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=280)


def test_the_command_on_the_real_glioma_gives_the_published_majority(shared_data, tmp_path):
    folder = shared_data / "glioma_expert_masks" / "TCGA-FG-6692"
    masks = sorted(folder.glob("segmentation_*.nii.gz"))
    done = mriseg("ensemble", f"FLAIR={folder / 'fla.nii.gz'}", "--masks", *masks, "--vote", "labels", "--out", "out",
                  cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    fused = sitk.ReadImage(str(tmp_path / "out" / result["files"]["fusion"]))
    published = sitk.ReadImage(str(folder / "fusion_mav.nii.gz"))
    assert (sitk.GetArrayViewFromImage(fused) == sitk.GetArrayViewFromImage(published)).all()
    assert fused.GetOrigin() == published.GetOrigin() and fused.GetDirection() == published.GetDirection()
    assert result["parameters"]["agreement"]["light"] in ("green", "yellow", "red")
    assert (tmp_path / "out" / "scene.mrb").exists() or "scene.mrb" in done.stdout


def test_wrong_arguments_of_the_command_exit_with_2(case):
    for arguments, said in (
        (["--out", "o"], "nothing to fuse"),
        (["--masks", "gone.nii.gz", "--out", "o"], "gone.nii.gz does not exist"),
        (["--masks", "a.nii.gz", "--weights", "a=2", "--out", "o"], "--fusion weighted"),
        (["--masks", "a.nii.gz", "--fusion", "vote", "--out", "o"], "invalid choice"),
    ):
        done = mriseg("ensemble", *arguments, cwd=case)
        assert done.returncode == 2 and said in done.stderr, done.stderr
