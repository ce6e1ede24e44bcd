"""Shapes of known thickness and a simple knee, voxelised: a voxel belongs to what holds its centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk

from KneeSegLib.thickness import ThicknessMap, measure_thickness
from MRISegSuiteLib.meshes.surface_fields import point_areas
from MRISegSuiteLib.meshes.surfaces import solid_surface

OAI = (0.7, 0.365, 0.365)
COARSER = (0.8, 0.43, 0.43)


@dataclass(frozen=True)
class Cap:
    """A layer of cartilage on a ball of bone.

    The pole is along ``axis`` of the array turned by ``rotation``; axis 0 is the one across the slices. ``offset``
    moves the outer ball along the pole. ``hole`` is the half-angle of a full-thickness hole at the pole.
    """

    spacing: tuple = OAI
    thickness: float = 2.0
    radius: float = 20.0
    half_angle: float = 60.0
    hole: float = 0.0
    offset: float = 0.0
    axis: int = 2
    shift: tuple = (0.0, 0.0, 0.0)
    rotation: tuple | None = None
    gap: float = 0.0


@dataclass
class Measured:
    """The map, and what is true at each point."""

    map: ThicknessMap
    angle: np.ndarray
    truth: np.ndarray
    area: np.ndarray
    points: np.ndarray
    triangles: np.ndarray

    def error(self, within: float = 50.0) -> tuple[float, float]:
        """Area-weighted bias and root mean square error, mm."""
        inside = self.angle <= within
        difference = (self.map.thickness - self.truth)[inside]
        weight = self.area[inside]
        return float(np.average(difference, weights=weight)), float(
            np.sqrt(np.average(difference**2, weights=weight))
        )


def _points(cap: Cap, outer: float):
    spacing = np.array(cap.spacing)
    count = [int(2 * (outer + 2.5) / s) + 1 for s in spacing]
    centre = np.array([(n - 1) / 2 for n in count]) * spacing + np.array(cap.shift)
    at = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(count, spacing, strict=True)], indexing="ij"), -1)
    rotation = np.eye(3) if cap.rotation is None else np.array(cap.rotation)
    return (at - centre) @ rotation, centre, rotation


def voxels(cap: Cap):
    """Bone and cartilage (bool arrays), and the centre and rotation of the shape in the array's mm."""
    outer = cap.radius + cap.thickness + abs(cap.offset)
    at, centre, rotation = _points(cap, outer)
    radius = np.linalg.norm(at, axis=-1)
    cosine = at[..., cap.axis] / np.maximum(radius, 1e-9)
    pole = np.zeros(3)
    pole[cap.axis] = cap.offset
    bone = radius <= cap.radius
    cartilage = (np.linalg.norm(at - pole, axis=-1) <= cap.radius + cap.thickness) & (radius > cap.radius + cap.gap)
    cartilage &= cosine >= np.cos(np.radians(cap.half_angle))
    if cap.hole:
        cartilage &= cosine < np.cos(np.radians(cap.hole))
    return bone, cartilage, centre, rotation


@lru_cache(maxsize=4)
def _surface(shape, data, spacing, points):
    return solid_surface(np.frombuffer(data, dtype=bool).reshape(shape), np.array(spacing), points)


def measure_cap(cap: Cap, points: int = 8000, options=None) -> Measured:
    bone, cartilage, centre, rotation = voxels(cap)
    spacing = np.array(cap.spacing)
    vertices, triangles = _surface(bone.shape, bone.tobytes(), cap.spacing, points)
    result = measure_thickness(vertices, triangles, bone, cartilage, spacing, options)
    direction = (vertices - centre) @ rotation
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    cosine = np.clip(direction[:, cap.axis], -1, 1)
    angle = np.degrees(np.arccos(cosine))
    along = cap.offset * cosine
    outer = cap.radius + cap.thickness
    truth = along + np.sqrt(along**2 + outer**2 - cap.offset**2) - cap.radius - cap.gap
    truth = np.where((angle > cap.half_angle) | (angle < cap.hole), 0.0, truth)
    return Measured(result, angle, truth, point_areas(vertices, triangles), vertices, triangles)


#: The simple knee's labels.
NAMES = {
    "femur": 1,
    "tibia": 2,
    "patella": 3,
    "femoral_cartilage": 4,
    "medial_tibial_cartilage": 5,
    "lateral_tibial_cartilage": 6,
    "patellar_cartilage": 7,
    "fibula": 10,
}


