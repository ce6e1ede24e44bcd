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
from .joint import JOINT_BONES, MeasuredBone, joint_box, measure_bone
from .layers import DEFAULT_LAYERS
from .menisci import meniscus_rows
from .slices import refine_slices
from .structures import BY_NAME, words
from .thickness import ThicknessOptions

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


@dataclass(frozen=True)
class MeasureOptions:
    """How a knee is measured.

    Attributes:
        points: structure -> points of its surface; what is not named keeps ``DEFAULT_POINTS``.
        smoothing_mm: kernel of the bones' surfaces.
        thickness: see ``ThicknessOptions``.
        layers: number of depth layers between bone and joint surface.
        surfaces: False finds the side and splits the tibial cartilage, and makes no surface and measures nothing.
        only_measure: make no surfaces but those of the bones that carry thickness.
    """

    points: Mapping[str, int] = field(default_factory=dict)
    smoothing_mm: float = SMOOTHING_MM
    thickness: ThicknessOptions = field(default_factory=ThicknessOptions)
    layers: int = DEFAULT_LAYERS
    surfaces: bool = True
    only_measure: bool = False

    def points_of(self, structure: str) -> int:
        return int(self.points.get(structure, DEFAULT_POINTS[structure]))


@dataclass
class KneeMeasurement:
    """What was measured.

    Attributes:
        side: ``left``, ``right`` or ``unknown``.
        surfaces: structure -> closed ``vtkPolyData`` in LPS mm. Femur, tibia and patella carry the point data
            ``thickness_mm`` (float32), ``region`` and ``subregion`` (int16, see ``regions.REGIONS`` and
            ``subregions.SUBREGIONS``), ``covered`` and ``subchondral`` (int16, 0 or 1). Not uint8: VTK would take
            that for colors.
        rows: see ``outcomes.region_outcomes``; ``VC_<layer>`` for each layer.
        warnings: sentences for the user.
        labels: the label map on its own grid with the values of ``structures``, tibial cartilage split.
        side_source, side_margin: what the side was found from, and how clearly (1 is the least that decides).
        knee: the label map in the knee's frame.
        bones: bone -> its surface and cartilages in that frame.
    """

    side: str
    surfaces: dict[str, vtk.vtkPolyData]
    rows: list[dict]
    warnings: list[str]
    side_source: str = ""
    side_margin: float = 0.0
    labels: sitk.Image | None = None
    knee: CanonicalKnee | None = None
    bones: dict[str, MeasuredBone] = field(default_factory=dict)


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
    measured: dict[str, MeasuredBone] = {}
    voxel_mm3 = float(np.prod(knee.spacing))

    present = [name for name in DEFAULT_POINTS if name in knee.boxes and options.surfaces]
    bones = [name for name in JOINT_BONES if name in present]
    others = [] if options.only_measure else [name for name in present if name not in JOINT_BONES]
    total = 3 * len(bones) + len(others) + 1
    done = 1
    for bone in bones:
        report(f"Measuring the cartilage of the {bone}", done / total)
        points = options.points_of(bone)
        result = measure_bone(knee, bone, points, options.smoothing_mm, options.thickness, warnings)
        if result is not None:
            measured[bone] = result
            moved, cells = transform_mesh(result.points, result.triangles, knee.to_lps)
            surfaces[bone] = to_polydata(moved, cells, result.point_data)
            for name, cartilage in result.cartilages.items():
                rows.extend(cartilage.rows(name, voxel_mm3, options.layers))
        done += 3
    if "tibia" in measured:
        rows.extend(meniscus_rows(knee, measured["tibia"], warnings))
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
        labels=on_grid_of(labels, knee, knee.labels),
        knee=knee,
        bones=measured,
    )


def on_grid_of(like: sitk.Image, knee: CanonicalKnee, array: np.ndarray) -> sitk.Image:
    """An array in the knee's frame on the grid that it came from (axes permuted and flipped, nothing resampled)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
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


def _surface_alone(knee: CanonicalKnee, name: str, options: MeasureOptions, warnings: list[str]):
    box = joint_box(knee, [name])
    mask, _, spacing = refine_slices(knee.mask(name, box), {}, knee.spacing)
    make = solid_surface if BY_NAME[name].tissue == "bone" else sheet_surface
    try:
        points, triangles = make(mask, spacing, options.points_of(name))
    except ValueError as error:
        warnings.append(f"The {words(name)} has no surface: {error}")
        return None
    offset = np.array([s.start for s in box]) * knee.spacing
    return to_polydata(*transform_mesh(points + offset, triangles, knee.to_lps))
