"""What is to be done: job.json, read with a clear message for every wrong field."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadArguments
from ..files import write_json

SCHEMA_VERSION = 1
FILE_NAME = "job.json"
DEVICES = ("auto", "cpu", "cuda")
_MAX_BYTES = 4 << 20
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HINT = (
    'A job looks like {"schema_version": 1, "task": "knee", "inputs": {"image": "knee.nii.gz"}, '
    '"parameters": {"side": "auto"}, "model": {"id": "…"}}.'
)


@dataclass
class Job:
    """A task with its inputs and parameters.

    Attributes:
        task: name of a task in :mod:`MRISegSuiteLib.jobs.tasks`.
        inputs: role -> path, or a list of paths. Relative paths in a job.json are relative to that file.
        parameters: JSON values; ``device`` is one of "auto", "cpu", "cuda".
        model: ``{"id": …}`` with an optional ``sha256``, or None for a task without a model.
    """

    task: str
    inputs: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)
    model: dict | None = None

    def __post_init__(self):
        _check_task(self.task)
        _check_inputs(self.inputs)
        _check_parameters(self.parameters)
        _check_model(self.model)

    @property
    def device(self) -> str:
        """The device that the user prefers: "auto", "cpu" or "cuda"."""
        return self.parameters.get("device", "auto")

    @classmethod
    def from_record(cls, record, folder=None) -> "Job":
        """A job from the content of a job.json; relative inputs become absolute with ``folder``.

        Raises:
            BadArguments: a field is missing, unknown or of the wrong kind.
        """
        if not isinstance(record, dict):
            raise BadArguments(f"A job must be a JSON object, not {_kind(record)}.", _HINT)
        unknown = sorted(set(record) - {"schema_version", "task", "inputs", "parameters", "model"})
        if unknown:
            raise BadArguments(f"The job has an unknown field {unknown[0]!r}.", _HINT)
        version = record.get("schema_version")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise BadArguments(
                f"The job's schema_version is {_shown(version)}; this MRI Seg Suite reads {SCHEMA_VERSION}.", _HINT
            )
        if "task" not in record:
            raise BadArguments("The job names no task.", _HINT)
        job = cls(record["task"], record.get("inputs", {}), record.get("parameters", {}), record.get("model"))
        if folder is not None:
            job.inputs = {role: _absolute(value, Path(folder)) for role, value in job.inputs.items()}
        return job

    def to_record(self) -> dict:
        """The content of job.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task,
            "inputs": self.inputs,
            "parameters": self.parameters,
            "model": self.model,
        }

    @classmethod
    def read(cls, path) -> "Job":
        """Read a job.json, or the one in a job folder.

        Raises:
            BadArguments: not there, not JSON, or a wrong field.
        """
        path = Path(path)
        if path.is_dir():
            path = path / FILE_NAME
        try:
            with open(path, "rb") as stream:
                data = stream.read(_MAX_BYTES + 1)
        except OSError as exception:
            raise BadArguments(f"The job file {path} cannot be read: {exception.strerror}.") from exception
        if len(data) > _MAX_BYTES:
            raise BadArguments(f"{path} is larger than {_MAX_BYTES >> 20} MB; that is not a job file.")
        try:
            record = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exception:
            raise BadArguments(f"The job file {path} is not valid JSON: {exception}.", _HINT) from exception
        try:
            return cls.from_record(record, path.resolve().parent)
        except BadArguments as error:
            raise BadArguments(f"{path}: {error.message}", error.hint) from error

    def write(self, folder) -> Path:
        """Write ``folder``/job.json (whole or not at all) and return its path."""
        path = Path(folder) / FILE_NAME
        write_json(path, self.to_record())
        return path

    def input_paths(self) -> list[tuple[str, Path]]:
        """All inputs as (role, path) in a fixed order."""
        pairs = []
        for role, value in self.inputs.items():
            pairs.extend((role, Path(item)) for item in ([value] if isinstance(value, str) else value))
        return pairs


def _check_task(task):
    if not isinstance(task, str) or not _NAME.fullmatch(task):
        raise BadArguments(f"The job's task must be a name such as \"knee\", not {_shown(task)}.", _HINT)


def _check_inputs(inputs):
    if not isinstance(inputs, dict):
        raise BadArguments(f"The job's inputs must be an object of role and path, not {_kind(inputs)}.", _HINT)
    for role, value in inputs.items():
        if not isinstance(role, str) or not _NAME.fullmatch(role):
            raise BadArguments(f'The job has an input with the role {_shown(role)}; a role is a name such as "image".')
        items = value if isinstance(value, list) else [value]
        if not items:
            raise BadArguments(f"The job's input {role!r} is an empty list; give at least one path.")
        for item in items:
            if not isinstance(item, str) or not item or "\0" in item:
                raise BadArguments(f"The job's input {role!r} must be a path or a list of paths, not {_shown(value)}.")


def _check_parameters(parameters):
    if not isinstance(parameters, dict):
        raise BadArguments(f"The job's parameters must be an object, not {_kind(parameters)}.", _HINT)
    for name in parameters:
        if not isinstance(name, str):
            raise BadArguments(f"The job has a parameter named {_shown(name)}; names are text.")
    device = parameters.get("device", "auto")
    if device not in DEVICES:
        raise BadArguments(f"The device is {_shown(device)}; choose one of {', '.join(DEVICES)}.")


def _check_model(model):
    if model is None:
        return
    if not isinstance(model, dict):
        raise BadArguments(f"The job's model must be an object with an id, not {_kind(model)}.", _HINT)
    unknown = sorted(str(key) for key in set(model) - {"id", "version", "sha256"})
    if unknown:
        raise BadArguments(f"The job's model has an unknown field {unknown[0]!r}; it takes id, version and sha256.")
    if not isinstance(model.get("id"), str) or not model["id"]:
        raise BadArguments(f"The job's model needs an id, a text; it has {_shown(model.get('id'))}.")
    for name in ("version", "sha256"):
        if name in model and not isinstance(model[name], str):
            raise BadArguments(f"The {name} of the job's model must be text, not {_shown(model[name])}.")


def _absolute(value, folder: Path):
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    return str(folder / value)


def _refuse_constant(name):
    raise ValueError(f"{name} is not a JSON number")


def _kind(value) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
