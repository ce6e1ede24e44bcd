"""Cartilage voxel by voxel: the bone point under each voxel, and how deep it lies between bone and joint surface."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from .structures import STRUCTURES, Structure
from .thickness import ThicknessMap

#: Number of layers where nobody asks for another, and the most that can be had.
DEFAULT_LAYERS, MOST_LAYERS = 2, 5


@dataclass(frozen=True)
class CartilageVoxels:
    """The voxels of one cartilage.

    Attributes:
        index: (V, 3) in the canonical array.
        vertex: (V,) point of the bone's surface under each voxel: the nearest that is covered.
        depth: (V,) 0 at the bone to 1 at the joint surface, as a part of the thickness there.
    """

    index: np.ndarray
    vertex: np.ndarray
    depth: np.ndarray

    def layer(self, count: int) -> np.ndarray:
        """(V,) layer of each voxel, 0 (deep) to ``count - 1`` (superficial)."""
        return np.clip((self.depth * count).astype(int), 0, count - 1)


def layer_names(count: int) -> tuple[str, ...]:
    """What the layers are called, from the bone outwards.

    >>> layer_names(2)
    ('deep', 'superficial')
    """
    if count == 1:
        return ("full",)
    if count <= 3:
        return ("deep", *(["middle"] if count == 3 else []), "superficial")
    return tuple(f"layer_{n + 1}" for n in range(count))


def layer_structures(count: int) -> tuple[Structure, ...]:
    """The layers of every cartilage as structures: ``femoral_cartilage_deep`` …, lighter towards the joint.

    A layer's label is ten times its cartilage's, plus 1 for the deepest.
    """
    return tuple(
        replace(
            whole,
            name=f"{whole.name}_{text}",
            label=10 * whole.label + 1 + n,
            title=f"{whole.title}, {text.replace('_', ' ')}",
            color=tuple(c * (0.55 + 0.45 * n / max(count - 1, 1)) for c in whole.color),
        )
        for whole in STRUCTURES
        if whole.tissue == "cartilage"
        for n, text in enumerate(layer_names(count))
    )


def place_voxels(
    mask: np.ndarray,
    start: np.ndarray,
    spacing: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
    thickness: ThicknessMap,
) -> CartilageVoxels:
    """Find the bone under each voxel of a cartilage, and its depth.

    Depth is the height above the bone along its normal, divided by the thickness at that point.

    Args:
        mask: 3D bool box of the canonical array that begins at index ``start``.
        spacing: (3,) mm.
        points, normals: (N, 3) of the bone's surface, canonical mm (index times spacing of the whole array).
        thickness: map of this cartilage on that surface, with covered points.
    """
    index = np.argwhere(mask) + start
    covered = np.flatnonzero(thickness.covered)
    places = index * spacing
    _, nearest = cKDTree(points[covered]).query(places)
    vertex = covered[nearest]
    height = np.einsum("ij,ij->i", places - points[vertex], normals[vertex])
    depth = np.clip(height / np.maximum(thickness.thickness[vertex], 0.1), 0.0, 1.0)
    return CartilageVoxels(index, vertex, depth)
