"""One bone with the cartilages on it: its surface, their thickness, and the regions and voxels of each cartilage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from MRISegSuiteLib.meshes.surface_fields import point_normals
from MRISegSuiteLib.meshes.surfaces import solid_surface

from .anatomy import CanonicalKnee
from .curvature import articular_curvature, curvature_row
from .layers import CartilageVoxels, layer_names, place_voxels
from .outcomes import region_outcomes, volume_row
from .regions import FEMORAL_REGIONS, REGIONS, femoral_borders, femur_axes
from .slices import refine_slices
from .structures import BONE_OF, UNSPLIT_TIBIAL_CARTILAGE, words
from .subregions import PlateauAxes, femoral_subregions, plateau_axes, subregions_of, tibial_subregions
from .thickness import ThicknessMap, ThicknessOptions, measure_thickness

#: Bones, and the cartilages that they carry.
JOINT_BONES: dict[str, tuple[str, ...]] = {
    bone: tuple(c for c, carrier in BONE_OF.items() if carrier == bone and c != UNSPLIT_TIBIAL_CARTILAGE)
    for bone in ("femur", "tibia", "patella")
}
_REGION_OF = {"medial_tibial_cartilage": 21, "lateral_tibial_cartilage": 22, "patellar_cartilage": 31}


@dataclass(frozen=True)
class MeasuredCartilage:
    """A cartilage on its bone.

    Attributes:
        thickness: one value a point of the bone's surface.
        regions: name -> (N,) bool, the points of each region; ``whole`` first, then the legacy regions of the femur,
            then the subregions.
        voxels: its voxels, and the bone point under each.
        curvature: of the articular surface over each point, 1/m, NaN where it is not known; None: not measured.
    """

    thickness: ThicknessMap
    regions: dict[str, np.ndarray]
    voxels: CartilageVoxels
    curvature: np.ndarray | None = None

    def rows(self, structure: str, voxel_mm3: float, layers: int) -> list[dict]:
        """Outcomes of every region, and the volume of each layer in it."""
        rows = []
        layer = self.voxels.layer(layers)
        for name, inside in self.regions.items():
            here = inside[self.voxels.vertex]
            rows.extend(
                region_outcomes(structure, name, self.thickness, inside, np.count_nonzero(here) * voxel_mm3)
            )
            if self.curvature is not None:
                rows.append(curvature_row(structure, name, self.curvature, self.thickness, inside))
            if layers > 1:
                for n, text in enumerate(layer_names(layers)):
                    volume = np.count_nonzero(here & (layer == n)) * voxel_mm3
                    rows.append(volume_row(structure, name, volume, f"VC_{text}"))
        return rows


@dataclass
class MeasuredBone:
    """A bone's surface in canonical mm, what lies on it, and point data for the scene.

    Attributes:
        points, triangles: closed surface.
        cartilages: name -> what was measured; a cartilage that does not lie on the bone is not there.
        point_data: ``thickness_mm``, ``region``, ``subregion``, ``covered``, ``subchondral``, one value a point.
        plateaus: of a tibia with cartilage.
    """

    points: np.ndarray
    triangles: np.ndarray
    cartilages: dict[str, MeasuredCartilage]
    point_data: dict[str, np.ndarray]
    plateaus: PlateauAxes | None = None


def joint_box(knee: CanonicalKnee, names: Sequence[str]) -> tuple[slice, slice, slice]:
    """Smallest box of the structures, three voxels wider where the array allows."""
    box = []
    for axis in range(3):
        start = min(knee.boxes[n][axis].start for n in names)
        stop = max(knee.boxes[n][axis].stop for n in names)
        box.append(slice(max(start - 3, 0), min(stop + 3, knee.labels.shape[axis])))
    return tuple(box)


def measure_bone(
    knee: CanonicalKnee, bone: str, points: int, smoothing_mm: float, options: ThicknessOptions, warnings: list[str]
) -> MeasuredBone | None:
    """Surface, thickness, regions and voxels of a bone; None (and a warning) when it has no surface."""
    names = [c for c in JOINT_BONES[bone] if c in knee.boxes]
    box = joint_box(knee, [bone, *names])
    start = np.array([s.start for s in box])
    mask = knee.mask(bone, box)
    masks = {c: knee.mask(c, box) for c in names}
    fine, fine_masks, spacing = refine_slices(mask, masks, knee.spacing)
    try:
        local, triangles = solid_surface(fine, spacing, points, smoothing_mm)
    except ValueError as error:
        warnings.append(f"The {bone} has no surface: {error}")
        return None
    places = local + start * knee.spacing
    maps: dict[str, ThicknessMap] = {}
    for name in names:
        result = measure_thickness(local, triangles, fine, fine_masks[name], spacing, options)
        if not result.covered.any():
            warnings.append(f"The {words(name)} does not lie on the {bone}: its thickness is not measured.")
            continue
        _warn_of_gaps(name, bone, result, warnings)
        maps[name] = result
    normals = point_normals(places, triangles)
    axes = None
    if bone == "femur":
        numbers = _femoral_numbers(knee, mask, start, places, maps, warnings)
    elif bone == "tibia":
        if maps:
            axes = plateau_axes(places, normals, {n: m.subchondral_area for n, m in maps.items()})
        numbers = _tibial_numbers(places, axes, maps, warnings)
    else:
        numbers = {name: (np.full(len(places), _REGION_OF[name]), np.zeros(len(places), int)) for name in maps}
    cartilages = {}
    for name, result in maps.items():
        regions = _regions(name, *numbers[name])
        _warn_of_absent(name, result, regions, warnings)
        voxels = place_voxels(masks[name], start, knee.spacing, places, normals, result)
        curvature = articular_curvature(places, triangles, normals, result)
        cartilages[name] = MeasuredCartilage(result, regions, voxels, curvature)
    return MeasuredBone(places, triangles, cartilages, _point_data(len(places), maps, numbers), axes)


def _femoral_numbers(knee, mask, start, points, maps: Mapping[str, ThicknessMap], warnings):
    """Region and subregion of each point of the femur; zeros where the femur's landmarks are not seen."""
    nothing = np.zeros(len(points), dtype=int)
    if "femoral_cartilage" not in maps:
        return {}
    axes = femur_axes(mask, knee.spacing, start, points)
    warnings.extend(axes.warnings)
    subchondral = maps["femoral_cartilage"].subchondral
    coordinates = axes.coordinates(points)
    borders = femoral_borders(coordinates[subchondral], axes)
    if borders is None:
        warnings.append("No intercondylar notch is seen in the femoral cartilage: its regions are not measured.")
        return {"femoral_cartilage": (nothing, nothing)}
    regions = borders.region(coordinates)
    return {"femoral_cartilage": (regions, femoral_subregions(coordinates, regions, subchondral, borders.notch))}


