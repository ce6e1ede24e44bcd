"""A first word on a case: green, yellow or red, by limits in a settings file. A person decides."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from MRISegSuiteLib.errors import BadInput

from .agreement import Agreement
from .hot_spots import Limits

SETTINGS_FILE = Path(__file__).resolve().parents[1] / "Resources" / "Settings" / "agreement.json"
GREEN, YELLOW, RED = LIGHTS = ("green", "yellow", "red")
_VERSION = 1
#: Limit -> what is held against it, how it reads, and whether more is better.
_CHECKS = {
    "least_dice": ("lowest pairwise Dice", "", True),
    "largest_hd95_mm": ("largest HD95", " mm", False),
    "largest_volume_cv": ("volume CV", "", False),
}


@dataclass(frozen=True)
class AgreementSettings:
    """The settings file as read; see Resources/Settings/agreement.json."""

    version: str
    note: str
    tolerance_mm: float
    hot_spots: Limits
    least_voices: int
    limits: dict[str, dict[str, dict[str, float]]]

    @classmethod
    def read(cls, path: Path | str = SETTINGS_FILE) -> AgreementSettings:
        """Read a settings file.

        Raises:
            BadInput: not there, not JSON, another version, or a limit is missing.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["schema_version"]
            if version != _VERSION:
                raise BadInput(f"{path} has schema_version {version}; this version reads {_VERSION}.")
            limits = {"": content["default"]} | content["structures"]
            for name, lights in limits.items():
                for light in (GREEN, YELLOW):
                    missing = set(_CHECKS) - set(lights[light])
                    if missing:
                        raise BadInput(f"{path}: {name or 'default'}, {light} lacks {', '.join(sorted(missing))}.")
            return cls(str(content["version"]), str(content["note"]), float(content["surface_dice_tolerance_mm"]),
                       Limits(**content["hot_spots"]), int(content["least_voices"]), limits)
        except (OSError, ValueError, KeyError, TypeError) as exception:
            raise BadInput(f"The settings {path} cannot be used: {type(exception).__name__}: {exception}.",
                           "Take the file that comes with MRI Seg Suite as an example.") from exception

    def limits_of(self, structure: str) -> dict[str, dict[str, float]]:
        return self.limits.get(structure, self.limits[""])


@dataclass(frozen=True)
class Light:
    """The light of one structure and why it is not green; no light at all is ``color`` ""."""

    structure: str
    color: str
    reasons: list[str]


def light_of(agreement: Agreement, settings: AgreementSettings) -> Light:
    """The light of a structure; none where too few independent experts know it."""
    if agreement.voices < settings.least_voices:
        return Light(agreement.structure, "", [
            f"{agreement.voices} independent opinion(s) are too few for a word on agreement; "
            f"{settings.least_voices} are needed."
        ])
    found = {
        "least_dice": min(agreement.over_pairs("dice")),
        "largest_hd95_mm": max(agreement.over_pairs("hd95_mm")),
        "largest_volume_cv": agreement.volume_cv,
    }
    limits = settings.limits_of(agreement.structure)
    color, reasons = GREEN, []
    for name, value in found.items():
        what, unit, more_is_better = _CHECKS[name]
        own = GREEN if _holds(value, limits[GREEN][name], more_is_better) else (
            YELLOW if _holds(value, limits[YELLOW][name], more_is_better) else RED)
        if own != GREEN:
            shown = "not finite" if not math.isfinite(value) else f"{value:.3g}{unit}"
            bound = "least" if more_is_better else "most"
            reasons.append(f"{what} {shown} (green: at {bound} {limits[GREEN][name]:g}{unit})")
            color = max(color, own, key=LIGHTS.index)
    return Light(agreement.structure, color, reasons)


def _holds(value: float, limit: float, more_is_better: bool) -> bool:
    """NaN holds no limit."""
    return value >= limit if more_is_better else value <= limit


def worst(lights: list[Light]) -> str:
    """The light of a case: its worst; "" where no structure has one."""
    colors = [light.color for light in lights if light.color]
    return max(colors, key=LIGHTS.index) if colors else ""
