"""The tissues around and inside the labeled structures: what the label maps lack and an MR image shows.

Muscle bellies, fat, skin, menisci, ligaments, joint fluid, fibula, vessels, cortical bone, cartilage zones and
cartilage loss are laid out from distances to the labeled structures and smooth random fields. Shapes are plausible,
not anatomically exact: the network has to learn what is NOT bone and cartilage in many disguises.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import SimpleITK as sitk

from . import anatomy_labels as al
from .noise import smooth_field


class Tissue(IntEnum):
    AIR = 0
    SKIN = 1
    SUBCUTANEOUS_FAT = 2
    MUSCLE_A = 3
    MUSCLE_B = 4
    MUSCLE_C = 5
    FASCIA = 6
    INTERMUSCULAR_FAT = 7
    JOINT_FAT = 8
    SYNOVIUM = 9
    FLUID = 10
    MENISCUS = 11
    LIGAMENT = 12
    VESSEL = 13
    CORTICAL_BONE = 14
    FEMUR_MARROW = 15
    TIBIA_MARROW = 16
    PATELLA_MARROW = 17
    FIBULA_MARROW = 18
    MARROW_LESION = 19
    CARTILAGE_DEEP = 20
    CARTILAGE_MIDDLE = 21
    CARTILAGE_SUPERFICIAL = 22


@dataclass
class TissueMap:
    """A virtual knee before imaging.

    Attributes:
        tissue: uint8 (D, H, W) of Tissue, canonical order (slices, rows S to I, columns A to P).
        target: uint8 (D, H, W), the truth to be segmented (values of ``anatomy_labels``).
        spacing: mm, same order.
    """

    tissue: np.ndarray
    target: np.ndarray
    spacing: tuple[float, float, float]


def _distance(mask: np.ndarray, spacing) -> np.ndarray:
    """Signed distance in mm, negative inside; far away (999) where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, 999.0, np.float32)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(s) for s in spacing[::-1]])
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True)).astype(np.float32)


def _segment_distance(points, start, end) -> np.ndarray:
    """Distance in mm of the points (three coordinate arrays) to a line segment."""
    direction = np.asarray(end, np.float32) - np.asarray(start, np.float32)
    length = float((direction**2).sum()) + 1e-6
    t = sum((p - s) * d for p, s, d in zip(points, start, direction)) / length
    t = np.clip(t, 0, 1)
    return np.sqrt(sum((p - s - t * d) ** 2 for p, s, d in zip(points, start, direction)))


def _to_fine(field: np.ndarray, shape) -> np.ndarray:
    """Bilinear enlargement of a half-resolution field within each slice."""
    import torch
    import torch.nn.functional as functional

    return functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(field, np.float32))[:, None],
        size=shape[1:],
        mode="bilinear",
        align_corners=False,
    )[:, 0].numpy()


