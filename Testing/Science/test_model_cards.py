"""Model cards: the schema, our own reader of it, and what a schema cannot say."""

import copy
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from MRISegSuiteLib.models import Card, InvalidCard
from MRISegSuiteLib.models.card import is_inside, schema
from MRISegSuiteLib.models.drafts import draft_card
from MRISegSuiteLib.models.json_schema import problems

VALID = {
    "schema_version": 1,
    "id": "knee-small",
    "version": "1.2.0",
    "title": "Small knee network",
    "task": "knee",
    "backend": "torch_export",
    "backend_options": {},
    "files": [{"path": "model.pt2", "sha256": "ab" * 32, "bytes": 12}],
    "input": {
        "channels": [
            {
                "name": "image",
                "modality": "MR",
                "normalization": {"kind": "percentile", "low": 0.5, "high": 99.5, "clip": True},
            }
        ],
        "axes": "LIP",
        "spacing_mm": [{"min": 0.6, "max": 4.5}, 0.4, None],
        "crop": "foreground",
    },
    "output": {
        "activation": "softmax",
        "structures": [
            {"name": "background", "channel": 0, "value": 0},
            {"name": "femur", "channel": 1, "value": 1},
            {"name": "medial_tibial_cartilage", "channel": 2, "value": 5},
        ],
    },
    "inference": {
        "patch": [8, 256, 256],
        "smaller_patches": [[8, 128, 128]],
        "overlap": [0.5, 0.25, 0],
        "blending": "gaussian",
        "batch": 2,
        "mirror_axes": [0],
    },
    "license": "Apache-2.0",
    "terms": "research",
    "training": {"data": [{"name": "virtual knees", "terms": "see README"}], "procedure": "train.py"},
    "performance": [{"data": "held out", "metric": "Dice", "structure": "femur", "value": 0.95, "n": 6, "sd": 0.01}],
    "seen_on_real_scans": "two scans",
    "known_failures": ["thin cartilage"],
    "intended_use": "research",
    "medical_device": False,
}
SCHEMA = schema()

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2000)
    | st.floats(-10, 200, allow_nan=False)
    | st.text("abcLRAPSI01/.\\é ", max_size=6)
    | st.sampled_from(["percentile", "softmax", "LIP", "model.pt2", "cd" * 32]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


def places(value, at=()):
    """Every place in a JSON value."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


PLACES = [place for place in places(VALID) if place]


def spoiled(place, action, value):
    content = copy.deepcopy(VALID)
    target = content
    for key in place[:-1]:
        target = target[key]
    if action == "delete":
        del target[place[-1]]
    elif action == "add" and isinstance(target, dict):
        target["unknown"] = value
    else:
        target[place[-1]] = value
    return content


def test_the_schema_is_a_schema_and_takes_the_example():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(VALID, SCHEMA)
    card = Card(VALID)
    assert card.names == {"femur": 1, "medial_tibial_cartilage": 5}
    assert card.patch == (8, 256, 256) and card.to_record()["sha256"] == "ab" * 32


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(["replace", "delete", "add"]), JSON)
def test_our_reader_agrees_with_jsonschema(place, action, value):
    content = spoiled(place, action, value)
    assert (problems(content, SCHEMA) == []) == jsonschema.Draft202012Validator(SCHEMA).is_valid(content)


@settings(max_examples=200, deadline=None)
@given(st.one_of(JSON, st.builds(spoiled, st.sampled_from(PLACES), st.just("replace"), JSON)))
def test_whatever_the_file_holds_the_answer_is_a_card_or_a_reason(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("card") / "model.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    try:
        card = Card.read(path)
    except InvalidCard as error:
        assert "model.json" in str(error) and error.exit_code == 2
    else:
        assert card.names and card.to_record()["id"] and card.overlap and card.spacing_mm


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_json(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("card") / "model.json"
    path.write_bytes(content)
    with pytest.raises(InvalidCard):
        Card.read(path)


@pytest.mark.parametrize("text", ["NaN", "[1e999]", "[" * 100_000, '{"id": Infinity}'])
def test_json_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InvalidCard):
        Card.read(tmp_path)


def test_a_missing_or_huge_card(tmp_path):
    with pytest.raises(InvalidCard, match="cannot be read"):
        Card.read(tmp_path)
    (tmp_path / "model.json").write_text(" " * (2 << 20))
    with pytest.raises(InvalidCard, match="larger"):
        Card.read(tmp_path)


def changed(**parts):
    content = copy.deepcopy(VALID)
    for path, value in parts.items():
        target = content
        keys = path.split("__")
        for key in keys[:-1]:
            target = target[int(key)] if isinstance(target, list) else target[key]
        target[int(keys[-1]) if isinstance(target, list) else keys[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (changed(input__axes="LRP"), "once each"),
        (changed(input__spacing_mm__0={"min": 5, "max": 1}), "min is larger"),
        (changed(files__0__path="../model.pt2"), "inside the model's folder"),
        (changed(files__0__path="/etc/passwd"), "inside the model's folder"),
        (changed(files__0__path="C:model.pt2"), "inside the model's folder"),
        (changed(files=[VALID["files"][0]] * 2), "twice"),
        (changed(output__structures__1__channel=0), "channel is there twice"),
        (changed(output__structures__1__name="background"), "name is there twice"),
        (changed(output__structures__0__value=9), "needs the background"),
        (changed(output__structures=[{"name": "background", "channel": 0, "value": 0}]), "no structure"),
        (changed(inference__smaller_patches=[[16, 8, 8]]), "larger than the patch"),
        (changed(inference__mirror_axes=[1, 1]), "twice"),
        (changed(input__channels__0__normalization={"kind": "ct", "low": 0}), "needs high, mean, sd"),
        (changed(input__channels__0__normalization={"kind": "window", "low": 5, "high": 5}), "less than high"),
        (
            changed(input__channels__0__normalization={"kind": "percentile", "low": 1, "high": 200}),
            "between 0 and 100",
        ),
        (changed(id="knee\n"), "id must match"),
        (changed(id="../knee"), "id must match"),
        (changed(medical_device=True), "medical_device"),
        (changed(license="TO FILL: the license"), "still reads"),
    ],
)
def test_contradictions_are_named(content, reason):
    with pytest.raises(InvalidCard, match=reason):
        Card(content)


def shape_card(**options):
    content = {k: v for k, v in VALID.items() if k not in ("input", "output", "inference")}
    content |= {"task": "bone_shape", "backend": "published_shape"}
    return copy.deepcopy(content) | {
        "backend_options": {"bone": "femur", "population": "adults"} | options,
    }


def test_a_shape_model_has_no_input_output_and_inference_and_a_network_needs_them():
    assert Card(shape_card()).options["bone"] == "femur"
    with pytest.raises(InvalidCard, match="output: a shape model has none"):
        Card(shape_card() | {"output": VALID["output"]})
    with pytest.raises(InvalidCard, match="population: missing"):
        Card(shape_card() | {"backend_options": {"bone": "femur"}})
    with pytest.raises(InvalidCard, match="not among the files"):
        Card(shape_card(bscore="vectors.json"))
    with pytest.raises(InvalidCard, match="input, output, inference: missing, and torch_export needs them"):
        Card(shape_card() | {"backend": "torch_export"})


def test_a_folder_with_a_published_shape_model_is_drafted_with_its_vectors(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "scores.json").write_text('{"bscore_vector": [1.0]}')
    draft = draft_card(tmp_path)
    assert draft["backend"] == "published_shape" and draft["task"] == "bone_shape"
    assert [entry["path"] for entry in draft["files"]] == ["model.pth", "scores.json"]
    assert draft["backend_options"]["bscore"] == "scores.json"
    with pytest.raises(InvalidCard, match="backend_options.bone"):
        Card(draft)


def test_all_problems_are_told_at_once():
    with pytest.raises(InvalidCard) as caught:
        Card(changed(version="one", backend="keras", license=""))
    assert all(word in str(caught.value) for word in ("version", "backend", "license"))


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("a", True), ("a/b.pt", True), ("", False), ("/a", False), ("..", False), ("a/../b", False), ("./a", False),
        ("a//b", False), ("a\\b", False), ("a/", False), ("C:/a", False), ("a\0b", False), (".", False),
    ],
)  # fmt: skip
def test_paths_that_stay_inside(path, inside):
    assert is_inside(path) == inside


def test_a_word_of_json_schema_that_is_not_known_is_not_passed_over():
    with pytest.raises(NotImplementedError, match="uniqueItems"):
        problems([], {"type": "array", "uniqueItems": True})
