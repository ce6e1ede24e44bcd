"""The part of JSON Schema that our own schemas use, in standard Python.

Slicer's Python has no ``jsonschema`` and gets nothing from us, and rules written a second time in code would drift
from ``card.schema.json``. So the schema file is the one source, and this reads it. The tests hold it against
``jsonschema``.
"""

from __future__ import annotations

import re

_TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    # In JSON Schema 1.0 is an integer and true is no number.
    "integer": lambda v: not isinstance(v, bool) and (isinstance(v, int) or (isinstance(v, float) and v.is_integer())),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}
_KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "type", "const", "enum", "pattern", "minLength", "minimum",
    "maximum", "exclusiveMinimum", "minItems", "maxItems", "items", "required", "properties",
    "additionalProperties", "anyOf",
}  # fmt: skip


def problems(value, schema: dict) -> list[str]:
    """What is wrong with ``value``, one sentence each with the place; empty where it fits the schema.

    Raises:
        NotImplementedError: the schema uses a word that this reader does not know (a silent pass would be worse).
    """
    return list(_problems(value, schema, schema, ""))


def _problems(value, schema, root, place):
    unknown = set(schema) - _KNOWN
    if unknown:
        raise NotImplementedError(f"schema words that are not supported: {sorted(unknown)}")
    here = place or "the card"
    if "$ref" in schema:
        yield from _problems(value, _referred(schema["$ref"], root), root, place)
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{here} must be {_text(schema['const'])}, not {_text(value)}"
    if "enum" in schema and not any(_same(value, choice) for choice in schema["enum"]):
        yield f"{here} must be one of {', '.join(map(_text, schema['enum']))}, not {_text(value)}"
    if "anyOf" in schema:
        tried = [list(_problems(value, choice, root, place)) for choice in schema["anyOf"]]
        if all(tried):
            yield f"{here} fits none of its forms: " + "; or ".join(errors[0] for errors in tried)
    if "type" in schema and not _TYPES[schema["type"]](value):
        yield f"{here} must be of type {schema['type']}, not {_text(value)}"
        return
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield f"{here} must not be empty"
        # JSON Schema's $ is the very end; Python's also matches before a last line feed.
        if "pattern" in schema and (value.endswith("\n") or not re.search(schema["pattern"], value)):
            yield f"{here} must match {schema['pattern']}, which {_text(value)} does not"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and not value >= schema["minimum"]:
            yield f"{here} must be at least {schema['minimum']}, not {value}"
        if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
            yield f"{here} must be more than {schema['exclusiveMinimum']}, not {value}"
        if "maximum" in schema and not value <= schema["maximum"]:
            yield f"{here} must be at most {schema['maximum']}, not {value}"
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{here} needs at least {schema['minItems']} entries and has {len(value)}"
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{here} may have at most {schema['maxItems']} entries and has {len(value)}"
        for index, item in enumerate(value):
            yield from _problems(item, schema.get("items", {}), root, f"{place}[{index}]")
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                yield f"{here} lacks {name!r}"
        for name, item in value.items():
            inside = f"{place}.{name}" if place else str(name)
            if name in known:
                yield from _problems(item, known[name], root, inside)
            elif schema.get("additionalProperties", True) is False:
                yield f"{here} has an unknown entry {name!r} (known: {', '.join(known)})"


def _referred(reference, root):
    target = root
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return target


def _same(a, b):
    # In Python False == 0 and True == 1; in JSON they differ.
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _text(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