@lru_cache(maxsize=2)
def _knee_array(spacing: tuple) -> np.ndarray:
    """A right knee as (x right, y anterior, z superior) uint8, of balls, cylinders and plateaus."""
    extent = np.array([92.0, 96.0, 116.0])
    count = np.ceil(extent / spacing).astype(int)
    x, y, z = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(count, spacing, strict=True)], indexing="ij", sparse=True
    )

    def ball(cx, cy, cz, r, stretch=1.0):
        return ((x - cx) / stretch) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= r * r

    def condyles(more):
        # The medial condyle is lower and wider; between them, in front, lies the trochlea.
        medial = ball(-21.0, -8.0, 2.0, 20.0 + more, 0.75)
        lateral = ball(21.0, -8.0, 4.0, 19.0 + more, 0.75)
        trochlea = (np.abs(x - 2) < 28) & ((y + 2.0) ** 2 + (z - 8.0) ** 2 <= (19.0 + more) ** 2) & (y > -2)
        return medial | lateral | trochlea

    shaft = ((x - 2) ** 2 + (y + 2) ** 2 <= 14.0**2) & (z > 8) & (z < 56)
    femur = condyles(0.0) | shaft
    femoral = condyles(2.0) & ~femur & (z < 22) & ~((np.abs(x) < 9) & (y < 4))
    tibia = (z < -21.0) & (z > -56) & (((x - 1) / 38.0) ** 2 + ((y + 5) / 22.0) ** 2 <= 1)
    tuberosity = (z < -34) & (z > -56) & ((x - 9) ** 2 + (y - 17) ** 2 <= 8.0**2)
    tibia = tibia | tuberosity
    top = (z >= -21.0) & ~femur & ~femoral
    medial = top & (z < -19.2) & (((x + 21) / 13.0) ** 2 + ((y + 5) / 17.0) ** 2 <= 1)
    lateral = top & (z < -18.6) & (((x - 21) / 13.0) ** 2 + ((y + 5) / 14.0) ** 2 <= 1)
    patella = ((x - 4) / 20.0) ** 2 + ((y - 33) / 9.0) ** 2 + ((z - 14) / 19.0) ** 2 <= 1
    patellar = (((x - 4) / 22.0) ** 2 + ((y - 33) / 11.5) ** 2 + ((z - 14) / 21.0) ** 2 <= 1) & ~patella & (y < 31)
    patellar = patellar & ~femur & ~femoral
    fibula = (z < -30) & (z > -56) & ((x - 34) ** 2 + (y + 26) ** 2 <= 7.0**2)
    result = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=np.uint8)
    for mask, value in (
        (femur, 1), (tibia, 2), (patella, 3), (femoral, 4), (medial, 5), (lateral, 6), (patellar, 7),
        (fibula & ~tibia, 10),
    ):
        result[np.broadcast_to(mask, result.shape)] = value
    return result


def knee(spacing=(0.9, 0.6, 0.6)) -> sitk.Image:
    """The simple right knee, stored RAS."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(_knee_array(spacing).transpose(2, 1, 0)))
    image.SetSpacing(spacing)
    image.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    image.SetOrigin((-12.3, 40.7, -55.1))
    return image


def rotated(image: sitk.Image, axis=(0.3, -0.5, 0.8), degrees: float = 27.0) -> sitk.Image:
    """The same voxels, the patient turned in the scanner: an oblique direction matrix."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    result = sitk.Image(image)
    result.SetDirection((turn @ np.array(image.GetDirection()).reshape(3, 3)).ravel())
    result.SetOrigin(turn @ np.array(image.GetOrigin()))
    return result


def mirrored(image: sitk.Image) -> sitk.Image:
    """The mirror image in the sagittal plane x = 0: the other knee. Its direction matrix stays a rotation."""
    array = sitk.GetArrayFromImage(image)
    direction = np.diag([-1.0, 1.0, 1.0]) @ np.array(image.GetDirection()).reshape(3, 3)
    origin = np.array(image.GetOrigin()) * [-1.0, 1.0, 1.0]
    # The first axis is turned round, so that the matrix is no reflection: files cannot store one everywhere.
    origin = origin + direction[:, 0] * (image.GetSize()[0] - 1) * image.GetSpacing()[0]
    direction[:, 0] *= -1.0
    result = sitk.GetImageFromArray(np.ascontiguousarray(array[:, :, ::-1]))
    result.SetSpacing(image.GetSpacing())
    result.SetDirection(direction.ravel())
    result.SetOrigin(origin)
    return result
