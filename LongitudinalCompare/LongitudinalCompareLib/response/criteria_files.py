"""Response criteria as data: read, checked and listed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.models.json_schema import problems

_FOLDER = Path(__file__).parent / "criteria"
_SCHEMA = Path(__file__).parent / "criteria.schema.json"

DIAMETERS, PRODUCTS, VOLUMES = "sum_longest_diameters", "sum_products", "sum_volumes"
UNITS = {DIAMETERS: "mm", PRODUCTS: "mm2", VOLUMES: "mm3"}

#: The criterion that is used where none is named.
DEFAULT = "rano_2_volumetric"


@dataclass(frozen=True)
class Criterion:
    """A response criterion; see ``criteria.schema.json`` for what the fields mean.

    ``verified`` is False until somebody has checked the numbers against the publication.
    """

    id: str
    version: str
    title: str
    source: str
    verified: bool
    verification: str
    measure: str
    targets: dict
    response_percent: float
    progression: dict
    confirmation: dict
    not_assessed: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Unit of the sum."""
        return UNITS[self.measure]


def criteria() -> dict[str, Criterion]:
    """id -> criterion, of all that come with the suite."""
    found = [read_criterion(path) for path in sorted(_FOLDER.glob("*.json"))]
    return {one.id: one for one in found}


def criterion(name: str) -> Criterion:
    """The criterion of that id, or in that JSON file.

    Raises:
        BadArguments: there is none, or the file is not one.
    """
    known = criteria()
    if name in known:
        return known[name]
    if Path(name).suffix.lower() == ".json":
        return read_criterion(Path(name))
    raise BadArguments(f"There is no response criterion {name!r}.", f"Known are {', '.join(known)}, or a JSON file.")


def read_criterion(path: Path) -> Criterion:
    """A criterion from its file.

    Raises:
        BadArguments: not there, not JSON, or not what the schema wants.
    """
    hint = "The schema is criteria.schema.json beside the criteria of the suite."
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exception:
        raise BadArguments(f"{path} cannot be read: {exception.strerror}.", "Check the path.") from exception
    except ValueError as exception:
        raise BadArguments(f"{path} is no JSON file: {exception}.", hint) from exception
    wrong = problems(content, json.loads(_SCHEMA.read_text(encoding="utf-8")))
    if wrong:
        raise BadArguments(f"{path} is no response criterion: {'; '.join(wrong)}.", hint)
    return Criterion(
        id=content["id"],
        version=content["version"],
        title=content["title"],
        source=content["source"],
        verified=content["verification"]["status"] == "verified",
        verification=content["verification"]["note"],
        measure=content["measure"],
        targets=content["targets"],
        response_percent=content["response"]["percent"],
        progression=content["progression"],
        confirmation=content["confirmation"],
        not_assessed=tuple(content["not_assessed"]),
    )
