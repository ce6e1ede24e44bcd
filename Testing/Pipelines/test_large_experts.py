"""SAM 3 and MedGemma through their real classes, on tiny random checkpoints: loading, preparing, answering, geometry.

Random weights find nothing that means anything; what is tested is that the real code runs, that prompts and answers
lie where they should on any volume, and that what is not there abstains.
"""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from ensemble_cases import ball, image_of, ran, write_case

from EnsembleReviewLib.experts import sam3_models
from EnsembleReviewLib.experts.interface import Abstains, Case, Channel, ask
from EnsembleReviewLib.experts.medgemma import NOTE, TASKS, MedGemma, boxes_from_text
from EnsembleReviewLib.experts.prompts import Prompt
from EnsembleReviewLib.experts.sam3 import Sam3Expert
from EnsembleReviewLib.experts.slices_as_frames import Stacks
from EnsembleReviewLib.opinions import Opinion, independent_groups
from MRISegSuiteLib.errors import BadArguments

torch = pytest.importorskip("torch")
needs_transformers = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("transformers"), reason="transformers is not installed")
SHAPE = (9, 12, 14)


@pytest.fixture(scope="module")
def sam3(tmp_path_factory):
    pytest.importorskip("transformers", minversion="5")
    from tiny_checkpoints import write_sam3

    return write_sam3(tmp_path_factory.mktemp("checkpoints") / "sam3")


@pytest.fixture(scope="module")
def scan():
    rng = np.random.default_rng(3)
    return image_of((rng.normal(50, 5, SHAPE) + 40 * ball(3, SHAPE)).astype(np.float32), (0.9, 0.7, 3.5))


def place(image, index_kji):
    return image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index_kji[::-1]])


def test_stacks_put_a_place_on_its_pixel_in_any_storage_order(scan):
    array = sitk.GetArrayFromImage(scan)
    kji = np.unravel_index(np.argmax(array), array.shape)
    for moved in (scan, sitk.PermuteAxes(scan, (2, 0, 1)), sitk.Flip(scan, (True, False, True))):
        stacks = Stacks(moved)
        index = stacks.index_of(place(scan, kji))
        for axis in range(3):
            number, x, y = stacks.in_stack(index, axis)
            assert stacks.pictures(axis)[number, int(y), int(x)] == pytest.approx(1.0)
            assert (x % 1, y % 1) == (pytest.approx(0.5, abs=1e-6), pytest.approx(0.5, abs=1e-6))
            there = stacks.volume(stacks.pictures(axis), axis)
            assert (there == stacks.gray).all()
        back = stacks.back(stacks.gray)
        assert back.shape == moved.GetSize()[::-1]
        assert np.corrcoef(back.ravel(), sitk.GetArrayFromImage(moved).ravel())[0, 1] > 0.99
    with pytest.raises(ValueError, match="outside"):
        Stacks(scan).in_stack((-3, 0, 0), 0)


@needs_transformers
@pytest.mark.parametrize("prompt", ["box", "points", "text"])
def test_sam3_answers_on_the_grid_of_an_oblique_anisotropic_volume(sam3, scan, prompt, monkeypatch):
    monkeypatch.setattr(sam3_models, "_LEAST_SCORE", 0.0)  # with random weights no score means anything
    low, high = place(scan, (3, 3, 4)), place(scan, (6, 9, 10))
    inside, outside = place(scan, (4, 6, 7)), place(scan, (4, 1, 1))
    prompts = {
        "box": Prompt("whole_tumour", box_lps=(low, high), source="medgemma"),
        "points": Prompt("whole_tumour", points_lps=((*inside, True), (*outside, False))),
        "text": Prompt("whole_tumour", text="tumor"),
    }
    case = Case(scan, [Channel("FLAIR", scan)], "cpu")
    seen = []
    opinion = ask(Sam3Expert(sam3, [prompts[prompt]]), case, lambda stage, part: seen.append(part))
    assert isinstance(opinion, Opinion), opinion
    found = opinion.answers["whole_tumour"]
    assert found.shape == SHAPE and 0 <= found.min() <= found.max() <= 1 and np.ptp(found) > 0
    assert seen == sorted(seen) and seen[-1] <= 1
    assert len(opinion.record["sha256"]) == 64 and opinion.record["prompts"][0]["structure"] == "whole_tumour"
    if prompt == "box":
        assert opinion.prompted_by == ("medgemma",)
        other = Opinion("medgemma", "", {"whole_tumour": found})
        assert independent_groups([other, opinion]) == [["medgemma", "sam3"]]
    again = Sam3Expert(sam3, [prompts[prompt]]).answer(case, lambda *_: None)
    assert np.array_equal(found, again.answers["whole_tumour"])


