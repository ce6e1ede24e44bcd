"""The section "Inputs": which images, which experts, and what is missing before they can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slicer.i18n import tr as _

from .check_list import CheckList
from .choices import chosen_nodes, expert_entries, remember_nodes, volume_entries

#: Node references of the parameter node.
IMAGES, MASKS = "EnsembleReviewImages", "EnsembleReviewMasks"
_MODEL = "model "


class InputSection:
    """Works the two lists; what is checked is kept in the parameter node.

    Args:
        imagesList, expertsList: QListWidgets.
        parameters: gives the parameter node (with ``models`` and ``parameterNode``), or None.
        onChanged: called when something was checked or unchecked.
    """

    def __init__(self, imagesList, expertsList, parameters: Callable, onChanged: Callable[[], None]):
        self._parameters, self._onChanged = parameters, onChanged
        self.images = CheckList(imagesList, self._onImages)
        self.experts = CheckList(expertsList, self._onExperts)

    def fill(self, scene, cards: Sequence) -> None:
        """Show what the scene and the registry offer."""
        self.images.fill(volume_entries(scene), [node.GetID() for node in self.volumes])
        chosen = [_MODEL + identifier for identifier in self.models] + [node.GetID() for node in self.masks]
        self.experts.fill(expert_entries(scene, cards), chosen)

    @property
    def volumes(self) -> list:
        """The chosen volume nodes."""
        return chosen_nodes(self._parameters().parameterNode, IMAGES)

    def chooseVolumes(self, volumes: Sequence) -> None:
        """Choose these volume nodes and no others, as the images of a case that was opened."""
        remember_nodes(self._parameters().parameterNode, IMAGES, [node.GetID() for node in volumes])

    @property
    def masks(self) -> list:
        """The chosen segmentation nodes."""
        return chosen_nodes(self._parameters().parameterNode, MASKS)

    @property
    def models(self) -> list[str]:
        """Ids of the chosen models."""
        return [identifier for identifier in self._parameters().models.split(",") if identifier]

    def missing(self, sam3: bool, medgemma: bool, workerProblem: str) -> str | None:
        """What is missing before a run can start, or None.

        Args:
            sam3, medgemma: whether they are asked. workerProblem: why the worker cannot run networks, or "".
        """
        volumes, masks = self.volumes, self.masks
        if not volumes and not masks:
            return _("Check the images of a case above, and the experts to ask.")
        for volume in volumes:
            if volume.GetImageData() is None:
                return _("The volume \"{name}\" holds no image. Choose another one.").format(name=volume.GetName())
        for mask in masks:
            if mask.GetSegmentation().GetNumberOfSegments() == 0:
                return _("The segmentation \"{name}\" is empty. Choose another one.").format(name=mask.GetName())
        if not self.models and not masks and not sam3:
            return _("Check the experts to ask: models, or segmentations.")
        networks = bool(self.models) or sam3 or medgemma
        if networks and not volumes:
            return _("Models need an image: check one above.")
        if networks and workerProblem:
            return _("{problem} Install them in the module MRI Seg Suite.").format(problem=workerProblem)
        return None

    def intention(self, sam3: bool) -> str:
        """What a run will do."""
        count = len(self.models) + len(self.masks) + sam3
        if count == 1:
            return _("Asks one expert: nothing can be said about agreement.")
        return _("Asks {count} experts and fuses what they say.").format(count=count)

    def _onImages(self, keys) -> None:
        remember_nodes(self._parameters().parameterNode, IMAGES, keys)
        self._onChanged()

    def _onExperts(self, keys) -> None:
        self._parameters().models = ",".join(k.removeprefix(_MODEL) for k in keys if k.startswith(_MODEL))
        remember_nodes(self._parameters().parameterNode, MASKS, [k for k in keys if not k.startswith(_MODEL)])
        self._onChanged()
