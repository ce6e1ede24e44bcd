"""The bone to which a shape model is fitted: its surfaces, and signed distances to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from MRISegSuiteLib.meshes.polydata import to_polydata
from MRISegSuiteLib.meshes.surface_fields import point_areas
from MRISegSuiteLib.meshes.surfaces import sheet_surface, solid_surface

from ..anatomy import CanonicalKnee
from ..joint import JOINT_BONES, joint_box
from ..registration import Similarity
from ..slices import refine_slices

#: Points of each surface: enough for distances to 0.05 mm, and cheap to ask.
POINTS = 8000


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh: points (N, 3) mm; triangles (M, 3), counter-clockwise from outside."""

    points: np.ndarray
    triangles: np.ndarray


class SignedDistance:
    """Distance to a closed surface, mm: negative inside."""

    def __init__(self, surface: Surface):
        self._function = vtk.vtkImplicitPolyDataDistance()
        self._function.SetInput(to_polydata(surface.points, surface.triangles))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N,) distances of (N, 3) points."""
        result = vtk.vtkDoubleArray()
        self._function.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points, np.float64)), result)
        return vtk_to_numpy(result).copy()


@dataclass(frozen=True)
class ShapeTarget:
    """A bone with its cartilage in the knee's frame (see ``anatomy``), mm.

    Attributes:
        bone: surface of the bone; where the image ends, it is closed there.
        second: ``articular``: surface of bone and cartilage together; ``cartilage``: of the cartilage alone.
        second_name: which of the two.
        top_mm: height up to which the bone is there (superior coordinate).
    """

    bone: Surface
    second: Surface
    second_name: str
    top_mm: float

    @property
    def surfaces(self) -> tuple[Surface, Surface]:
        return self.bone, self.second


def shape_target(
    knee: CanonicalKnee, bone: str = "femur", second: str = "articular", points: int = POINTS
) -> ShapeTarget:
    """The surfaces of a bone in a labelled knee.

    Raises:
        ValueError: the bone or its cartilage is not labelled, or has no surface.
    """
    cartilages = [name for name in JOINT_BONES[bone] if name in knee.boxes]
    if bone not in knee.boxes or not cartilages:
        raise ValueError(f"the {bone} and its cartilage are not both labelled")
    box = joint_box(knee, [bone, *cartilages])
    start = np.array([s.start for s in box]) * knee.spacing
    cartilage = np.logical_or.reduce([knee.mask(name, box) for name in cartilages])
    mask, layers, spacing = refine_slices(knee.mask(bone, box), {"cartilage": cartilage}, knee.spacing)
    inner, cells = solid_surface(mask, spacing, points)
    if second == "articular":
        outer, outer_cells = solid_surface(mask | layers["cartilage"], spacing, points)
    else:
        outer, outer_cells = sheet_surface(layers["cartilage"], spacing, points)
    return ShapeTarget(
        Surface(inner + start, cells),
        Surface(outer + start, outer_cells),
        second,
        float(inner[:, 2].max() + start[2]),
    )


@dataclass(frozen=True)
class Samples:
    """Points in a model's space, and the signed distances (N, 2) there, in the model's unit of length."""

    points: np.ndarray
    distances: np.ndarray


class PlacedTarget:
    """A target in the space of a model, cut off above ``cut`` as the model's bones are.

    Args:
        target: the bone.
        pose: from the model's space to the knee's frame.
        cut: height in the model's space above which there is no bone.
    """

    def __init__(self, target: ShapeTarget, pose: Similarity, cut: float):
        self.target, self.pose, self.cut = target, pose, cut
        self._functions = [SignedDistance(surface) for surface in target.surfaces]
        top = pose.back(np.array([[*target.bone.points.mean(axis=0)[:2], target.top_mm]]))[0, 2]
        #: Below this the bone is known; above, it left the image (or is cut anyway).
        self.known_to = np.inf if top >= cut else top - 3.0 / pose.scale

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Signed distances (N, 2) at points of the model's space; the bone ends at the cut."""
        places = self.pose(points)
        result = np.column_stack([function(places) for function in self._functions]) / self.pose.scale
        return np.maximum(result, points[:, 2:] - self.cut)

    def sample(self, count: int, seed: int) -> Samples:
        """Points in and around the surfaces, most of them within a millimeter or two, as a model is fitted to.

        The same seed gives the same points.
        """
        rng = np.random.default_rng(seed)
        chosen = []
        for surface in self.target.surfaces:
            inside = self.pose.back(surface.points)
            weight = point_areas(surface.points, surface.triangles) * (inside[:, 2] < self.cut)
            picked = rng.choice(len(inside), count // 2, p=weight / weight.sum())
            # mm; a third of the points tells where the surface is not.
            spread = np.where(np.arange(count // 2) % 3 < 2, 0.7, 4.0) / self.pose.scale
            chosen.append(inside[picked] + rng.normal(size=(count // 2, 3)) * spread[:, None])
        points = np.concatenate(chosen)
        points = points[points[:, 2] < self.known_to]
        return Samples(points, self.distances(points))
