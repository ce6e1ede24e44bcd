"""What came out: result.json, the public contract of a job folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import BadInput, SuiteError, error_from_record
from ..files import write_json

SCHEMA_VERSION = 1
FILE_NAME = "result.json"


@dataclass
class Measurement:
    """One number of the result.

    Attributes:
        name: as the field calls it (ThCtAB, VC, tAB, T2_mean, volume …).
        structure: structure name, e.g. "femoral_cartilage".
        region: region name, e.g. "medial_weight_bearing", or "whole".
        value: the number in ``unit``; NaN (null in the file) when it cannot be measured.
        unit: "mm", "mm2", "mm3", "ms", "%", "1" …
        method: how it was measured, for a methods section.
        interval: (low, high) when there is one.
    """

    name: str
    structure: str
    region: str
    value: float
    unit: str
    method: str
    interval: tuple[float, float] | None = None

    def to_record(self) -> dict:
        record = asdict(self)
        if self.interval is None:
            del record["interval"]
        return record


@dataclass
class Result:
    """What a task hands back. A task fills ``files`` (role -> path inside ``context.folder``), ``measurements`` and
    ``model``; the worker fills what it knows itself: task, inputs with hashes, software, timings, warnings."""

    files: dict = field(default_factory=dict)
    measurements: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    timings_s: dict = field(default_factory=dict)
    model: dict | None = None
    software: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)
    inputs: list = field(default_factory=list)
    task: str = ""
    status: str = "done"
    error: dict | None = None

    def to_record(self) -> dict:
        """The content of result.json. Raises ValueError for a file outside the job folder."""
        record = {
            "schema_version": SCHEMA_VERSION,
            "task": self.task,
            "status": self.status,
            "inputs": self.inputs,
            "model": self.model,
            "software": self.software,
            "parameters": self.parameters,
            "timings_s": {stage: round(float(value), 3) for stage, value in self.timings_s.items()},
            "files": {role: relative_name(path) for role, path in self.files.items()},
            "measurements": [m.to_record() if isinstance(m, Measurement) else dict(m) for m in self.measurements],
            "warnings": list(self.warnings),
        }
        if self.error is not None:
            record["error"] = self.error
        return record

    @classmethod
    def from_record(cls, record: dict) -> "Result":
        """The inverse of :meth:`to_record`; a null value becomes NaN again."""
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        result = cls(**known)
        result.measurements = [_measurement(m) for m in result.measurements]
        return result

    @classmethod
    def read(cls, folder) -> "Result":
        """Read ``folder``/result.json.

        Raises:
            BadInput: not there or damaged.
        """
        path = Path(folder) / FILE_NAME
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["schema_version"] != SCHEMA_VERSION:
                raise BadInput(f"{path} has schema_version {record['schema_version']}; this version reads "
                               f"{SCHEMA_VERSION}.", "Run the job again.")
            return cls.from_record(record)
        except FileNotFoundError as exception:
            raise BadInput(f"{folder} holds no {FILE_NAME}: the job has not finished.") from exception
        except (OSError, ValueError, KeyError, TypeError) as exception:
            raise BadInput(f"{path} is damaged: {exception}.", "Run the job again.") from exception

    def write(self, folder) -> Path:
        """Write ``folder``/result.json (whole or not at all) and return its path."""
        path = Path(folder) / FILE_NAME
        write_json(path, self.to_record())
        return path

    def failure(self) -> SuiteError | None:
        """The typed error of a failed or cancelled job, None for one that is done."""
        return None if self.error is None else error_from_record(self.error)


def relative_name(path) -> str:
    """``path`` with forward slashes; raises ValueError when it is absolute or leaves its folder."""
    name = PurePosixPath(str(path).replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or not name.parts or ":" in name.parts[0]:
        raise ValueError(f"{path} is not a path inside the job folder")
    return str(name)


def _measurement(record) -> Measurement:
    record = dict(record)
    if record.get("value") is None:
        record["value"] = float("nan")
    if record.get("interval") is not None:
        record["interval"] = tuple(float("nan") if v is None else v for v in record["interval"])
    return Measurement(**record)