@needs_transformers
def test_sam3_gives_the_same_answer_for_the_same_volume_stored_otherwise(sam3, scan):
    prompt = Prompt("lesion", box_lps=(place(scan, (3, 3, 4)), place(scan, (6, 9, 10))))
    first = Sam3Expert(sam3, [prompt]).answer(Case(scan, [Channel("", scan)], "cpu"), lambda *_: None)
    stored = sitk.Flip(sitk.PermuteAxes(scan, (1, 2, 0)), (True, False, False))
    other = Sam3Expert(sam3, [prompt]).answer(Case(stored, [Channel("", stored)], "cpu"), lambda *_: None)
    image = sitk.GetImageFromArray(other.answers["lesion"])
    image.CopyInformation(stored)
    back = sitk.PermuteAxes(sitk.Flip(image, (True, False, False)), (2, 0, 1))
    assert np.abs(sitk.GetArrayFromImage(back) - first.answers["lesion"]).max() < 1e-5


@needs_transformers
def test_what_is_missing_abstains(sam3, scan, tmp_path):
    case = Case(scan, [Channel("FLAIR", scan)], "cpu")
    prompt = Prompt("lesion", text="tumor")
    nothing = tmp_path / "nothing"
    assert "checkpoint" in ask(Sam3Expert(nothing, [prompt]), case, print).why
    assert "checkpoint" in ask(Sam3Expert(None, [prompt]), case, print).why
    assert "no prompt" in ask(Sam3Expert(sam3, []), case, print).why
    assert "needs T2" in ask(Sam3Expert(sam3, [prompt], "T2"), case, print).why
    far = Prompt("lesion", box_lps=((900.0, 900.0, 900.0), (990.0, 990.0, 990.0)))
    assert "outside" in ask(Sam3Expert(sam3, [far]), case, print).why
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((sam3 / "config.json").read_text())
    (pickled / "pytorch_model.bin").write_bytes(b"anything")
    assert "safetensors" in ask(Sam3Expert(pickled, [prompt]), case, print).why


@needs_transformers
def test_a_checkpoint_that_lacks_weights_abstains(sam3, scan, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in sam3.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "memory_attention" not in name}
    assert len(kept) < len(weights)
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    prompt = Prompt("lesion", box_lps=(place(scan, (3, 3, 4)), place(scan, (6, 9, 10))))
    found = ask(Sam3Expert(broken, [prompt]), Case(scan, [Channel("", scan)], "cpu"), lambda *_: None)
    assert "random numbers" in found.why


@needs_transformers
def test_words_that_mean_nothing_to_sam3_make_it_abstain(sam3, scan, monkeypatch):
    monkeypatch.setattr(sam3_models, "_LEAST_SCORE", 1.0)
    expert = Sam3Expert(sam3, [Prompt("lesion", text="tumor")])
    assert "found nothing" in ask(expert, Case(scan, [Channel("", scan)], "cpu"), lambda *_: None).why


@pytest.fixture(scope="module")
def medgemma(tmp_path_factory):
    pytest.importorskip("transformers", minversion="5")
    from tiny_checkpoints import write_medgemma

    return write_medgemma(tmp_path_factory.mktemp("checkpoints") / "medgemma")


@needs_transformers
def test_medgemma_is_asked_and_its_words_are_kept(medgemma, scan):
    case, seen = Case(scan, [Channel("FLAIR", scan)], "cpu"), []
    advice = MedGemma(medgemma, TASKS).advise(case, lambda stage, part: seen.append(part))
    record = json.loads(json.dumps(advice.to_record()))
    assert record["note"] == NOTE and len(record["record"]["sha256"]) == 64
    assert set(record["words"]) == set(TASKS) and record["words"]["findings"] == [record["findings"]]
    assert record["sequences"][0]["declared"] == "FLAIR" and record["sequences"][0]["understood"] == ""
    slices = [entry["slice"] for entry in record["triage"]]
    assert slices == sorted(set(slices)) and all(entry["abnormal"] is None for entry in record["triage"])
    assert record["prompts"] == [] and seen == sorted(seen)  # random words are no boxes, and none is made up
    assert MedGemma(medgemma, TASKS).advise(case, lambda *_: None).to_record() == advice.to_record()


