"""SAM 3 as an expert: the slices of a volume are the frames of a film, followed both ways from a key slice.

The film is seen along three axes; the mean of the three answers is the probability, so their agreement is the
confidence. SAM 3 was made for photographs and films. Nobody has shown how good it is on brain MR; it is off unless a
user names a local checkpoint (``facebook/sam3``), and prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..opinions import Opinion
from .interface import Abstains, Case, Progress
from .prompts import USER, Prompt
from .sam3_models import Key, Sam3Models
from .slices_as_frames import Stacks
from .transformers_models import record_of, require_checkpoint

ID, TITLE = "sam3", "SAM 3"
_AXES = ("axial", "coronal", "sagittal")
#: A picture is searched for the words of a prompt on this many slices of a stack.
_SEARCHED = 9
#: How far (mm) a structure is followed from its key slice.
_REACH_MM = 80.0


class Sam3Expert:
    """SAM 3 from a local checkpoint.

    Args:
        folder: the checkpoint, as ``facebook/sam3`` is laid out.
        prompts: at least one.
        channel: name of the channel that it sees; the first image of the case by default.
    """

    id, title = ID, TITLE

    def __init__(self, folder, prompts: Sequence[Prompt], channel: str = ""):
        self.folder, self.prompts, self.channel = folder, list(prompts), channel

    @classmethod
    def from_record(cls, record: Mapping) -> Sam3Expert:
        """From a job's parameter ``sam3``: ``{"checkpoint": folder, "prompts": [...], "channel": name}``."""
        prompts = [Prompt.from_record(prompt) for prompt in record.get("prompts") or []]
        return cls(record.get("checkpoint"), prompts, str(record.get("channel") or ""))

    def answer(self, case: Case, progress: Progress) -> Opinion:
        """See :class:`interface.Expert`: one probability map for each prompted structure."""
        folder = require_checkpoint(self.folder, self.title)
        if not self.prompts:
            raise Abstains("It was given no prompt.")
        image = case.images_for([self.channel])[0] if self.channel else _first(case)
        stacks = Stacks(image)
        models = Sam3Models(folder, case.device)
        answers: dict[str, np.ndarray] = {}
        warnings = list(models.warnings)
        for number, prompt in enumerate(self.prompts):
            def report(stage, fraction, number=number):
                progress(stage, (number + fraction) / len(self.prompts))

            found = _follow_along_all_axes(models, stacks, prompt, report, warnings)
            if found is None:
                raise Abstains(f"It found nothing for the prompt of {prompt.structure.replace('_', ' ')}.")
            mine = stacks.back(found.astype(np.float32))
            answers[prompt.structure] = np.maximum(answers[prompt.structure], mine) if (
                prompt.structure in answers) else mine
        sources = tuple(dict.fromkeys(p.source for p in self.prompts if p.source != USER))
        record = record_of(folder, self.id) | {"prompts": [prompt.to_record() for prompt in self.prompts],
                                               "device": models.device}
        return Opinion(self.id, self.title, answers, record, prompted_by=sources, warnings=warnings)


def _first(case: Case):
    if not case.channels:
        raise Abstains("The case has no image.")
    return case.channels[0].image


def _follow_along_all_axes(models: Sam3Models, stacks: Stacks, prompt: Prompt, progress,
                           warnings) -> np.ndarray | None:
    """Mean probability (k, j, i) over the axes along which something was found; None where on none."""
    found, center = [], None
    spacing = stacks.spacing
    for axis, name in enumerate(_AXES):
        begin, width = axis / 3, 1 / 3
        pictures = stacks.pictures(axis)
        if prompt.box_lps or prompt.points_lps:
            try:
                key = _shown(stacks, prompt, axis)
            except ValueError as exception:
                raise Abstains(f"{exception}.") from exception
        else:
            key, center = _found_by_words(models, stacks, prompt.text, axis, center)
            if key is None:
                warnings.append(f"SAM 3 found nothing for \"{prompt.text}\" on {name} slices.")
                continue
        reach = max(1, int(round(_REACH_MM / spacing[axis])))
        stack = models.follow(
            pictures, key, reach,
            lambda part, name=name, begin=begin, width=width: progress(f"{name} slices", begin + width * part))
        found.append(stacks.volume(stack, axis))
    return np.mean(found, axis=0) if found else None


def _shown(stacks: Stacks, prompt: Prompt, axis: int) -> Key:
    """The key of one axis for a box or points."""
    points: dict[int, tuple[list, list]] = {}
    frame = None
    if prompt.box_lps:
        corners = np.array([stacks.index_of(corner) for corner in prompt.box_lps])
        frame, _, _ = stacks.in_stack(corners.mean(axis=0), axis)
        low, high = np.delete(corners.min(axis=0), axis), np.delete(corners.max(axis=0), axis)
        # Rows and columns; SAM takes a box as its two corners with the labels 2 and 3.
        box = [[low[1], low[0]], [high[1] + 1.0, high[0] + 1.0]]
        points[frame] = (box, [2, 3])
    for x, y, z, inside in prompt.points_lps:
        number, column, row = stacks.in_stack(stacks.index_of((x, y, z)), axis)
        there = points.setdefault(number, ([], []))
        there[0].append([column, row])
        there[1].append(1 if inside else 0)
        if frame is None and inside:
            frame = number
    # A slice with nothing but points outside shows nothing to follow.
    points = {n: there for n, there in points.items() if any(label for label in there[1])}
    return Key(frame, points)


def _found_by_words(models: Sam3Models, stacks: Stacks, text: str, axis: int, center) -> tuple[Key | None, np.ndarray]:
    """The key of one axis for words, and the center (k, j, i) of what was found; searched around ``center``."""
    pictures = stacks.pictures(axis)
    if center is None:
        there = np.flatnonzero(pictures.any(axis=(1, 2)))
        if not len(there):
            return None, center
        slices = sorted({int(n) for n in np.linspace(there[0], there[-1], _SEARCHED + 2)[1:-1]})
    else:
        slices = [int(round(center[axis]))]
    best = max(((*models.find_words(pictures[n], text), n) for n in slices), key=lambda one: one[0] * one[1].sum())
    score, mask, number = best
    if not mask.any():
        return None, center
    if center is None:
        row, column = np.argwhere(mask).mean(axis=0)
        center = np.insert(np.array([row, column]), axis, number)
    return Key(number, {}, mask), center
