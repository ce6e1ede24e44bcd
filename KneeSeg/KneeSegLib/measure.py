"""From a knee's label map to surfaces with thickness and regions, and the table of outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import vtk

from MRISegSuiteLib.images.canonical import from_canonical
from MRISegSuiteLib.meshes.polydata import to_polydata, transform_mesh
from MRISegSuiteLib.meshes.surfaces import SMOOTHING_MM, sheet_surface, solid_surface

from .anatomy import CanonicalKnee, canonical_knee
from .outcomes import region_outcomes
from .regions import FEMORAL_REGIONS, REGIONS, FemoralBorders, FemurAxes, femoral_borders, femur_axes
from .slices import refine_slices
from .structures import BONE_OF, BY_NAME, UNSPLIT_TIBIAL_CARTILAGE, words
from .thickness import ThicknessMap, ThicknessOptions, measure_thickness

#: Points of each surface.
DEFAULT_POINTS: dict[str, int] = {
    "femur": 30000,
    "tibia": 24000,
    "patella": 8000,
    "fibula": 4000,
    "femoral_cartilage": 20000,
    "medial_tibial_cartilage": 5000,
    "lateral_tibial_cartilage": 5000,
    "patellar_cartilage": 5000,
    "medial_meniscus": 3000,
    "lateral_meniscus": 3000,
}

#: Bones, and the cartilages that they carry.
JOINT_BONES: dict[str, tuple[str, ...]] = {
    bone: tuple(c for c, carrier in BONE_OF.items() if carrier == bone and c != UNSPLIT_TIBIAL_CARTILAGE)
    for bone in ("femur", "tibia", "patella")
}
_REGION_OF = {"medial_tibial_cartilage": 21, "lateral_tibial_cartilage": 22, "patellar_cartilage": 31}


@dataclass(frozen=True)
class MeasureOptions:
    """How a knee is measured.

    Attributes:
        points: structure -> points of its surface; what is not named keeps ``DEFAULT_POINTS``.
        smoothing_mm: kernel of the bones' surfaces.
        thickness: see ``ThicknessOptions``.
        only_measure: make no surfaces but those of the bones that carry thickness.
    """

    points: Mapping[str, int] = field(default_factory=dict)
    smoothing_mm: float = SMOOTHING_MM
    thickness: ThicknessOptions = field(default_factory=ThicknessOptions)
    only_measure: bool = False

    def points_of(self, structure: str) -> int:
        return int(self.points.get(structure, DEFAULT_POINTS[structure]))


@dataclass
class KneeMeasurement:
    """What was measured.

    Attributes:
        side: ``left``, ``right`` or ``unknown``.
        surfaces: structure -> closed ``vtkPolyData`` in LPS mm. Femur, tibia and patella carry the point data
            ``thickness_mm`` (float32), ``region`` (int16, see ``regions.REGIONS``), ``covered`` and ``subchondral``
            (int16, 0 or 1). Not uint8: VTK would take that for colors.
        rows: see ``outcomes.region_outcomes``.
        warnings: sentences for the user.
        labels: the label map on its own grid with the values of ``structures``, tibial cartilage split.
        side_source, side_margin: what the side was found from, and how clearly (1 is the least that decides).
    """

    side: str
    surfaces: dict[str, vtk.vtkPolyData]
    rows: list[dict]
    warnings: list[str]
    side_source: str = ""
    side_margin: float = 0.0
    labels: sitk.Image | None = None


def measure_knee(
    labels: sitk.Image,
    names: Mapping[str, int | Sequence[int]],
    side: str = "auto",
    options: MeasureOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> KneeMeasurement:
    """Surfaces, thickness, regions and outcomes of a knee's label map. Deterministic; the map is not changed.

    Args:
        labels: 3D integer label map, any orientation and side.
        names: structure name -> label, or several labels that make it up together.
        side: ``auto`` (from the anatomy), ``left`` or ``right``.
        options: see ``MeasureOptions``.
        progress: called with a stage and the fraction done, 0..1.

    Returns:
        The measurement. A structure that is absent has no surface and no rows; ``warnings`` says why where a person
        would expect it.

    Raises:
        BadArguments: unknown structure name or side.
        WrongContent: no named structure is in the map, or it is no 3D label map.
    """
    options = options or MeasureOptions()
    report = progress or (lambda stage, fraction: None)
    report("Finding the knee's axes", 0.0)
    knee = canonical_knee(labels, names, side)
    warnings = knee.warnings
    warnings.extend(_absences(knee))
    warnings.extend(_touching_border(knee))
    surfaces: dict[str, vtk.vtkPolyData] = {}
    rows: list[dict] = []

    present = [name for name in DEFAULT_POINTS if name in knee.boxes]
    bones = [name for name in JOINT_BONES if name in knee.boxes]
    others = [] if options.only_measure else [name for name in present if name not in JOINT_BONES]
    total = 3 * len(bones) + len(others) + 1
    done = 1
    for bone in bones:
        report(f"Measuring the cartilage of the {bone}", done / total)
        mesh, more = _measure_bone(knee, bone, options, warnings)
        if mesh is not None:
            surfaces[bone] = mesh
        rows.extend(more)
        done += 3
    for name in others:
        report(f"Making the surface of the {BY_NAME[name].title.lower()}", done / total)
        mesh = _surface_alone(knee, name, options, warnings)
        if mesh is not None:
            surfaces[name] = mesh
        done += 1
    report("Measured", 1.0)
    return KneeMeasurement(
        side=knee.side,
        surfaces={name: surfaces[name] for name in DEFAULT_POINTS if name in surfaces},
        rows=rows,
        warnings=warnings,
        side_source=knee.side_finding.source,
        side_margin=knee.side_finding.margin,
        labels=_labels_on_grid(knee, labels),
    )


def _labels_on_grid(knee: CanonicalKnee, like: sitk.Image) -> sitk.Image:
    """The knee's label map back on the grid that it came from (axes permuted and flipped, nothing resampled)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(knee.labels.transpose(2, 1, 0)))
    # The matrix holds what rounding took from the spacing.
    length = np.linalg.norm(knee.to_lps[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in knee.spacing * length])
    image.SetDirection([float(v) for v in (knee.to_lps[:3, :3] / length).ravel()])
    image.SetOrigin([float(v) for v in knee.to_lps[:3, 3]])
    return from_canonical(image, like)