def _lose_cartilage(labels: np.ndarray, bone_distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Thin or remove cartilage in places; returns the mask of what was lost."""
    if rng.random() < 0.45:
        return np.zeros(labels.shape, bool)
    shape = labels.shape
    field = smooth_field(shape, (25, 45, 45), rng)
    cartilage = labels >= al.FEMORAL_CARTILAGE
    if rng.random() < 0.25:
        # Arthritis takes a whole compartment, on both sides of the joint.
        places = np.argwhere(cartilage[::2, ::4, ::4]) * (2, 4, 4)
        if len(places):
            middle, half = places[rng.integers(len(places))], rng.uniform((12, 25, 25), (30, 70, 70))
            grid = np.ogrid[tuple(slice(n) for n in shape)]
            field += 3 * np.exp(-sum(((g - m) / h) ** 2 for g, m, h in zip(grid, middle, half)).astype(np.float32))
    depth = rng.choice([0.0, rng.uniform(0.0, 1.6)])
    keep = np.where(field > rng.uniform(0.8, 1.8), depth, 9.0).astype(np.float32)
    return cartilage & (bone_distance > keep)


def build_tissues(labels: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator) -> TissueMap:
    """Lay out all tissues of a virtual knee.

    Args:
        labels: uint8 (D, H, W), canonical order, values of ``anatomy_labels``; spacing about 0.7 x 0.36 x 0.36 mm.
        spacing: mm, same order.
        rng: source of randomness.

    Returns:
        TissueMap of the same shape.
    """
    shape = labels.shape
    small = labels[:, ::2, ::2]
    half = (spacing[0], spacing[1] * 2, spacing[2] * 2)
    axes = [np.arange(n, dtype=np.float32) * s for n, s in zip(small.shape, half)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    points = (z, y, x)

    def centre(value):
        found = np.argwhere(small[::2, ::3, ::3] == value)
        return (found.mean(0) * (2, 3, 3) * half) if len(found) else None

    joint = centre(al.TIBIAL_CARTILAGE)
    if joint is None:
        joint = np.array([n * s / 2 for n, s in zip(small.shape, half)])
    patella = centre(al.PATELLA)
    bones = {b: _distance(small == b, half) for b in (al.FEMUR, al.TIBIA, al.PATELLA)}
    with_cartilage = {
        b: _distance((small == b) | (small == c), half)
        for b, c in (
            (al.FEMUR, al.FEMORAL_CARTILAGE),
            (al.TIBIA, al.TIBIAL_CARTILAGE),
            (al.PATELLA, al.PATELLAR_CARTILAGE),
        )
    }
    to_cartilage = _distance(small >= al.FEMORAL_CARTILAGE, half)
    any_bone = np.minimum(np.minimum(bones[al.FEMUR], bones[al.TIBIA]), bones[al.PATELLA])

    # --- fibula: lateral and posterior of the tibia; canonical slices run to the right, lateral in a right knee.
    fibula = None
    if rng.random() < 0.85:
        tibia = np.argwhere(small[:, ::3, ::3] == al.TIBIA) * (1, 3, 3) * half
        low = tibia[tibia[:, 1] > joint[1] + 15]
        if len(low):
            head = np.array(
                [
                    np.percentile(low[:, 0], 95) + rng.uniform(-4, 6),
                    joint[1] + rng.uniform(14, 26),
                    np.percentile(low[:, 2], 80) + rng.uniform(-6, 8),
                ]
            )
            foot = head + (rng.uniform(-6, 2), 120, rng.uniform(-8, 10))
            shaft = _segment_distance(points, head, foot) - rng.uniform(4.5, 7)
            bulb = np.sqrt(sum(((p - h) / w) ** 2 for p, h, w in zip(points, head, (1.0, 1.3, 1.1)))) - rng.uniform(
                8, 12
            )
            fibula = np.minimum(shaft, bulb) + 0.8 * smooth_field(small.shape, 14, rng)

    # --- skin and body
    behind = 1 / (1 + np.exp(-(x - joint[2] - rng.uniform(-5, 10)) / 10.0))
    above = 1 / (1 + np.exp((y - joint[1] + 30) / 15.0))
    front_mm, back_mm = rng.uniform(7, 22), rng.uniform(32, 75)
    reach = (front_mm * (1 - behind) + back_mm * behind) * (1 + rng.uniform(0, 2.0) * above)
    reach = reach * np.clip(1 + 0.18 * smooth_field(small.shape, 60, rng), 0.5, 1.6)
    outside = any_bone - reach
    # Beyond the last slice with bone the distance grows in every direction; keep a leg there.
    outside = np.minimum(
        outside,
        _segment_distance((z * 0, y * 0, x), (0, 0, joint[2]), (0, 0, joint[2] + back_mm * 0.6))
        + np.abs(z - joint[0]) * 0.9
        - rng.uniform(38, 62),
    )
    outside += 1.5 * smooth_field(small.shape, 25, rng)
    skin_mm, fat_mm = rng.uniform(1.0, 2.4), rng.uniform(2, 18)
    fat_depth = fat_mm * np.clip(1 + 0.35 * smooth_field(small.shape, 70, rng), 0.3, 2) * (0.5 + 0.5 * behind)
    tissue = np.full(small.shape, Tissue.AIR, np.uint8)
    body = outside < 0
    tissue[body] = Tissue.SUBCUTANEOUS_FAT
    tissue[body & (outside > -skin_mm)] = Tissue.SKIN
    deep = outside < -(skin_mm + fat_depth)

    # --- muscle bellies: Voronoi cells stretched along the leg, with fascia or fat between them
    cells, gap, kinds = _muscle_cells(small.shape, half, joint, rng)
    bellies = deep & (to_cartilage > rng.uniform(8, 18) + 3 * smooth_field(small.shape, 20, rng))
    tissue[deep] = Tissue.JOINT_FAT
    tissue[bellies] = kinds[cells[bellies]]
    line = bellies & (gap < rng.uniform(0.5, 2.6) * np.clip(1 + 0.8 * smooth_field(small.shape, 20, rng), 0, 3))
    tissue[line] = rng.choice([Tissue.FASCIA, Tissue.INTERMUSCULAR_FAT, Tissue.INTERMUSCULAR_FAT])

    # --- the joint's own soft tissues
    near = deep & ~bellies
    strands = smooth_field(small.shape, (6, 9, 9), rng)
    tissue[near & (strands > rng.uniform(0.5, 1.6)) & (to_cartilage > rng.uniform(0, 4))] = Tissue.SYNOVIUM
    tissue[near & (strands < -rng.uniform(1.4, 2.6))] = Tissue.LIGAMENT
    wet = smooth_field(small.shape, (10, 12, 12), rng)
    tissue[near & (to_cartilage < rng.uniform(2, 9)) & (wet > rng.uniform(0.6, 2.2))] = Tissue.FLUID
    if patella is not None:
        _extensor_mechanism(tissue, points, deep, patella, joint, bones[al.FEMUR], rng)
    _cruciates_and_vessels(tissue, points, deep, joint, bones, rng)
    reach = rng.choice([6.0, 25.0])
    _effusions(tissue, points, deep & (any_bone > 0) & (any_bone < reach) & (to_cartilage > 0), rng)
    meniscus = _menisci(small, points, joint, with_cartilage, rng)
    if fibula is not None:
        tissue[(fibula < 0) & (bones[al.TIBIA] > 0.7)] = Tissue.FIBULA_MARROW
        tissue[(fibula < 0) & (fibula > -rng.uniform(0.8, 2.2)) & (bones[al.TIBIA] > 0.7)] = Tissue.CORTICAL_BONE

    # --- to the label map's own resolution; thin layers are decided there
    tissue = tissue.repeat(2, 1).repeat(2, 2)[:, : shape[1], : shape[2]]
    fine = {b: _to_fine(d, shape) for b, d in with_cartilage.items()}
    film_mm, patella_film_mm = rng.uniform(0.4, 2.6), rng.uniform(0.4, 3.0)
    film = (fine[al.FEMUR] + fine[al.TIBIA] < film_mm) | (fine[al.FEMUR] + fine[al.PATELLA] < patella_film_mm)
    # Only fluid takes the place of cartilage or touches it: anything as bright as cartilage would hide the truth.
    tissue[film] = Tissue.FLUID
    tissue[_to_fine(meniscus, shape) < 0] = Tissue.MENISCUS
    del film, fine, with_cartilage

    target = labels.copy()
    bone_depth = {b: _to_fine(d, shape) for b, d in bones.items()}
    any_depth = np.minimum(np.minimum(bone_depth[al.FEMUR], bone_depth[al.TIBIA]), bone_depth[al.PATELLA])
    lost = _lose_cartilage(labels, any_depth, rng)
    target[lost] = 0
    cartilage = target >= al.FEMORAL_CARTILAGE
    tissue[lost] = Tissue.FLUID
    tissue[cartilage] = Tissue.CARTILAGE_MIDDLE
    tissue[cartilage & (any_depth < rng.uniform(0.3, 0.9))] = Tissue.CARTILAGE_DEEP
    tissue[cartilage & (any_depth > rng.uniform(1.2, 2.2))] = Tissue.CARTILAGE_SUPERFICIAL

    rows = np.arange(shape[1], dtype=np.float32)[None, :, None] * spacing[1]
    shaft = np.clip((np.abs(rows - joint[1]) - 35) / 25, 0, 1)  # cortex is thick in the shafts, thin at the joint
    # The subchondral plate is often too thin to be seen, and bone then ends where the fat around it begins.
    cortex = rng.choice([0.0, rng.uniform(0.2, 0.9)], p=[0.35, 0.65]) + rng.uniform(0.0, 3.5) * shaft
    lesion = smooth_field(shape, (20, 40, 40), rng) > rng.uniform(1.6, 3.2)
    for bone, marrow in (
        (al.FEMUR, Tissue.FEMUR_MARROW),
        (al.TIBIA, Tissue.TIBIA_MARROW),
        (al.PATELLA, Tissue.PATELLA_MARROW),
    ):
        inside = target == bone
        depth = bone_depth[bone]
        tissue[inside] = marrow
        tissue[inside & lesion & (depth > -rng.uniform(6, 14))] = Tissue.MARROW_LESION
        tissue[inside & (depth > -cortex)] = Tissue.CORTICAL_BONE
    return TissueMap(tissue, target, tuple(spacing))


def _muscle_cells(shape, spacing, joint, rng):
    """Cell number, distance to the cell border (mm) and the tissue of each cell, at half resolution."""
    from scipy.spatial import cKDTree

    coarse = tuple((n + 1) // 2 for n in shape)
    axes = [np.arange(n, dtype=np.float32) * 2 * s for n, s in zip(coarse, spacing)]
    stretch = np.array([1, rng.uniform(0.18, 0.45), 1], np.float32)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    for axis in range(3):
        grid[..., axis] += 4 * smooth_field(coarse, 14, rng)
    count = int(rng.integers(12, 34))
    seeds = rng.uniform(0, 1, (count, 3)) * [n * 2 * s for n, s in zip(coarse, spacing)]
    distance, index = cKDTree(seeds * stretch).query((grid * stretch).reshape(-1, 3), k=2, workers=1)
    gap = (distance[:, 1] - distance[:, 0]).reshape(coarse).astype(np.float32)
    cell = index[:, 0].reshape(coarse)
    muscles = [Tissue.MUSCLE_A, Tissue.MUSCLE_B, Tissue.MUSCLE_C]
    kinds = rng.choice(
        [*muscles, Tissue.INTERMUSCULAR_FAT, Tissue.LIGAMENT], count, p=[0.26, 0.25, 0.23, 0.2, 0.06]
    ).astype(np.uint8)
    # In front of the joint line there is fat and capsule rather than muscle.
    front = (seeds[:, 2] < joint[2]) & (np.abs(seeds[:, 1] - joint[1]) < 30)
    kinds[front & (rng.random(count) < 0.6)] = Tissue.INTERMUSCULAR_FAT

    def enlarge(field):
        for axis in range(3):
            field = field.repeat(2, axis)
        return field[: shape[0], : shape[1], : shape[2]]

    return enlarge(cell), enlarge(gap), kinds


def _extensor_mechanism(tissue, points, deep, patella, joint, to_femur, rng):
    """Patellar and quadriceps tendon, Hoffa's fat pad and the suprapatellar pouch."""
    top, bottom = patella + (0, -14, -1), patella + (0, 14, -1)
    tuberosity = np.array(
        [patella[0] + rng.uniform(-5, 3), joint[1] + rng.uniform(28, 45), patella[2] + rng.uniform(2, 10)]
    )
    thigh = top + (rng.uniform(-6, 6), -60, rng.uniform(-3, 8))
    flat = (0.35, 1, 1)  # tendons are wide from side to side
    squeezed = [p * f for p, f in zip(points, flat)]
    wobble = 6 * smooth_field(tissue.shape, 14, rng)
    hoffa = deep & (points[2] > bottom[2] + wobble) & (points[2] < joint[2] - wobble) & (tissue != Tissue.SYNOVIUM)
    hoffa &= (points[1] > patella[1] + 5 + wobble) & (points[1] < joint[1] + 25 - wobble)
    hoffa &= np.abs(points[0] - patella[0]) < 26 + wobble
    tissue[hoffa] = Tissue.JOINT_FAT
    for a, b, thick in ((bottom, tuberosity, rng.uniform(1.8, 3.2)), (top, thigh, rng.uniform(2.2, 4.5))):
        tendon = _segment_distance(squeezed, np.array(a) * flat, np.array(b) * flat) < thick
        tissue[tendon & (tissue != Tissue.AIR)] = Tissue.LIGAMENT
    if rng.random() < 0.6:
        pouch = (
            (to_femur < rng.uniform(1, 8))
            & (points[1] < patella[1] - 4)
            & (points[1] > patella[1] - rng.uniform(18, 50))
        )
        pouch = pouch & (points[2] < joint[2] - 5) & (np.abs(points[0] - patella[0]) < rng.uniform(10, 24))
        tissue[pouch & deep] = Tissue.FLUID


def _cruciates_and_vessels(tissue, points, deep, joint, bones, rng):
    """Dark and bright oblique bands in the notch; popliteal vessels behind the joint."""
    for start, end in (((-3, 4, -14), (6, -26, 12)), ((3, 8, 20), (-5, -18, -4))):
        a = joint + np.array(start) + rng.normal(0, 3, 3)
        b = joint + np.array(end) + rng.normal(0, 3, 3)
        band = (_segment_distance(points, a, b) < rng.uniform(2.5, 6.5)) & deep
        tissue[band] = Tissue.LIGAMENT if rng.random() < 0.6 else Tissue.SYNOVIUM
    for _ in range(int(rng.integers(1, 4))):
        a = joint + (rng.uniform(-12, 12), -80, rng.uniform(22, 45))
        b = joint + (rng.uniform(-12, 12), 80, rng.uniform(22, 45))
        tissue[(_segment_distance(points, a, b) < rng.uniform(1.5, 4)) & deep] = Tissue.VESSEL


def _effusions(tissue, points, where, rng):
    """Bright pools beside the bones: distended recesses, bursae, cysts. They are large and never bone."""
    places = np.argwhere(where[::2, ::3, ::3]) * (2, 3, 3)
    if not len(places) or rng.random() < 0.35:
        return
    step = [float(p.ravel()[1] - p.ravel()[0]) for p in points]
    edge = 0.3 * smooth_field(tissue.shape, (5, 8, 8), rng)
    for _ in range(int(rng.integers(1, 5))):
        middle, half = places[rng.integers(len(places))] * step, rng.uniform((4, 4, 3), (14, 22, 16))
        pool = sum(((p - m) / h) ** 2 for p, m, h in zip(points, middle, half)) < 1 + edge
        tissue[pool & where] = rng.choice([Tissue.FLUID, Tissue.FLUID, Tissue.SYNOVIUM])


def _menisci(small, points, joint, with_cartilage, rng):
    """Signed field, negative inside the menisci: wedges between the condyles and the rim of each plateau."""
    plateau = np.argwhere(small == al.TIBIAL_CARTILAGE)
    field = np.full(small.shape, 9.0, np.float32)
    if len(plateau) < 200 or rng.random() < 0.05:
        return field
    step = [float(p.ravel()[1] - p.ravel()[0]) for p in points]
    plateau = plateau * step
    gap = with_cartilage[al.FEMUR] + with_cartilage[al.TIBIA]
    thick, inner, outer = rng.uniform(5.5, 9), rng.uniform(0.55, 0.8), rng.uniform(1.05, 1.35)
    for part, notch in ((plateau[plateau[:, 0] < joint[0]], 1), (plateau[plateau[:, 0] >= joint[0]], -1)):
        if len(part) < 50:
            continue
        middle = part.mean(0)
        width = np.maximum(np.percentile(np.abs(part - middle), 97, axis=0), 4.0)
        radius = np.sqrt(((points[0] - middle[0]) / width[0]) ** 2 + ((points[2] - middle[2]) / width[2]) ** 2)
        ring = np.maximum(inner - radius, radius - outer) * 10
        # open towards the notch: the horns stop short of the middle
        towards = notch * (points[0] - middle[0]) / width[0] - np.abs(points[2] - middle[2]) / width[2] * rng.uniform(
            0.9, 1.6
        )
        ring = np.maximum(ring, (towards - 0.25) * 8)
        wedge = np.maximum(ring, gap - thick)
        wedge = np.maximum(wedge, np.abs(points[1] - middle[1]) - 14)
        field = np.minimum(field, wedge)
    return field
