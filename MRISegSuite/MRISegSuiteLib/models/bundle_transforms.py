"""What a MONAI bundle's configuration says about orientation, spacing, intensities and windows, as card entries."""

from __future__ import annotations

from .backends.monai_bundle import look_up, plain_value
from .card import InvalidCard

#: Transforms that change nothing that a card must know.
_HARMLESS = {
    "LoadImaged", "EnsureChannelFirstd", "AddChanneld", "AsChannelFirstd", "EnsureTyped", "ToTensord", "CastToTyped",
    "SqueezeDimd", "CropForegroundd", "Identityd", "Compose",
}  # fmt: skip


def card_entries(configuration: dict, name: str) -> dict:
    """``axes``, ``spacing_mm``, ``normalization``, ``activation``, ``patch``, ``overlap``, ``blending`` as far as the
    configuration has them.

    Raises:
        InvalidCard: a transform that a card cannot express, by name.
        UnsafeModel: a value that is an expression.
    """
    found: dict = {}
    for step in _steps(configuration, "preprocessing", name):
        kind = str(step.get("_target_", "")).rsplit(".", 1)[-1]
        read = _READERS.get(kind)
        if read is not None:
            values = plain_value({k: v for k, v in step.items() if k not in ("_target_", "keys")}, configuration, name)
            found.update(read(values, name))
        elif kind not in _HARMLESS:
            raise InvalidCard(
                f"{name}: the preprocessing step {kind or step!r} has no counterpart in a model card.",
                "Write the card by hand if the network works without this step.",
            )
    for step in _steps(configuration, "postprocessing", name):
        if str(step.get("_target_", "")).rsplit(".", 1)[-1] == "Activationsd":
            found["activation"] = "sigmoid" if step.get("sigmoid") else "softmax"
    inferer = configuration.get("inferer")
    if isinstance(inferer, dict):
        found.update(_windows(inferer, configuration, name))
    return found


def _windows(inferer, configuration, name):
    found = {}
    size = plain_value(inferer.get("roi_size"), configuration, name)
    if isinstance(size, list) and len(size) == 3:
        found["patch"] = [int(value) for value in size]
    overlap = plain_value(inferer.get("overlap", 0.25), configuration, name)
    found["overlap"] = [float(value) for value in (overlap if isinstance(overlap, list) else [overlap] * 3)]
    found["blending"] = plain_value(inferer.get("mode", "constant"), configuration, name)
    return found


def _steps(configuration, key, name):
    steps = configuration.get(key)
    if isinstance(steps, dict):
        steps = steps.get("transforms", [])
    if isinstance(steps, str) and steps.startswith("@"):
        steps = look_up(configuration, steps[1:], name)
    if not isinstance(steps, list):
        return []
    flat = []
    for step in steps:
        flat.append(look_up(configuration, step[1:], name) if isinstance(step, str) and step.startswith("@") else step)
    return [step for step in flat if isinstance(step, dict) and not step.get("_disabled_")]


def _orientation(values, name):
    return {"axes": values["axcodes"]}


def _spacing(values, name):
    spacing = values["pixdim"]
    spacing = spacing if isinstance(spacing, list) else [spacing] * 3
    return {"spacing_mm": [float(value) if value > 0 else None for value in spacing]}


def _range(values, name):
    return {
        "normalization": {
            "kind": "window", "low": values["a_min"], "high": values["a_max"], "out_low": values.get("b_min", 0.0),
            "out_high": values.get("b_max", 1.0), "clip": bool(values.get("clip", False)),
        }
    }  # fmt: skip


def _percentiles(values, name):
    return {
        "normalization": {
            "kind": "percentile", "low": values["lower"], "high": values["upper"], "out_low": values["b_min"],
            "out_high": values["b_max"], "clip": bool(values.get("clip", False)),
        }
    }  # fmt: skip


def _zscore(values, name):
    if values.get("subtrahend") is not None or values.get("divisor") is not None:
        raise InvalidCard(f"{name}: NormalizeIntensityd with fixed values has no counterpart in a model card.")
    return {"normalization": {"kind": "zscore", "over": "nonzero" if values.get("nonzero") else "all"}}


def _minmax(values, name):
    return {
        "normalization": {
            "kind": "minmax", "out_low": values.get("minv", 0.0), "out_high": values.get("maxv", 1.0),
        }
    }  # fmt: skip


_READERS = {
    "Orientationd": _orientation,
    "Spacingd": _spacing,
    "ScaleIntensityRanged": _range,
    "ScaleIntensityRangePercentilesd": _percentiles,
    "NormalizeIntensityd": _zscore,
    "ScaleIntensityd": _minmax,
}
