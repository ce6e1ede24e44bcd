"""Fitting a shape model to a bone: laying it on, finding its numbers, and what is left over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from MRISegSuiteLib.meshes.surface_fields import components, point_areas, point_normals, submesh
from MRISegSuiteLib.meshes.surfaces import level_surface

from ..registration import Similarity, register_bone
from .target import PlacedTarget, Samples, ShapeTarget, SignedDistance, Surface

#: Points to which a model is fitted.
SAMPLES = 20000
#: The cut through the shaft is no surface of the bone: errors are measured this far below it, mm.
_BELOW_CUT_MM = 2.0


class ShapeModel(Protocol):
    """What fitting asks of a model: see ``LinearShapeModel`` and ``NeuralShapeModel``."""

    size: int
    cut: float
    axes: np.ndarray
    unit_size: bool
    spread: np.ndarray | None
    origin: np.ndarray
    step: float

    def fit(self, samples: Samples, seed: int, progress: Callable[[float], None] | None) -> tuple[np.ndarray, str]: ...

    def field(self, numbers: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class ShapeFit:
    """A model's bone laid on a real one.

    Attributes:
        numbers: what describes the bone in the model (weights in standard deviations, or a latent vector).
        pose: from the model's space to the knee's frame.
        surfaces: the reconstruction in the knee's frame: bone; the target's second surface, where the model has it.
        assd: average symmetric surface distance to the real ones, mm, each.
        height: in the model's space; above it the shaft is cut off, or not in the image.
        how: how the numbers were found.
        warnings: sentences for the user.
    """

    numbers: np.ndarray
    pose: Similarity
    surfaces: tuple[Surface, ...]
    assd: tuple[float, ...]
    height: float
    how: str
    warnings: tuple[str, ...]

    def error(self, points: np.ndarray) -> np.ndarray:
        """(N,) how far points of the real bone lie outside the reconstruction, mm; NaN above ``height``."""
        result = np.full(len(points), np.nan)
        below = self.pose.back(points)[:, 2] < self.height
        result[below] = SignedDistance(self.surfaces[0])(points[below])
        return result


def model_surfaces(model: ShapeModel, numbers: np.ndarray, only_first: bool = False) -> tuple[Surface, ...]:
    """The surfaces of a model's bone, in the model's space; the bone's alone where ``only_first``.

    Of each the largest piece: far from any bone, where no distance was learned, a network may invent others.
    """
    field = model.field(numbers)[: 1 if only_first else None]
    # Outside of the grid there is nothing: surfaces that reach its border are closed there.
    padded = np.pad(field, ((0, 0), (1, 1), (1, 1), (1, 1)), constant_values=model.step)
    return tuple(_largest(*level_surface(one, model.step, model.origin - model.step)) for one in padded)


def _largest(points: np.ndarray, triangles: np.ndarray) -> Surface:
    if not len(points):
        raise ValueError("the model has no surface there")
    parts = components(triangles, len(points))
    chosen, used = submesh(triangles, parts[triangles[:, 0]] == np.bincount(parts).argmax())
    return Surface(points[used], chosen)


def lay_on(model: ShapeModel, target: ShapeTarget, mean: Surface) -> tuple[Similarity, float]:
    """The pose of a model's mean bone on a real one, size included, and the height of the cut in the model's space.

    Raises:
        ValueError: too few points.
    """
    real = target.bone.points
    points = mean.points @ model.axes.T
    # The width of the condyles tells the size to begin with, whatever length of shaft was imaged.
    widths = [np.ptp(p[p[:, 2] < p[:, 2].min() + 0.5 * np.ptp(p[:, 0]), 0]) for p in (real, points)]
    near = points[:, 2] < model.cut - 0.03 * widths[1]
    normals = point_normals(real, target.bone.triangles)
    laid = register_bone(points, real, normals, near, start_scale=widths[0] / widths[1])
    pose = Similarity(laid.rotation @ model.axes, laid.translation, laid.scale, laid.residual)
    return to_unit_size(pose, target) if model.unit_size else (pose, model.cut)


def to_unit_size(pose: Similarity, target: ShapeTarget) -> tuple[Similarity, float]:
    """Centre and size as published models take them: mean of the bone's surface, and the farthest point from it.

    The bone is cut 0.7 times its width above its lowest point first.
    """
    bone, second = (pose.back(surface.points) for surface in target.surfaces)
    cut = bone[:, 2].min() + 0.7 * np.ptp(bone[:, 0])
    areas = point_areas(target.bone.points, target.bone.triangles) * (bone[:, 2] < cut)
    centre = areas @ bone / areas.sum()
    points = np.concatenate([bone, second])
    radius = np.linalg.norm(points[points[:, 2] < cut] - centre, axis=1).max()
    translation = pose.scale * pose.rotation @ centre + pose.translation
    moved = Similarity(pose.rotation, translation, pose.scale * radius, pose.residual)
    return moved, float((cut - centre[2]) / radius)


def fit_shape(
    model: ShapeModel, target: ShapeTarget, seed: int = 0, progress: Callable[[float], None] | None = None
) -> ShapeFit:
    """Fit a model to a bone. The same seed gives the same result.

    Raises:
        ValueError: the bone is too small a part to be fitted.
    """
    report = progress or (lambda fraction: None)
    mean = model_surfaces(model, np.zeros(model.size), only_first=True)[0]
    placed = PlacedTarget(target, *lay_on(model, target, mean))
    report(0.15)
    warnings = []
    if np.isfinite(placed.known_to):
        missing = (placed.cut - placed.known_to) * placed.pose.scale
        warnings.append(
            f"The shaft leaves the image {missing:.0f} mm below where the shape model ends: that part is not fitted."
        )
        if missing > 25:
            raise ValueError("too little of the bone's shaft is in the image")
    numbers, how = model.fit(placed.sample(SAMPLES, seed), seed, lambda fraction: report(0.15 + 0.65 * fraction))
    surfaces = tuple(Surface(placed.pose(s.points), s.triangles) for s in model_surfaces(model, numbers))
    report(0.9)
    height = min(placed.cut - _BELOW_CUT_MM / placed.pose.scale, placed.known_to)
    # A model may know the bone alone.
    assd = tuple(_assd(real, made, placed.pose, height) for real, made in zip(target.surfaces, surfaces))
    return ShapeFit(numbers, placed.pose, surfaces, assd, height, how, tuple(warnings))


def _assd(real: Surface, made: Surface, pose: Similarity, height: float) -> float:
    """Average symmetric surface distance below a height of the model's space, area-weighted, mm."""
    total, areas = 0.0, 0.0
    for one, other in ((real, made), (made, real)):
        below = pose.back(one.points)[:, 2] < height
        area = point_areas(one.points, one.triangles)[below]
        total += np.abs(SignedDistance(other)(one.points[below])) @ area
        areas += area.sum()
    return float(total / areas)