@needs_transformers
def test_medgemma_abstains_without_a_checkpoint(scan, tmp_path):
    with pytest.raises(Abstains, match="checkpoint"):
        MedGemma(tmp_path).advise(Case(scan, [Channel("", scan)]), lambda *_: None)
    with pytest.raises(Abstains, match="volume"):
        MedGemma(tmp_path, ["volume"])


def test_boxes_in_words_become_prompts_that_nobody_has_confirmed(scan):
    stacks = Stacks(sitk.Flip(scan, (True, True, False)))
    rows, columns = stacks.pictures(0).shape[1:]
    text = 'Here: [{"box_2d": [250, 500, 750, 1000]}, {"box_2d": [9, 9, 9, 9]}, {"box_2d": [0, 0, 2000, 1]}, 3]'
    (prompt,) = boxes_from_text(text, stacks, 4, "whole_tumour")
    assert prompt.source == "medgemma" and not prompt.confirmed
    low, high = (stacks.index_of(corner) for corner in prompt.box_lps)
    assert low[1:] == pytest.approx([rows / 4 - 0.5, columns / 2 - 0.5], abs=1e-6)
    assert high[1:] == pytest.approx([3 * rows / 4 - 0.5, columns - 0.5], abs=1e-6)
    assert low[0] < 4 < high[0]
    with pytest.raises(BadArguments, match="confirmed"):
        Prompt.from_record(json.loads(json.dumps(prompt.to_record())))
    for words in ("", "no", "[", "[1, 2]", '{"box_2d": [1, 2, 3, 4]}', '[{"box_2d": [1, 2, "3", 4]}]'):
        assert boxes_from_text(words, stacks, 4, "whole_tumour") == []


@needs_transformers
def test_both_take_part_in_a_panel(tmp_path, sam3, medgemma):
    write_case(tmp_path)
    image = sitk.ReadImage(str(tmp_path / "case_flair.nii.gz"))
    corners = [list(place(image, (7, 6, 5))), list(place(image, (13, 17, 16)))]
    prompts = [{"structure": "whole_tumour", "box_lps": corners, "source": "medgemma", "confirmed": True}]
    result, folder, warnings = ran(
        tmp_path, sam3={"checkpoint": str(sam3), "prompts": prompts}, medgemma={"checkpoint": str(medgemma)},
        device="cpu", without=[])  # fmt: skip
    panel = json.loads((folder / "panel.json").read_text())
    assert [expert["id"] for expert in panel["experts"]] == ["a", "b", "c", "sam3"]
    assert panel["experts"][3]["prompted_by"] == ["medgemma"]
    assert panel["experts"][3]["record"]["prompts"][0]["box_lps"] == [corners[0], corners[1]]
    assert "advice" in result.files and "What MedGemma wrote" in (folder / "report.html").read_text()
    assert not any("abstained" in text for text in warnings)
    _, _, warnings = ran(
        tmp_path, sam3={"checkpoint": "nowhere", "prompts": prompts}, medgemma={"checkpoint": "nowhere"})
    assert sum("abstained" in text for text in warnings) == 2
    with pytest.raises(BadArguments, match="sam3"):
        ran(tmp_path, sam3="yes")


def test_prompts_are_checked():
    record = {"structure": "Whole tumor", "points_lps": [[1, 2, 3, True]]}
    assert Prompt.from_record(record).structure == "whole_tumour"
    assert Prompt.from_record(json.loads(json.dumps(Prompt.from_record(record).to_record()))) == (
        Prompt.from_record(record))
    for wrong, said in (
        ({"structure": "x"}, "empty"), ({"text": "tumor"}, "structure"), ({"structure": "x", "wrds": "t"}, "wrds"),
        ({"structure": "x", "box_lps": [[1, 2], [3, 4]]}, "three"),
        ({"structure": "x", "points_lps": [[1, 2, 3, False]]}, "empty"),
        ({"structure": "x", "text": "t", "source": "medgemma", "confirmed": False}, "confirmed"),
    ):  # fmt: skip
        with pytest.raises(BadArguments, match=said):
            Prompt.from_record(wrong)
