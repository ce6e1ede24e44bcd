"""What a model that can be prompted is shown: text, a box or points, and who said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from MRISegSuiteLib.errors import BadArguments
from MRISegSuiteLib.images.structures import tumor_name

#: Whose prompt it is when a person gave it.
USER = "user"
_EXAMPLE = 'It looks like {"structure": "whole_tumour", "text": "brain tumor"}.'


@dataclass(frozen=True)
class Prompt:
    """A prompt for one structure.

    Attributes:
        structure: what the answer is called.
        text: words, such as "brain tumor"; empty for none.
        box_lps: two opposite corners, LPS, mm; None for none.
        points_lps: ``(x, y, z, inside)`` each, LPS, mm; ``inside`` False for a point that is outside of the structure.
        source: "user", or the identifier of the expert whose answer it is; the two then count as one voice.
        confirmed: whether a person has confirmed it; what comes from another model must be.
    """

    structure: str
    text: str = ""
    box_lps: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    points_lps: tuple[tuple[float, float, float, bool], ...] = ()
    source: str = USER
    confirmed: bool = True

    @classmethod
    def from_record(cls, record: Mapping) -> Prompt:
        """A prompt from the JSON values of a job.

        Raises:
            BadArguments: a field is unknown or of the wrong kind, there is nothing in it, or it is not confirmed.
        """
        try:
            unknown = set(record) - set(cls.__dataclass_fields__)
            if unknown:
                raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
            box = record.get("box_lps")
            if box is not None:
                box = tuple(tuple(float(value) for value in corner) for corner in box)
                if [len(corner) for corner in box] != [3, 3]:
                    raise ValueError("a box is two corners of three coordinates")
            points = tuple((float(x), float(y), float(z), bool(inside))
                           for x, y, z, inside in record.get("points_lps") or ())
            prompt = cls(tumor_name(str(record["structure"])), str(record.get("text") or ""), box, points,
                         str(record.get("source") or USER), bool(record.get("confirmed", True)))
        except (TypeError, ValueError, KeyError) as exception:
            raise BadArguments(f"A prompt cannot be understood: {exception}.", _EXAMPLE) from exception
        if not (prompt.text or prompt.box_lps or any(inside for *_, inside in prompt.points_lps)):
            raise BadArguments(f"The prompt for {prompt.structure} is empty.", "Give text, a box or a point inside.")
        if prompt.source != USER and not prompt.confirmed:
            raise BadArguments(
                f"The prompt for {prompt.structure} comes from {prompt.source} and nobody has confirmed it.",
                "Look at it, and confirm or correct it.",
            )
        return prompt

    def to_record(self) -> dict:
        """As JSON values."""
        return dict(vars(self))
