"""The model card: what a model is, expects, gives, and what is known about it.

A card is a JSON file ``model.json`` in the folder of its model. ``card.schema.json`` is the one definition of its
form; what a schema cannot say (names unique, paths inside the folder, settings that fit together) is checked here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..errors import BadInput
from .json_schema import problems

CARD_NAME = "model.json"
MAX_CARD_BYTES = 1 << 20
#: How a draft marks what a person has to write.
TO_FILL = "TO FILL"

_SCHEMA_FILE = Path(__file__).with_name("card.schema.json")
_NEEDED_BY_NORMALIZATION = {
    "percentile": ("low", "high"),
    "upper_percentile": ("high",),
    "window": ("low", "high"),
    "ct": ("low", "high", "mean", "sd"),
    "zscore": (),
    "minmax": (),
    "none": (),
}
#: Backends of shape models, which take surfaces and give shapes: they have no input, output and inference.
SHAPE_BACKENDS = ("linear_shape", "neural_shape", "published_shape")
_OF_SEGMENTATION = ("input", "output", "inference")
_PATIENT_AXIS = {"L": "x", "R": "x", "A": "y", "P": "y", "S": "z", "I": "z"}


class InvalidCard(BadInput):
    """A model card that does not follow the schema or contradicts itself."""

    code = "invalid_model_card"


class Card:
    """A valid model card.

    Args:
        content: the JSON object.
        folder: the folder of the model, which ``files`` are relative to; None for a card without its files.
        source: what to call the card in messages.

    Raises:
        InvalidCard: naming every problem.
    """

    def __init__(self, content: Mapping, folder: Path | str | None = None, source: str = "the model card"):
        found = problems(content, schema())
        found = found or _contradictions(content)
        if found:
            raise InvalidCard(
                f"{source} is not a valid model card: {'; '.join(found[:8])}"
                + (f"; and {len(found) - 8} more" if len(found) > 8 else ""),
                "Correct these entries; card.schema.json says what each one means.",
            )
        self.content = json.loads(json.dumps(content))
        self.folder = Path(folder) if folder is not None else None
        self.embedded = False

    @classmethod
    def read(cls, path: Path | str) -> Card:
        """The card in a file, or in the ``model.json`` of a folder.

        Raises:
            InvalidCard: unreadable, not JSON, or against the schema.
        """
        path = Path(path)
        if path.is_dir():
            path = path / CARD_NAME
        try:
            if path.stat().st_size > MAX_CARD_BYTES:
                raise InvalidCard(f"{path} is larger than a model card may be ({MAX_CARD_BYTES} bytes).")
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        except OSError as exception:
            raise InvalidCard(f"{path} cannot be read: {exception.strerror}.") from exception
        except (ValueError, RecursionError) as exception:
            raise InvalidCard(f"{path} is not JSON: {exception}.", "Correct the file.") from exception
        return cls(content, path.parent, str(path))

    @property
    def id(self) -> str:
        return self.content["id"]

    @property
    def version(self) -> str:
        return self.content["version"]

    @property
    def title(self) -> str:
        return self.content["title"]

    @property
    def task(self) -> str:
        return self.content["task"]

    @property
    def backend(self) -> str:
        return self.content["backend"]

    @property
    def options(self) -> dict:
        """What the backend alone needs."""
        return self.content.get("backend_options", {})

    @property
    def files(self) -> list[dict]:
        """``{path, sha256, bytes}`` of every file that loading reads, weights first."""
        return self.content["files"]

    @property
    def sha256(self) -> str:
        """The hash of the model: that of its file, or of the list of hashes and paths where there are several."""
        if len(self.files) == 1:
            return self.files[0]["sha256"]
        lines = sorted(f"{entry['sha256']}  {entry['path']}\n" for entry in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(entry["bytes"] for entry in self.files)

    @property
    def channels(self) -> list[dict]:
        return self.content["input"]["channels"]

    @property
    def axes(self) -> str:
        """Letters of the directions in which the array's indices grow, slowest first; or ``stored``."""
        return self.content["input"]["axes"]

    @property
    def spacing_mm(self) -> list:
        """Per array axis: a number (mm), ``{min, max}`` (the image's own is kept) or None (any is kept)."""
        return self.content["input"]["spacing_mm"]

    @property
    def crop(self) -> str:
        return self.content["input"].get("crop", "none")

    @property
    def activation(self) -> str:
        return self.content["output"]["activation"]

    @property
    def structures(self) -> list[dict]:
        """``{name, channel, value}`` of every output, background included where the network has one."""
        return self.content["output"]["structures"]

    @property
    def names(self) -> dict[str, int]:
        """Name of each structure -> its value in the label map, without the background."""
        return {entry["name"]: int(entry["value"]) for entry in self.structures if entry["value"] != 0}

    @property
    def patch(self) -> tuple[int, int, int]:
        return tuple(int(size) for size in self.content["inference"]["patch"])

    @property
    def smaller_patches(self) -> list[tuple[int, int, int]]:
        return [tuple(int(size) for size in patch) for patch in self.content["inference"].get("smaller_patches", [])]

    @property
    def overlap(self) -> tuple[float, float, float]:
        return tuple(self.content["inference"].get("overlap", (0.5, 0.5, 0.5)))

    @property
    def blending(self) -> str:
        return self.content["inference"].get("blending", "gaussian")

    @property
    def batch(self) -> int:
        return int(self.content["inference"].get("batch", 1))

    @property
    def mirror_axes(self) -> list[int]:
        return [int(axis) for axis in self.content["inference"].get("mirror_axes", [])]

    def path_of(self, name: str) -> Path:
        """The path of one of ``files``."""
        if self.folder is None:
            raise ValueError("this card was made without a folder")
        return self.folder / name

    def to_record(self) -> dict:
        """Id, version and sha256, as result.json wants them."""
        return {"id": self.id, "version": self.version, "sha256": self.sha256}

    def __repr__(self):
        return f"Card({self.id!r}, {self.version!r}, {self.backend!r})"


