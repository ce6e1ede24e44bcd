"""Moving through a linear shape model: a bone in the 3D view that changes under a slider."""

from __future__ import annotations

import json

import numpy as np

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.meshes.polydata import to_polydata, transform_mesh
from MRISegSuiteLib.models import Card
from MRISegSuiteLib.models.verified_files import VerifiedFiles
from MRISegSuiteLib.scene import hierarchy, models

from ..shape.fit import model_surfaces
from ..shape.linear import LinearShapeModel
from ..structures import BY_NAME
from .nodes import SHAPE_RECORD, is_alive

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_KEY = "MRISegSuite.ShapeBrowser"
#: Farther than this from the mean, in standard deviations, a component tells shapes that nobody has.
MOST_SD = 3.0


class ShapeBrowser:
    """A bone of a linear shape model as a model node, and the weights that it shows.

    Args:
        scene: the vtkMRMLScene.
        card: card of a linear shape model.
        shapeNode: a fitted shape (see ``KneeNodes.shapes``) to begin with and to lie on; if it was fitted by another
            model, or is None, the mean shape is shown at the origin of the world.

    Raises:
        SuiteError: the model cannot be read, or is none whose modes can be moved.
    """

    def __init__(self, scene, card: Card, shapeNode=None):
        if card.backend != "linear_shape":
            raise BadInput(f"{card.title} has no modes to move.", "Choose a model of principal components.")
        files = VerifiedFiles(card)
        self.model = LinearShapeModel.read(files.read(files.names[0]))
        self.card = card
        self._scene, self._shapeNode = scene, shapeNode
        record = json.loads(shapeNode.GetAttribute(SHAPE_RECORD) or "{}") if shapeNode is not None else {}
        fits = record.get("model") == card.to_record()
        self.start = np.array(record["numbers"]) if fits else np.zeros(self.model.size)
        self._to_ras = _LPS_TO_RAS @ np.array(record["model_to_lps"]) if fits else np.eye(4)
        self.weights = self.start.copy()
        self.node = None

    @property
    def shares(self) -> np.ndarray:
        """(M,) part of the population's variance that each mode tells."""
        size = (self.model.modes.astype(np.float64) ** 2).sum(axis=(1, 2, 3, 4))
        return size / size.sum()

    def set(self, mode: int, weight: float) -> None:
        """Show the bone with another weight (standard deviations) of a mode (0 is the first)."""
        self.weights[mode] = weight
        self.show()

    def reset(self) -> None:
        """Back to the shape that it began with."""
        self.weights = self.start.copy()
        self.show()

    def show(self) -> None:
        """Bring the node up to date; a new one is made where there is none (any more)."""
        surface = model_surfaces(self.model, self.weights, only_first=True)[0]
        mesh = to_polydata(*transform_mesh(surface.points, surface.triangles, self._to_ras))
        if not is_alive(self._scene, self.node):
            bone = self.card.options["bone"]
            like = self._shapeNode if is_alive(self._scene, self._shapeNode) else None
            name = f"Shape browser: {BY_NAME[bone].title.lower()}"
            self.node = models.new_model_node(self._scene, name, mesh, BY_NAME[bone].color, like)
            self.node.SetAttribute(_KEY, self.card.id)
            hierarchy.place(self._scene, self.node, hierarchy.parent_item(self._scene, like))
        else:
            models.update_model_node(self.node, mesh)
