"""The report of a panel: the fusion, where the experts differ, how much, and who they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.structures import Structure, structure_of
from MRISegSuiteLib.reports.html_report import Picture, Report, Table, write_report
from MRISegSuiteLib.reports.slice_pictures import outline_montage, slice_montage, value_montage

from .agreement import Agreement
from .expert_colors import expert_color
from .expert_panel import ExpertPanel
from .experts.medgemma import NOTE, Advice
from .hot_spots import HotSpot
from .traffic_light import AgreementSettings, Light

_FUSION_COLOR = (1.0, 1.0, 1.0)
_SHOWN_SPOTS, _LISTED_SPOTS = 8, 30

OUTCOMES = {
    "Fusion and agreement": {
        "volume": "Volume; for the fusion with the panel-disagreement interval (jackknife, 95 %), which says how much "
        "it depends on single experts, not how far it is from the truth.",
        "voices": "Independent opinions on the structure.",
        "Dice_min": "Lowest Dice of two independent experts.",
        "Dice_mean": "Mean of the Dice of every two independent experts.",
        "surface_Dice_min": "Lowest share of both surfaces that lies within the tolerance of the other one.",
        "HD95_max": "Largest 95 % Hausdorff distance of two independent experts.",
        "ASSD_mean": "Mean of the average symmetric surface distances.",
        "volume_CV": "Standard deviation of the experts' volumes by their mean.",
        "Fleiss_kappa": "Agreement beyond chance over the voxels that at least one expert marks.",
    },
    "Each expert": {
        "own_volume": "Volume of the expert's own mask.",
        "Dice_to_others": "Dice with the majority of all OTHER experts.",
        "sensitivity": "As STAPLE estimates it, against its own estimate of the truth.",
        "specificity": "As STAPLE estimates it, within its region.",
    },
}


def write_ensemble_report(
    folder, result: Mapping, image: sitk.Image | None, panel: ExpertPanel, labels: sitk.Image,
    structures: Sequence[Structure], fused: Mapping[str, np.ndarray], disagreement: sitk.Image,
    agreements: Sequence[Agreement], lights: Sequence[Light], settings: AgreementSettings,
    spots: Sequence[HotSpot], facts: Mapping[str, str], advice: Advice | None = None,
) -> dict[str, str]:  # fmt: skip
    """Write ``report.html`` and its pictures; returns role -> file name.

    Args:
        folder: an existing folder. result: the record of the result as far as it is known.
        image: the first image of the case, or None. panel: the opinions.
        labels, structures: the fusion as a label map. fused: structure -> mask inside the panel's box.
        disagreement: entropy in bits on the image's grid.
        agreements, lights, settings, spots: what was measured. facts: shown in the head.
        advice: what MedGemma said, shown apart.

    Raises:
        DiskFull, UnwritableOutput
    """
    titles = {name: structure_of(name, 0).title for name in [*panel.structures, *(s.name for s in structures)]}
    titles |= {opinion.expert: opinion.title for opinion in panel.opinions}
    tables = [
        _lights(lights, settings, titles), _experts(panel, titles), *_abstentions(panel), *_spots(spots, titles),
        _pairs(agreements, settings, titles), *_advice(advice),
    ]  # fmt: skip
    pictures = [*_fusion(image, labels, structures), *_opinions(image, panel, fused, titles),
                *_disagreement(image, panel, disagreement), *_spot_pictures(image, panel, fused, spots, titles)]
    result = {**result, "measurements": [_for_tables(record) for record in result.get("measurements") or []]}
    report = Report("Panel of experts", facts, titles, OUTCOMES, pictures, tables)
    return write_report(folder, result, report)


def _for_tables(record: Mapping) -> Mapping:
    """An expert's volume under a name of its own, so that the table of the fusion has a line for each structure."""
    if record["name"] == "volume" and record["region"] != "whole":
        return {**record, "name": "own_volume"}
    return record


def _lights(lights: Sequence[Light], settings: AgreementSettings, titles) -> Table:
    rows = [[titles[light.structure], light.color or "no light", "; ".join(light.reasons) or "within all limits"]
            for light in lights]
    return Table("Where to look first", ["Structure", "Agreement", "Why"], rows,
                 f"{settings.note} (limits {settings.version})")


def _experts(panel: ExpertPanel, titles) -> Table:
    rows = []
    for opinion in panel.opinions:
        record = opinion.record
        source = " ".join(str(record[key]) for key in ("id", "version") if record.get(key)) or "given mask"
        known = ", ".join(titles[name].lower() for name in panel.structures if name in opinion.answers)
        prompted = ", ".join(opinion.prompted_by) or "–"
        rows.append([opinion.title, source, known, prompted, opinion.seconds])
    return Table("Who was asked", ["Expert", "Source", "Knows", "Prompted by", "Time (s)"], rows,
                 "Experts that were prompted by another count with it as one.")


def _abstentions(panel: ExpertPanel) -> list[Table]:
    rows = [[abstention.title, abstention.why] for abstention in panel.abstentions]
    return [Table("Who abstained", ["Expert", "Why"], rows)] if rows else []