def schema() -> dict:
    """The JSON schema of model cards."""
    return json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))


def is_inside(path: str) -> bool:
    """Whether a relative path of a card or archive stays inside its folder, on every platform."""
    if not path or "\\" in path or ":" in path or "\0" in path:
        return False
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and pure.as_posix() == path and ".." not in pure.parts


def _contradictions(content) -> list[str]:
    found = []
    paths = [entry["path"] for entry in content["files"]]
    found += [f"files: {path!r} must be a plain relative path inside the model's folder" for path in paths
              if not is_inside(path)]  # fmt: skip
    if len(set(paths)) != len(paths):
        found.append("files: a path is there twice")
    if content["backend"] in SHAPE_BACKENDS:
        return found + _shape_contradictions(content, paths) + _unfinished(content, "")
    missing = [name for name in _OF_SEGMENTATION if name not in content]
    if missing:
        return [*found, f"{', '.join(missing)}: missing, and {content['backend']} needs them"]
    found += _axis_contradictions(content["input"])
    for index, channel in enumerate(content["input"]["channels"]):
        found += _normalization_contradictions(channel["normalization"], f"input.channels[{index}].normalization")
    found += _output_contradictions(content["output"])
    inference = content["inference"]
    for smaller in inference.get("smaller_patches", []):
        if any(a > b for a, b in zip(smaller, inference["patch"])):
            found.append("inference.smaller_patches: a window is larger than the patch")
    if len(set(inference.get("mirror_axes", []))) != len(inference.get("mirror_axes", [])):
        found.append("inference.mirror_axes: an axis is there twice")
    return found + _unfinished(content, "")


def _shape_contradictions(content, paths):
    found = [f"{name}: a shape model has none" for name in _OF_SEGMENTATION if name in content]
    options = content.get("backend_options", {})
    found += [f"backend_options.{name}: missing" for name in ("bone", "population") if name not in options]
    if options.get("bscore", paths[0]) not in paths:
        found.append(f"backend_options.bscore: {options['bscore']!r} is not among the files")
    return found


def _axis_contradictions(inputs):
    found = []
    if inputs["axes"] != "stored" and len({_PATIENT_AXIS[letter] for letter in inputs["axes"]}) != 3:
        found.append(f"input.axes: {inputs['axes']!r} must name left-right, front-back and head-feet once each")
    for index, spacing in enumerate(inputs["spacing_mm"]):
        if isinstance(spacing, dict) and spacing["min"] > spacing["max"]:
            found.append(f"input.spacing_mm[{index}]: min is larger than max")
    names = [channel["name"] for channel in inputs["channels"]]
    if len(set(names)) != len(names):
        found.append("input.channels: a name is there twice")
    return found


def _normalization_contradictions(rule, place):
    missing = [name for name in _NEEDED_BY_NORMALIZATION[rule["kind"]] if name not in rule]
    if missing:
        return [f"{place}: {rule['kind']} needs {', '.join(missing)}"]
    if "low" in rule and "high" in rule and not rule["low"] < rule["high"]:
        return [f"{place}: low must be less than high"]
    if rule["kind"].endswith("percentile") and not 0 <= rule.get("low", 0) < rule["high"] <= 100:
        return [f"{place}: percentiles lie between 0 and 100"]
    return []


def _output_contradictions(output):
    found = []
    for key in ("name", "channel", "value"):
        values = [entry[key] for entry in output["structures"]]
        if len(set(values)) != len(values):
            found.append(f"output.structures: a {key} is there twice")
    backgrounds = [entry for entry in output["structures"] if entry["value"] == 0]
    if output["activation"] == "softmax" and len(backgrounds) != 1:
        found.append("output.structures: softmax needs the background (value 0) once")
    if len(output["structures"]) == len(backgrounds):
        found.append("output.structures: there is no structure beside the background")
    return found


def _unfinished(value, place) -> list[str]:
    """Numbers that are none, and texts that a draft left to be filled in."""
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in _unfinished(item, f"{place}.{name}".lstrip("."))]
    if isinstance(value, list):
        return [text for index, item in enumerate(value) for text in _unfinished(item, f"{place}[{index}]")]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{place} is not a finite number"]
    if isinstance(value, str) and value.startswith(TO_FILL):
        return [f"{place} still reads {value!r}"]
    return []


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")
