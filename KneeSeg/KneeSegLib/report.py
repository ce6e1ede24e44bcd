"""The knee report: slices with outlines, surfaces with thickness, regional outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import SimpleITK as sitk
import vtk

from MRISegSuiteLib.reports.charts import bar_chart, measurement_bars
from MRISegSuiteLib.reports.html_report import Picture, Report, Table, write_report
from MRISegSuiteLib.reports.slice_pictures import slice_montage, value_montage
from MRISegSuiteLib.reports.surface_pictures import (
    View,
    change_surface,
    mapped_surface,
    number_color,
    numbered_surface,
    plain_surface,
    surface_figure,
)

from .layers import MOST_LAYERS, layer_names
from .regions import TITLES as REGION_TITLES
from .scales import GREATEST_SHOWN_CHANGE_MM, GREATEST_SHOWN_ERROR_MM, LONGEST_SHOWN_MS, THICKEST_SHOWN_MM
from .structures import BY_NAME, STRUCTURES
from .subregions import SUBREGIONS

#: Names of layers, however many there are; from the bone (deep, layer 1) to the joint (superficial).
_LAYERS = tuple(dict.fromkeys(text for count in range(2, MOST_LAYERS + 1) for text in layer_names(count)))

#: Tables of the report: heading -> columns, named after Eckstein et al. 2006, and what they mean.
OUTCOMES = {
    "Cartilage": {
        "ThCtAB": "Mean cartilage thickness over the total area of subchondral bone, bare bone counted as 0; ± SD.",
        "ThCcAB": "Mean cartilage thickness over the area that cartilage covers; ± its SD.",
        "VC": "Volume of the cartilage.",
        **{f"VC_{text}": f"Volume of the {text.replace('_', ' ')} layer." for text in _LAYERS},
        "tAB": "Total area of subchondral bone, covered or bare.",
        "cAB": "Area of subchondral bone that cartilage covers.",
        "dAB": "Denuded area: bare subchondral bone.",
        "dABp": "Denuded part of the total area of subchondral bone.",
        "curvature": "Mean curvature of the articular surface, convex positive; its border is left out.",
    },
    "T2": {
        "T2_mean": "Mean T2 of the valid voxels; ± its SD.",
        "T2_median": "Median T2 of the valid voxels.",
        **{f"T2_mean_{text}": f"Mean T2 of the {text.replace('_', ' ')} layer." for text in _LAYERS},
        "T2_r2": "Median r² of the fit.",
        "T2_excluded": "Voxels left out: no signal, no solution, outside of the valid range, or a poor fit.",
    },
    "Shape": {
        "shape_ASSD": "Average symmetric surface distance between the bone and what the shape model makes of it.",
        "shape_articular_ASSD": "The same for bone and cartilage together.",
        "shape_cartilage_ASSD": "The same for the cartilage.",
        "shape_distance": "Distance from the mean shape of the model's population (see the table's method), in "
        "standard deviations: about 1 is usual. It says unusual, not ill.",
        "BScore": "Place between healthy and arthritic bones, in standard deviations of healthy ones.",
    },
    "Change since the baseline": {
        "ThCtAB_baseline": "Mean thickness over the joint surface at baseline; both times over the same bone.",
        "ThCtAB_followup": "The same at follow-up.",
        "ThCtAB_change": "Follow-up minus baseline; in brackets ± the smallest detectable change of measuring "
        "alone. Another scan and another segmentation add to it: with them about 0.16 mm is what others report.",
        "VC_change": "Change of the volume.",
        "dABp_change": "Change of the denuded part, in percentage points.",
    },
    "Menisci": {
        "extrusion": "How far the meniscus reaches beyond the plateau's margin, at the middle of the plateau.",
        "coverage": "Part of the plateau's joint surface that lies under the meniscus.",
    },
}
_SUBREGION_KEY = (
    "MFC, LFC: medial and lateral condyle; a anterior, ec external, cc central, ic internal, p posterior. "
    "MTC, LTC: plateaus; a anterior, e external, p posterior, i internal, c central."
)
#: What the axial and the coronal picture shall show.
_PATELLOFEMORAL = ("patella", "patellar_cartilage")
_TIBIOFEMORAL = ("medial_tibial_cartilage", "lateral_tibial_cartilage", "tibial_cartilage")

#: Sides from which the thickness on a bone is shown.
_THICKNESS_VIEWS = {
    "femur": ("inferior", "anterior", "posterior", "medial", "lateral"),
    "tibia": ("superior",),
    "patella": ("posterior",),
}


def write_knee_report(
    folder,
    result: Mapping,
    image: sitk.Image | None,
    labels: sitk.Image,
    names: Mapping[str, int],
    surfaces: Mapping[str, vtk.vtkPolyData],
    side: str | None = None,
    facts: Mapping[str, str] | None = None,
    tables: Sequence[Table] = (),
    pictures: Sequence[Picture] = (),
    title: str = "Knee: bones and cartilage",
    t2: sitk.Image | None = None,
) -> dict[str, str]:
    """Write ``report.html`` and its pictures.

    Args:
        folder: an existing folder.
        result: record of the result as far as it is known; ``measurements`` (with ``sd``, or ``<name>_SD`` rows),
            ``warnings``, ``inputs``, ``model``, ``software``, ``parameters``, ``timings_s`` are shown where there.
        image: the scan, or None when only a segmentation was measured.
        labels: label map; names: structure -> value in it.
        surfaces: as ``measure.KneeMeasurement.surfaces``.
        side: ``left``, ``right``, or anything else where it is not known.
        facts: label -> value, shown in the head.
        tables, pictures: more of them, e.g. a comparison with the truth; they come after the measurements.
        t2: T2 map in ms; the surfaces then carry ``t2_ms``.

    Returns:
        role -> file name (``report``, ``picture_sagittal`` …).

    Raises:
        DiskFull, UnwritableOutput
    """
    side = side if side in ("left", "right") else None
    facts = {"Side": f"{side} knee" if side else "not known", **(facts or {})}
    titles = {name: structure.title for name, structure in BY_NAME.items()} | REGION_TITLES
    colors = {name: structure.color for name, structure in BY_NAME.items()}
    shown = [*_slices(image, labels, names, colors), *_chart(result, titles, colors), *_surfaces(surfaces, side)]
    shown += _mapped(
        surfaces, side, "change_mm", "compared", ("Change of thickness (mm)", GREATEST_SHOWN_CHANGE_MM),
        "picture_change", "Thickness at follow-up minus at baseline; red is loss.",
    )
    shown += _mapped(
        surfaces, side, "shape_error_mm", "shape_fitted", ("Bone beyond shape model (mm)", GREATEST_SHOWN_ERROR_MM),
        "picture_shape", "How far the bone reaches beyond what the shape model makes of it; red: it falls short.",
    )
    if t2 is not None:
        shown += _t2_pictures(image, t2, labels, names, surfaces, side)
    report = Report(title, facts, titles, OUTCOMES, [*pictures, *shown], tables)
    return write_report(folder, result, report)


def _slices(image, labels, names, colors) -> list[Picture]:
    legend = [(s.title, s.color) for s in STRUCTURES if s.name in names]
    sagittal = slice_montage(image, labels, names, colors, "sagittal", 8)
    axial = slice_montage(image, labels, names, colors, "axial", 1, 5, _PATELLOFEMORAL)
    coronal = slice_montage(image, labels, names, colors, "coronal", 1, 5, _TIBIOFEMORAL)
    return [
        Picture("picture_sagittal", "Sagittal slices, from the patient's right to the left.", sagittal, legend=legend),
        Picture("picture_axial", "Axial slice, seen from below: patient's right on the left.", axial, wide=False),
        Picture(
            "picture_coronal",
            "Coronal slice, seen from the front: patient's right on the left.",
            coronal,
            wide=False,
        ),
    ]


def _chart(result, titles, colors) -> list[Picture]:
    shown = [m for m in result.get("measurements") or [] if m.get("region") not in SUBREGIONS.values()]
    bars = measurement_bars(shown, "ThCtAB", titles, colors)
    if not bars:
        return []
    figure = bar_chart(bars, "Mean cartilage thickness ThCtAB (mm), ± SD over the area")
    return [Picture("picture_thickness_chart", "Mean cartilage thickness in each region.", figure)]


def _surfaces(surfaces, side) -> list[Picture]:
    pictures = _mapped(
        surfaces, side, "thickness_mm", "subchondral", ("Cartilage thickness (mm)", THICKEST_SHOWN_MM),
        "picture_thickness", "Cartilage thickness on the bones.",
    )
    regions = [
        View(f"{BY_NAME[bone].title}, {direction}", [numbered_surface(surfaces[bone], "subregion")], direction)
        for bone, direction in (("femur", "inferior"), ("femur", "anterior"), ("tibia", "superior"))
        if bone in surfaces and surfaces[bone].GetPointData().HasArray("subregion")
    ]
    if regions:
        figure = surface_figure(regions, side, columns=3)
        legend = [(name, number_color(number)) for number, name in SUBREGIONS.items()]
        pictures.append(Picture("picture_subregions", "Subregions. " + _SUBREGION_KEY, figure, legend=legend))
    whole = [plain_surface(mesh, BY_NAME[name].color) for name, mesh in surfaces.items()]
    if whole:
        directions = _sides_known(("anterior", "medial", "lateral", "posterior"), side)
        figure = surface_figure([View(d.capitalize(), whole, d) for d in directions], side, columns=4)
        pictures.append(Picture("picture_surfaces", "Surfaces of all structures.", figure))
    return pictures


def _mapped(surfaces, side, scalar: str, where: str, scale: tuple[str, float], role: str, caption: str):
    """One picture of a measure on the bones that carry it; the scale of some goes to both sides."""
    of_change = scalar in ("change_mm", "shape_error_mm")
    surface_of = change_surface if of_change else mapped_surface
    views = []
    for bone, directions in _THICKNESS_VIEWS.items():
        mesh = surfaces.get(bone)
        if mesh is None or not mesh.GetPointData().HasArray(scalar):
            continue
        surface = surface_of(mesh, scalar, scale[1], where)
        for direction in _sides_known(directions, side):
            views.append(View(f"{BY_NAME[bone].title}, {direction}", [surface], direction))
    if not views:
        return []
    return [Picture(role, caption, surface_figure(views, side, scale, columns=4, of_change=of_change))]


def _t2_pictures(image, t2, labels, names, surfaces, side) -> list[Picture]:
    cartilages = {n: v for n, v in names.items() if BY_NAME[n].tissue == "cartilage"}
    scale = ("T2 (ms)", LONGEST_SHOWN_MS)
    figure = value_montage(image if image is not None else t2, t2, labels, cartilages, *scale)
    return [
        Picture("picture_t2", "T2 in the cartilage; voxels without a valid value are not colored.", figure),
        *_mapped(surfaces, side, "t2_ms", "t2_ms", scale, "picture_t2_surfaces",
                 "T2 on the bones, averaged through the cartilage."),
    ]


def _sides_known(directions: Sequence[str], side: str | None) -> list[str]:
    """Medial and lateral only mean something where the side is known; otherwise right and left."""
    if side:
        return list(directions)
    return [{"medial": "right", "lateral": "left"}.get(direction, direction) for direction in directions]