def _spots(spots: Sequence[HotSpot], titles) -> list[Table]:
    if not spots:
        return []
    rows = []
    for spot in spots[:_LISTED_SPOTS]:
        center = ", ".join(f"{value:.0f}" for value in spot.center_ras)
        says = {"border": "wider or narrower", "apart": "seen or not seen"}[spot.kind]
        rows.append([
            f"{spot.number}. {titles[spot.structure]}", spot.volume_mm3, says, center,
            ", ".join(titles[e] for e in spot.in_favor) or "–", ", ".join(titles[e] for e in spot.against) or "–",
            f"{100 * spot.fused_share:.0f} %",
        ])  # fmt: skip
    columns = ["Place", "mm³", "Dispute", "Center (RAS, mm)", "In favor", "Against", "In the fusion"]
    more = f" The largest {len(rows)} of {len(spots)}." if len(spots) > len(rows) else ""
    return [Table("Disagreement hot spots", columns, rows,
                  f"Places thick enough to be more than a matter of a voxel along the border.{more}")]


def _pairs(agreements: Sequence[Agreement], settings: AgreementSettings, titles) -> Table:
    rows = [
        [f"{titles[a.structure]}: {titles[pair.first]} and {titles[pair.second]}" +
         ("" if pair.independent else " (one voice)"), pair.dice, pair.surface_dice, pair.hd95_mm, pair.assd_mm]
        for a in agreements for pair in a.pairs
    ]  # fmt: skip
    columns = ["Pair", "Dice", f"Surface Dice ({settings.tolerance_mm:g} mm)", "HD95 (mm)", "ASSD (mm)"]
    return Table("Every two experts", columns, rows, "A dash: only one of the two sees the structure.")


def _advice(advice: Advice | None) -> list[Table]:
    if advice is None:
        return []
    rows = [[f"Sequence given as {entry['declared'] or 'unknown'}", entry["said"]] for entry in advice.sequences]
    rows += [[f"Abnormal? Axial slice {entry['slice']}", entry["said"]] for entry in advice.triage]
    rows += [["Findings", advice.findings]] if advice.findings else []
    rows += [["Candidate boxes, to be confirmed", str(len(advice.prompts))]] if advice.prompts else []
    return [Table("What MedGemma wrote", ["Question", "Answer, word for word"], rows, NOTE)]


def _fusion(image, labels, structures) -> list[Picture]:
    names = {s.name: s.label for s in structures}
    figure = slice_montage(image, labels, names, {s.name: s.color for s in structures}, "axial", 8)
    legend = [(s.title, s.color) for s in structures]
    return [Picture("picture_fusion", "The fusion; axial slices from below upwards, patient's right on the left.",
                    figure, legend=legend)]


def _opinions(image, panel: ExpertPanel, fused, titles) -> list[Picture]:
    pictures = []
    for structure in panel.structures:
        masks, colors, legend = _outlines(panel, fused, structure, titles)
        if len(masks) < 3 or not any(fused[structure].flat):
            continue
        figure = outline_montage(image, masks, colors, "axial", 4)
        pictures.append(Picture(f"picture_opinions_{structure}", f"{titles[structure]}: every expert's outline, and "
                                "the fusion in white.", figure, legend=legend))
    return pictures


def _outlines(panel: ExpertPanel, fused, structure: str, titles):
    masks = {"fusion": panel.image(fused[structure].astype(np.uint8))}
    colors, legend = {"fusion": _FUSION_COLOR}, []
    for number, expert in enumerate(panel.experts):
        if expert in panel.experts_on(structure):
            masks[expert] = panel.image(panel.mask(expert, structure).astype(np.uint8))
            colors[expert] = expert_color(number)
            legend.append((titles[expert], colors[expert]))
    return masks, colors, legend


def _disagreement(image, panel: ExpertPanel, disagreement: sitk.Image) -> list[Picture]:
    somewhere = sitk.Cast(disagreement > 0, sitk.sitkUInt8)
    if image is None or not sitk.GetArrayViewFromImage(somewhere).any():
        return []
    figure = value_montage(image, disagreement, somewhere, {"any": 1}, "Disagreement (entropy, bits)", 1.0, "axial")
    return [Picture("picture_disagreement", "Where the experts disagree.", figure)]


def _spot_pictures(image, panel: ExpertPanel, fused, spots, titles) -> list[Picture]:
    pictures = []
    for structure in panel.structures:
        mine = [spot for spot in spots if spot.structure == structure][:_SHOWN_SPOTS]
        if not mine:
            continue
        masks, colors, legend = _outlines(panel, fused, structure, titles)
        figure = outline_montage(image, masks, colors, "axial", at=[spot.center_lps for spot in mine],
                                 titles=[f"{spot.number}" for spot in mine])
        pictures.append(Picture(f"picture_hot_spots_{structure}", f"{titles[structure]}: the largest hot spots, each "
                                "in a ring with its number.", figure, legend=legend))
    return pictures