def _absences(knee: CanonicalKnee) -> list[str]:
    said = []
    for bone, cartilages in JOINT_BONES.items():
        for cartilage in cartilages:
            if cartilage in knee.boxes and bone not in knee.boxes:
                said.append(f"The {bone} is not labelled: the thickness of the {words(cartilage)} cannot be measured.")
            if bone in knee.boxes and cartilage not in knee.boxes:
                said.append(f"There is no {words(cartilage)} in the label map: it is not measured.")
    return said


def _touching_border(knee: CanonicalKnee) -> list[str]:
    """Cartilage that reaches the border of the image may go on outside (bones always do)."""
    cut = []
    for name, box in knee.boxes.items():
        if BY_NAME[name].tissue == "bone":
            continue
        if any(s.start == 0 or s.stop == n for s, n in zip(box, knee.labels.shape, strict=True)):
            cut.append(name)
    return [f"The {words(name)} touches the border of the image: it may be cut off." for name in sorted(cut)]


def _joint_box(knee: CanonicalKnee, names: Sequence[str]) -> tuple[slice, slice, slice]:
    """Smallest box of the structures, three voxels wider where the array allows."""
    box = []
    for axis in range(3):
        start = min(knee.boxes[n][axis].start for n in names)
        stop = max(knee.boxes[n][axis].stop for n in names)
        box.append(slice(max(start - 3, 0), min(stop + 3, knee.labels.shape[axis])))
    return tuple(box)


