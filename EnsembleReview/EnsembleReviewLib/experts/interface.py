"""The one way to ask an expert: images in; masks or probabilities by name out, or "abstains: why"."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import SimpleITK as sitk

from MRISegSuiteLib.errors import Cancelled, SuiteError
from MRISegSuiteLib.images.channels import same_channel

from ..opinions import Abstention, Opinion

Progress = Callable[[str, float], None]


@dataclass
class Channel:
    """One image of a case: its name ("FLAIR"; "" where nobody knows) and the image on the case's grid (LPS, mm)."""

    name: str
    image: sitk.Image


@dataclass
class Case:
    """What experts are asked about.

    Attributes:
        grid: an image with the geometry on which answers are given.
        channels: all images, resampled to that grid.
        device: "auto", "cpu" or "cuda".
        log: where details go; never names, dates or other identifiers.
    """

    grid: sitk.Image
    channels: list[Channel] = field(default_factory=list)
    device: str = "auto"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("MRISegSuite.job"))

    def images_for(self, names: Sequence[str]) -> list[sitk.Image]:
        """The images of these channels, in this order.

        One image is taken for the one channel that is wanted, unless its name says that it is another one.

        Raises:
            Abstains: one is not there.
        """
        found = places_of(names, [channel.name for channel in self.channels])
        if None in found:
            there = ", ".join(channel.name or "an image without a channel name" for channel in self.channels)
            raise Abstains(f"It needs {names[found.index(None)]}; the case has {there or 'no image'}.")
        return [self.channels[place].image for place in found]


def places_of(wanted: Sequence[str], there: Sequence[str]) -> list[int | None]:
    """Which of the case's channels is each of the wanted ones; None where it is not there. See ``Case.images_for``."""
    if len(wanted) == len(there) == 1 and not there[0]:
        return [0]
    return [next((n for n, name in enumerate(there) if name and same_channel(name, one)), None) for one in wanted]


class Abstains(Exception):
    """Raised by an expert that has no answer; the text says why, as a sentence for the user."""


class Expert(Protocol):
    """Somebody to ask.

    Attributes:
        id: unique in the panel, e.g. the id of a model.
        title: what a person reads.
    """

    id: str
    title: str

    def answer(self, case: Case, progress: Progress) -> Opinion:
        """The opinion on a case, on its grid.

        Args:
            case: the images.
            progress: called with a stage and a fraction (0..1); whatever it raises ends the work.

        Raises:
            Abstains, SuiteError: there is no answer; the panel goes on without.
        """


def ask(expert: Expert, case: Case, progress: Progress) -> Opinion | Abstention:
    """The opinion of an expert, or why it abstains. Only being canceled ends the panel."""
    begin = time.monotonic()
    try:
        opinion = expert.answer(case, progress)
    except Cancelled:
        raise
    except (Abstains, SuiteError) as reason:
        return Abstention(expert.id, expert.title, str(reason))
    except Exception as failure:  # noqa: BLE001 - one broken expert must not cost the answers of the others
        case.log.error("%s failed", expert.id, exc_info=failure)
        first = (str(failure).strip().splitlines() or [""])[0][:200]
        return Abstention(expert.id, expert.title, f"It failed ({type(failure).__name__}: {first}).")
    size = case.grid.GetSize()[::-1]
    wrong = [name for name, array in opinion.answers.items() if array.shape != size]
    if wrong or not opinion.answers:
        return Abstention(expert.id, expert.title, "Its answer does not lie on the grid of the case.")
    return opinion if opinion.seconds is not None else replace(opinion, seconds=time.monotonic() - begin)
