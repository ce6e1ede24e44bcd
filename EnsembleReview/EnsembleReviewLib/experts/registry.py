"""Models of the registry as experts: nnU-Net v2, MONAI bundles, torch exports; whatever has a card."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK as sitk

from MRISegSuiteLib.errors import SuiteError
from MRISegSuiteLib.images.structures import tumor_name
from MRISegSuiteLib.models.card import SHAPE_BACKENDS, Card
from MRISegSuiteLib.models.registry import Registry

from ..opinions import Opinion, with_regions
from .interface import Case, Progress

#: Task of the cards whose models make up the panel when nobody chooses.
TASK = "glioma"


class ModelExpert:
    """A model with a card. It gives the probability of every structure of its own."""

    def __init__(self, card: Card):
        self.card = card
        self.id, self.title = card.id, card.title

    def answer(self, case: Case, progress: Progress) -> Opinion:
        """See :class:`interface.Expert`. Channels are found by the names that the card gives them."""
        from MRISegSuiteLib.models.inference import segment

        images = case.images_for([channel["name"] for channel in self.card.channels])
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


def models_of(ids: Sequence[str] | None, registry: Registry | None = None) -> list:
    """The experts of these ids; None for every model of the task :data:`TASK`.

    An id that the registry does not know, and a model that does not segment, becomes an expert that abstains.
    """
    registry = registry or Registry()
    if ids is None:
        return [ModelExpert(card) for card in registry.cards(TASK) if card.backend not in SHAPE_BACKENDS]
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