def _measure_bone(knee: CanonicalKnee, bone: str, options: MeasureOptions, warnings: list[str]):
    cartilages = [c for c in JOINT_BONES[bone] if c in knee.boxes]
    box = _joint_box(knee, [bone, *cartilages])
    start = np.array([s.start for s in box])
    bone_mask = knee.mask(bone, box)
    masks = {c: knee.mask(c, box) for c in cartilages}
    fine_bone, fine_masks, spacing = refine_slices(bone_mask, masks, knee.spacing)
    offset = start * knee.spacing
    try:
        points, triangles = solid_surface(fine_bone, spacing, options.points_of(bone), options.smoothing_mm)
    except ValueError as error:
        warnings.append(f"The {bone} has no surface: {error}")
        return None, []
    count = len(points)
    thickness = np.zeros(count, dtype=np.float32)
    region = np.zeros(count, dtype=np.int16)
    covered = np.zeros(count, dtype=bool)
    subchondral = np.zeros(count, dtype=bool)
    rows = []
    for cartilage in cartilages:
        result = measure_thickness(points, triangles, fine_bone, fine_masks[cartilage], spacing, options.thickness)
        if not result.covered.any():
            warnings.append(f"The {words(cartilage)} does not lie on the {bone}: its thickness is not measured.")
            continue
        _warn_of_gaps(cartilage, bone, result, warnings)
        if cartilage == "femoral_cartilage":
            numbers, femoral_rows = _femoral_regions(knee, bone_mask, masks, start, points + offset, result, warnings)
            rows.extend(femoral_rows)
        else:
            numbers = np.full(count, _REGION_OF[cartilage])
            rows.extend(_outcomes(cartilage, "whole", result, np.ones(count, bool), masks[cartilage], knee.spacing))
        # Where two plateaus meet, the point belongs to the one with more cartilage over it.
        mine = result.subchondral & (~subchondral | (result.thickness > thickness))
        thickness[mine] = result.thickness[mine]
        covered[mine] = result.covered[mine]
        region[mine] = numbers[mine]
        subchondral |= result.subchondral
    moved, cells = transform_mesh(points + offset, triangles, knee.to_lps)
    data = {"thickness_mm": thickness, "region": region, "covered": covered, "subchondral": subchondral}
    return to_polydata(moved, cells, data), rows


def _warn_of_gaps(cartilage: str, bone: str, result: ThicknessMap, warnings: list[str]) -> None:
    area = result.covered_area.sum()
    if result.gap_area > 0.05 * area:
        warnings.append(
            f"Under {100 * result.gap_area / area:.0f} % of the {words(cartilage)} there is an unlabelled gap to the "
            f"{bone}; it is bridged and not counted as thickness."
        )


def _outcomes(structure, region, result, inside, mask, spacing) -> list[dict]:
    volume = float(np.count_nonzero(mask)) * float(np.prod(spacing))
    return region_outcomes(structure, region, result, inside, volume)


def _femoral_regions(knee, bone_mask, masks, start, points, result: ThicknessMap, warnings):
    """Region number of each point of the femur, and the rows of the regions."""
    mask = masks["femoral_cartilage"]
    everywhere = np.ones(len(points), dtype=bool)
    rows = _outcomes("femoral_cartilage", "whole", result, everywhere, mask, knee.spacing)
    axes: FemurAxes = femur_axes(bone_mask, knee.spacing, start, points)
    warnings.extend(axes.warnings)
    borders: FemoralBorders | None = femoral_borders(axes.coordinates(points[result.subchondral]), axes)
    if borders is None:
        warnings.append("No intercondylar notch is seen in the femoral cartilage: its regions are not measured.")
        return np.zeros(len(points), dtype=int), rows
    numbers = borders.region(axes.coordinates(points))
    voxels = np.argwhere(mask)
    of_voxel = borders.region(axes.coordinates((voxels + start) * knee.spacing))
    size = float(np.prod(knee.spacing))
    for number in FEMORAL_REGIONS:
        volume = float(np.count_nonzero(of_voxel == number)) * size
        rows.extend(
            region_outcomes("femoral_cartilage", REGIONS[number], result, numbers == number, volume)
        )
    return numbers, rows


def _surface_alone(knee: CanonicalKnee, name: str, options: MeasureOptions, warnings: list[str]):
    box = _joint_box(knee, [name])
    mask, _, spacing = refine_slices(knee.mask(name, box), {}, knee.spacing)
    make = solid_surface if BY_NAME[name].tissue == "bone" else sheet_surface
    try:
        points, triangles = make(mask, spacing, options.points_of(name))
    except ValueError as error:
        warnings.append(f"The {words(name)} has no surface: {error}")
        return None
    offset = np.array([s.start for s in box]) * knee.spacing
    return to_polydata(*transform_mesh(points + offset, triangles, knee.to_lps))
