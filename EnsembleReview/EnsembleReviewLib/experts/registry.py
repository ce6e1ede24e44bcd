"""Models of the registry as experts: nnU-Net v2, MONAI bundles, torch exports; whatever has a card."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK as sitk

from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.images.structures import tumor_name
from MRISegSuiteLib.models.card import SHAPE_BACKENDS, Card
from MRISegSuiteLib.models.registry import Registry

from ..opinions import Opinion, with_regions
from .interface import Case, Progress, places_of

#: Task of the cards whose models make up the panel when nobody chooses.
TASK = "glioma"


def channel_names(card: Card) -> list[str]:
    """The channels that a model needs, in its order."""
    return [channel["name"] for channel in card.channels]


class ModelExpert:
    """A model with a card. It gives the probability of every structure of its own."""

    def __init__(self, card: Card):
        self.card = card
        self.id, self.title = card.id, card.title

    def answer(self, case: Case, progress: Progress) -> Opinion:
        """See :class:`interface.Expert`. Channels are found by the names that the card gives them."""
        from MRISegSuiteLib.models.inference import segment

        images = case.images_for(channel_names(self.card))
        prediction = segment(images, self.card, case.device, progress, want_probabilities=True)
        answers = {
            tumor_name(name): sitk.GetArrayFromImage(prediction.probabilities[name]) for name in prediction.names
        }
        exclusive = self.card.activation == "softmax"
        return Opinion(
            self.id, self.title, with_regions(answers, exclusive),
            self.card.to_record() | {"device": prediction.device}, warnings=list(prediction.warnings),
        )  # fmt: skip


class MissingExpert:
    """An expert that was asked for and is not there; it abstains and says why."""

    def __init__(self, expert_id: str, why: SuiteError):
        self.id = self.title = expert_id
        self._why = why

    def answer(self, case: Case, progress: Progress) -> Opinion:
        raise self._why


def models_of(
    ids: Sequence[str] | None, registry: Registry | None = None, channels: Sequence[str] | None = None
) -> list:
    """The experts of these ids; None for those models of the task :data:`TASK` that work on the case's channels.

    An id that the registry does not know, and a model that does not segment, becomes an expert that abstains. Where
    no model works on the channels, all are asked, so that each says what it lacks.

    Args:
        channels: names of the case's channels ("" where unknown); None where they do not matter.
    """
    registry = registry or Registry()
    if ids is None:
        cards = [card for card in registry.cards(TASK) if card.backend not in SHAPE_BACKENDS]
        fitting = [card for card in cards if channels is None or None not in places_of(channel_names(card), channels)]
        return [ModelExpert(card) for card in fitting or cards]
    experts = []
    for expert_id in dict.fromkeys(ids):
        try:
            card = registry.get(expert_id)
            if card.backend in SHAPE_BACKENDS:
                raise SuiteError(f"{expert_id} is a shape model; it does not segment.")
            experts.append(ModelExpert(card))
        except SuiteError as reason:
            experts.append(MissingExpert(expert_id, reason))
    return experts
