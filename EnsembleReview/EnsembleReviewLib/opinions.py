"""What one expert says about a case, or why it says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from MRISegSuiteLib.images.structures import TUMOR_REGIONS, with_tumor_regions

#: A probability above this is a yes.
YES = 0.5


@dataclass
class Opinion:
    """The answer of an expert, on the grid of the case.

    Attributes:
        expert: identifier, unique in the panel: the id of a model, or what the user calls a mask.
        title: what a person reads.
        answers: structure name -> array (k, j, i): bool for a mask, floating point for probabilities (0..1). A name
            that is missing is a structure that the expert knows nothing about; an empty mask says "not there".
        record: provenance as JSON values, e.g. ``{"id", "version", "sha256"}`` of a model or ``{"file", "sha256"}``.
        prompted_by: identifiers of the experts whose answers it was shown; together they count as one.
        seconds: how long it took, None where unknown.
        warnings: sentences for the user.
    """

    expert: str
    title: str
    answers: dict[str, np.ndarray]
    record: dict = field(default_factory=dict)
    prompted_by: tuple[str, ...] = ()
    seconds: float | None = None
    warnings: list[str] = field(default_factory=list)

    def mask(self, structure: str) -> np.ndarray:
        """The answer as a bool array: a probability above one half is a yes."""
        answer = self.answers[structure]
        return answer if answer.dtype == bool else answer > YES

    def probability(self, structure: str) -> np.ndarray | None:
        """The probabilities of a structure, None where the expert gave a mask."""
        answer = self.answers[structure]
        return None if answer.dtype == bool else answer


@dataclass(frozen=True)
class Abstention:
    """An expert without an answer. The panel goes on without it; nothing is invented in its place."""

    expert: str
    title: str
    why: str


def with_regions(answers: Mapping[str, np.ndarray], exclusive: bool) -> dict[str, np.ndarray]:
    """The answers, and those for whole tumor and tumor core that follow from them.

    Args:
        answers: structure -> masks or probabilities, not both.
        exclusive: probabilities of labels that exclude each other (softmax) add up; of others (sigmoid) the largest is
            taken, which is the least that the union can have.
    """
    if all(array.dtype == bool for array in answers.values()):
        return with_tumor_regions(answers)
    found = dict(answers)
    for region, parts in TUMOR_REGIONS.items():
        if region not in found and all(part in answers for part in parts):
            arrays = [answers[part] for part in parts]
            found[region] = np.minimum(np.sum(arrays, axis=0), 1.0) if exclusive else np.max(arrays, axis=0)
    return found


def independent_groups(opinions: Iterable[Opinion]) -> list[list[str]]:
    """Experts that hang together by prompts, group by group; an expert of its own is a group of one.

    Who was prompted by whom makes a graph; its connected components count as one voice each.
    """
    groups: list[set[str]] = []
    opinions = list(opinions)
    present = {opinion.expert for opinion in opinions}
    for opinion in opinions:
        joined = {opinion.expert} | (set(opinion.prompted_by) & present)
        apart = []
        for group in groups:
            if group & joined:
                joined |= group
            else:
                apart.append(group)
        groups = [*apart, joined]
    order = [opinion.expert for opinion in opinions]
    ordered = [sorted(group, key=order.index) for group in groups]
    return sorted(ordered, key=lambda group: order.index(group[0]))