def _tibial_numbers(points, axes: PlateauAxes | None, maps: Mapping[str, ThicknessMap], warnings):
    if axes is None:
        return {}
    if len(maps) == 1:
        warnings.append("Only one tibial plateau is there: its subregions follow the image's axes.")
    subregions = tibial_subregions(points, axes, {n: m.subchondral_area for n, m in maps.items()})
    return {name: (np.full(len(points), _REGION_OF[name]), subregions[name]) for name in maps}


def _regions(structure: str, numbers: np.ndarray, subregions: np.ndarray) -> dict[str, np.ndarray]:
    regions = {"whole": np.ones(len(numbers), dtype=bool)}
    if structure == "femoral_cartilage" and numbers.any():
        regions |= {REGIONS[number]: numbers == number for number in FEMORAL_REGIONS}
    if subregions.any():
        regions |= {name: subregions == number for number, name in subregions_of(structure).items()}
    return regions


def _warn_of_absent(structure: str, result: ThicknessMap, regions, warnings: list[str]) -> None:
    empty = [name for name, inside in regions.items() if not (inside & result.subchondral).any()]
    if empty:
        warnings.append(
            f"The {words(structure)} has no joint surface in {', '.join(empty)}: nothing can be measured there "
            "(worn to the border, or outside the image)."
        )


def _warn_of_gaps(cartilage: str, bone: str, result: ThicknessMap, warnings: list[str]) -> None:
    area = result.covered_area.sum()
    if result.gap_area > 0.05 * area:
        warnings.append(
            f"Under {100 * result.gap_area / area:.0f} % of the {words(cartilage)} there is an unlabelled gap to the "
            f"{bone}; it is bridged and not counted as thickness."
        )


def _point_data(count: int, maps: Mapping[str, ThicknessMap], numbers) -> dict[str, np.ndarray]:
    data = {
        "thickness_mm": np.zeros(count, dtype=np.float32),
        "region": np.zeros(count, dtype=np.int16),
        "subregion": np.zeros(count, dtype=np.int16),
        "covered": np.zeros(count, dtype=bool),
        "subchondral": np.zeros(count, dtype=bool),
    }
    for name, result in maps.items():
        # Where two plateaus meet, the point belongs to the one with more cartilage over it.
        mine = result.subchondral & (~data["subchondral"] | (result.thickness > data["thickness_mm"]))
        data["thickness_mm"][mine] = result.thickness[mine]
        data["covered"][mine] = result.covered[mine]
        data["region"][mine], data["subregion"][mine] = (n[mine] for n in numbers[name])
        data["subchondral"] |= result.subchondral
    return data
