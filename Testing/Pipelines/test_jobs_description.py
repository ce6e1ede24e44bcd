"""job.json: round trip, and a clear refusal of everything that is not one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.jobs import Job

GOOD = {"schema_version": 1, "task": "knee", "inputs": {"image": "a.nii"}, "parameters": {}, "model": None}
names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
paths = st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text)


@given(names, st.dictionaries(names, paths | st.lists(paths, min_size=1, max_size=3), max_size=3),
       st.dictionaries(st.text(max_size=8).filter(lambda n: n != "device"), json_values, max_size=3),
       st.none() | st.fixed_dictionaries({"id": st.text(min_size=1, max_size=9)}))
def test_every_valid_job_survives_json(task, inputs, parameters, model):
    job = Job(task, inputs, parameters, model)
    assert Job.from_record(json.loads(json.dumps(job.to_record()))) == job


@given(json_values | st.fixed_dictionaries({}, optional={key: json_values for key in GOOD}))
def test_anything_else_is_refused_with_a_sentence_and_nothing_but_that(record):
    try:
        Job.from_record(record)
    except BadArguments as error:
        assert len(str(error)) > 20 and str(error)[-1] in ".!?"


@given(st.binary(max_size=200))
def test_a_file_of_noise_is_refused(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "job.json"
    path.write_bytes(noise)
    with pytest.raises(BadArguments) as caught:
        Job.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("change, words", [
    ({"task": None}, "task must be a name"),
    ({"task": "os:system"}, "task must be a name"),
    ({"schema_version": 2}, "schema_version is 2"),
    ({"schema_version": True}, "schema_version is true"),
    ({"inputs": ["a.nii"]}, "inputs must be an object"),
    ({"inputs": {"image": 3}}, "'image' must be a path"),
    ({"inputs": {"image": []}}, "empty list"),
    ({"inputs": {"image": ["a", ""]}}, "'image' must be a path"),
    ({"parameters": None}, "parameters must be an object"),
    ({"parameters": {"device": "gpu"}}, 'device is "gpu"; choose one of auto, cpu, cuda'),
    ({"model": "knee"}, "model must be an object"),
    ({"model": {"id": ""}}, "needs an id"),
    ({"model": {"id": "k", "path": "/x"}}, "unknown field 'path'"),
    ({"moddel": None}, "unknown field 'moddel'"),
])
def test_each_wrong_field_is_named(change, words, tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(BadArguments) as caught:
        Job.read(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_missing_fields_and_files_are_named(tmp_path):
    with pytest.raises(BadArguments, match="names no task"):
        Job.from_record({"schema_version": 1})
    with pytest.raises(BadArguments, match="cannot be read"):
        Job.read(tmp_path)
    (tmp_path / "job.json").write_text('{"schema_version": 1, "task": "knee", "parameters": {"x": NaN}}')
    with pytest.raises(BadArguments, match="not valid JSON"):
        Job.read(tmp_path)
    (tmp_path / "job.json").write_text("[" * 100000)
    with pytest.raises(BadArguments):
        Job.read(tmp_path)


def test_relative_inputs_are_relative_to_the_job_file(tmp_path, monkeypatch):
    (tmp_path / "job.json").write_text(json.dumps(GOOD | {"inputs": {"image": "scan/a.nii", "many": ["b", "/c"]}}))
    monkeypatch.chdir("/")
    job = Job.read(tmp_path)
    assert job.inputs == {"image": str(tmp_path / "scan/a.nii"), "many": [str(tmp_path / "b"), "/c"]}
    assert [role for role, _ in job.input_paths()] == ["image", "many", "many"]
