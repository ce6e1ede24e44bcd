"""A whole model card as HTML, in the order in which it was written."""

from __future__ import annotations

from html import escape


def card_html(card) -> str:
    """Every entry of the card; nothing is left out."""
    content = dict(card.content)
    head = f"<h3>{escape(str(content.pop('title')))}</h3>"
    return head + "".join(f"<p><b>{_name(key)}</b>{_value(value)}</p>" for key, value in content.items())


def _name(key: str) -> str:
    return escape(key.replace("_", " ").capitalize())


def _value(value) -> str:
    if isinstance(value, dict):
        items = "".join(f"<li>{_name(str(key))}{_value(inner)}</li>" for key, inner in value.items())
        return f"<ul>{items}</ul>"
    if isinstance(value, list):
        if all(not isinstance(item, (dict, list)) for item in value):
            return ": " + escape(", ".join(str(item) for item in value) or "none")
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in value) + "</ul>"
    return f": {escape(_plain(value))}"


def _inline(item) -> str:
    if isinstance(item, dict):
        return escape("; ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in item.items()))
    return escape(_plain(item))


def _plain(value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
