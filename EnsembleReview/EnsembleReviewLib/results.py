"""Writing what a panel found: fusion, every expert's answer, maps, hot spots, table, report."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.images.segmentation_files import write_segmentation
from MRISegSuiteLib.images.structures import Structure
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import Job, JobContext, Measurement, Result
from MRISegSuiteLib.jobs.tables import write_table

from .agreement import Agreement, jackknife_masks
from .expert_panel import ExpertPanel
from .experts.medgemma import Advice
from .fusion import Fusion, FusionSettings, fuse
from .fusion.methods import DESCRIPTIONS, MAJORITY, STAPLE
from .fusion.painting import label_map, label_map_of, undecided_voxels
from .hot_spots import HotSpot
from .report import write_ensemble_report
from .traffic_light import AgreementSettings, Light, worst
from .uncertainty import entropy, largest, mutual_information

#: What can be left out (job parameter ``without``).
STAGES = ("report",)
_VOLUME = "number of voxels times their volume"
PANEL_FILE, HOT_SPOTS_FILE, ADVICE_FILE = "panel.json", "hot_spots.json", "advice.json"


@dataclass
class Findings:
    """Everything that was found out about a case.

    Attributes:
        panel, fusion, agreements, lights, limits: see their classes; ``lights`` in the order of ``agreements``.
        spots, numbers: see ``hot_spots.find_hot_spots``.
        channels: names of the case's images, as far as they are known.
    """

    panel: ExpertPanel
    fusion: Fusion
    agreements: list[Agreement]
    lights: list[Light]
    limits: AgreementSettings
    spots: list[HotSpot]
    numbers: np.ndarray
    channels: list[str] = field(default_factory=list)


def write_results(
    findings: Findings, image: sitk.Image | None, job: Job, context: JobContext, begin: float,
    advice: Advice | None = None,
) -> Result:  # fmt: skip
    """Write all files into the job's folder.

    Files (role): fusion (also called segmentation), majority (where another fusion was asked for), ``expert_<n>``
    with n as in panel.json, disagreement and mutual_information (bits), ``probability_<structure>`` (share of the
    votes, posterior or mean probability), ``jackknife_<structure>`` on request (see agreement.jackknife_masks),
    hot_spots (their numbers), hot_spot_list, panel, table, pairs, report.

    Args:
        findings: what to write. image: the first image of the case, for the pictures.
        begin: fraction of the job that is done. advice: what MedGemma said, kept apart from everything measured.
    """
    panel, fusion, folder = findings.panel, findings.fusion, context.folder
    files: dict[str, str] = {}
    labels, structures, notes = label_map(panel, fusion)
    for text in notes:
        context.warn(text)
    kind = "SEMIAUTOMATIC" if any("file" in opinion.record for opinion in panel.opinions) else "AUTOMATIC"
    fused_image = panel.image(labels)
    name = f"MRI Seg Suite {fusion.settings.method}"
    files["fusion"] = files["segmentation"] = _write_labels(fused_image, structures, "fusion", folder, name, kind)
    if fusion.settings.method != MAJORITY:
        majority, used, _ = label_map(panel, fuse(panel))
        files["majority"] = _write_labels(
            panel.image(majority), used, "majority", folder, "MRI Seg Suite majority", kind)
    entries = _write_experts(panel, folder, files)
    disagreement = panel.image(largest(panel, entropy))
    files["disagreement"] = _write(disagreement, "disagreement", folder)
    shared = largest(panel, mutual_information)
    if shared is not None:
        files["mutual_information"] = _write(panel.image(shared), "mutual_information", folder)
    for structure, support in fusion.support.items():
        files[f"probability_{structure}"] = _write(panel.image(support), f"probability_{structure}", folder)
    if job.parameters.get("jackknife_masks"):
        for structure in panel.structures:
            bits = panel.image(jackknife_masks(panel, fusion, structure))
            files[f"jackknife_{structure}"] = _write(bits, f"jackknife_{structure}", folder)
    files["hot_spots"] = _write(panel.image(findings.numbers), "hot_spots", folder)
    write_json(folder / HOT_SPOTS_FILE, [spot.to_record() for spot in findings.spots])
    write_json(folder / PANEL_FILE, panel_record(findings, entries, structures))
    files |= {"hot_spot_list": HOT_SPOTS_FILE, "panel": PANEL_FILE, "table": "table.csv", "pairs": "pairs.csv"}
    if advice is not None:
        write_json(folder / ADVICE_FILE, advice.to_record())
        files["advice"] = ADVICE_FILE
    result = Result(files=files, measurements=measurements_of(findings))
    result.parameters = _parameters(findings)
    missed = undecided_voxels(panel) if fusion.settings.method == MAJORITY else 0
    if missed:
        where = ("each went to the innermost region that has a majority" if panel.vote == "regions"
                 else "they are background; voting on regions would keep them")
        context.warn(f"{missed} voxels are tumor to more than half of the experts, but no single label has a "
                     f"majority there; {where}.")
    write_table(result.measurements, folder / "table.csv")
    write_pairs(findings.agreements, folder / "pairs.csv")
    if "report" in (job.parameters.get("without") or []):
        return result
    context.progress("Drawing the report", begin + 0.4 * (1 - begin))
    record = result.to_record() | {
        "warnings": context.warnings,
        "inputs": [{"role": role, "file": str(path)} for role, path in job.input_paths()],
        "parameters": job.parameters | result.parameters,
    }
    result.files |= write_ensemble_report(
        folder, record, image, panel, fused_image, structures, fusion.masks, disagreement, findings.agreements,
        findings.lights, findings.limits, findings.spots, _facts(findings), advice,
    )  # fmt: skip
    context.progress("Finishing", 0.99)
    return result


def measurements_of(findings: Findings) -> list[Measurement]:
    """The numbers for result.json: of the fusion (region "whole"), and of each expert (region: its id)."""
    rows = []
    panel, fusion = findings.panel, findings.fusion
    tolerance = findings.limits.tolerance_mm
    for agreement in findings.agreements:
        structure = agreement.structure

        def add(name, value, unit, method, region="whole", interval=None, structure=structure):
            rows.append(Measurement(name, structure, region, float(value), unit, method, interval))

        volume = agreement.volume
        interval = (volume.low, volume.high) if math.isfinite(volume.half_width) else None
        add("volume", volume.value, "mm3", f"{_VOLUME}, {DESCRIPTIONS[fusion.settings.method]}; interval: jackknife "
            "over the independent experts, t quantile, 95 %", interval=interval)
        add("voices", agreement.voices, "1", "independent opinions on the structure")
        if agreement.voices > 1:
            pairs = "over all pairs of independent experts"
            dice, surface = agreement.over_pairs("dice"), agreement.over_pairs("surface_dice")
            hd95, assd = agreement.over_pairs("hd95_mm"), agreement.over_pairs("assd_mm")
            add("Dice_min", min(dice), "1", f"smallest {pairs}")
            add("Dice_mean", np.mean(dice), "1", f"mean {pairs}")
            add("surface_Dice_min", min(surface), "1", f"tolerance {tolerance:g} mm, smallest {pairs}")
            add("surface_Dice_mean", np.mean(surface), "1", f"tolerance {tolerance:g} mm, mean {pairs}")
            add("HD95_max", max(hd95), "mm", "larger of the two directed 95th percentiles between surfaces, largest "
                f"{pairs}")
            add("HD95_mean", np.mean(hd95), "mm", f"mean {pairs}")
            add("ASSD_mean", np.mean(assd), "mm", f"average symmetric surface distance, mean {pairs}")
            add("volume_CV", agreement.volume_cv, "1", "standard deviation (n - 1) of the volumes by their mean")
            add("Fleiss_kappa", agreement.kappa, "1", "Fleiss 1971, over the voxels that at least one expert marks")
        for expert, value in agreement.volumes_mm3.items():
            add("volume", value, "mm3", _VOLUME, expert)
        for expert, value in agreement.dice_to_others.items():
            add("Dice_to_others", value, "1", "with the majority of all other independent experts", expert)
        staple = fusion.staple.get(structure)
        if staple is not None:
            method = f"STAPLE, region {staple.region_voxels} voxels, prior {staple.prior:.6g}"
            for n, expert in enumerate(panel.patterns(structure).experts):
                add("sensitivity", staple.sensitivity[n], "1", method, expert)
                add("specificity", staple.specificity[n], "1", method, expert)
    return rows


def panel_record(findings: Findings, entries: list[dict], labels: Sequence[Structure]) -> dict:
    """Who was asked and how the answers were fused, as JSON values."""
    fusion, settings = findings.fusion, findings.fusion.settings
    staple = {
        structure: {
            "prior": found.prior, "region_voxels": found.region_voxels, "iterations": found.iterations,
            "converged": found.converged,
            "sensitivity": dict(zip(fusion.weights[structure], found.sensitivity.tolist(), strict=True)),
            "specificity": dict(zip(fusion.weights[structure], found.specificity.tolist(), strict=True)),
        }
        for structure, found in fusion.staple.items()
    }  # fmt: skip
    return {
        "experts": entries,
        "abstentions": [vars(abstention) for abstention in findings.panel.abstentions],
        "voices": findings.panel.groups,
        "vote": findings.panel.vote,
        "structures": findings.panel.structures,
        "labels": {structure.name: structure.label for structure in labels},
        "fusion": _settings(settings),
        "weights": fusion.weights,
        "staple": staple,
        "limits": {"version": findings.limits.version, "note": findings.limits.note},
        "lights": [vars(light) for light in findings.lights],
        "jackknife": {a.structure: a.volume.left_out for a in findings.agreements},
    }


def write_pairs(agreements: Sequence[Agreement], path: Path) -> None:
    """Every pair of experts as CSV; what is infinite (only one of them sees the structure) is "inf"."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["structure", "first", "second", "independent", "Dice", "surface Dice", "HD95 (mm)",
                         "ASSD (mm)"])
        for agreement in agreements:
            for pair in agreement.pairs:
                numbers = (pair.dice, pair.surface_dice, pair.hd95_mm, pair.assd_mm)
                writer.writerow([agreement.structure, pair.first, pair.second, "yes" if pair.independent else "no",
                                 *(f"{number:.6g}" for number in numbers)])


def _write_experts(panel: ExpertPanel, folder: Path, files: dict[str, str]) -> list[dict]:
    """One segmentation file for each expert; returns what panel.json says about each."""
    entries = []
    for number, opinion in enumerate(panel.opinions, start=1):
        labels, structures, _ = label_map_of(panel, opinion.expert)
        role = f"expert_{number}"
        is_model = "file" not in opinion.record
        algorithm = " ".join(str(opinion.record.get(key, "")) for key in ("id", "version")).strip() or opinion.title
        files[role] = _write_labels(panel.image(labels), structures, role, folder, algorithm,
                                    "AUTOMATIC" if is_model else "SEMIAUTOMATIC")
        known = [name for name in panel.structures if name in opinion.answers]
        entries.append({
            "id": opinion.expert, "title": opinion.title, "role": role, "structures": known,
            "probabilities": any(panel.probability(opinion.expert, name) is not None for name in known),
            "prompted_by": list(opinion.prompted_by), "seconds": opinion.seconds, "record": opinion.record,
        })  # fmt: skip
    return entries


def _write_labels(labels: sitk.Image, structures: Sequence[Structure], role: str, folder: Path, algorithm: str,
                  kind: str) -> str:
    name = f"{role}.seg.nrrd"
    write_segmentation(labels, structures, folder / name, None, algorithm, kind)
    return name


def _write(image: sitk.Image, role: str, folder: Path) -> str:
    write_image(image, folder / f"{role}.nrrd")
    return f"{role}.nrrd"


def _settings(settings: FusionSettings) -> dict:
    used = {"method": settings.method, "tie": settings.tie}
    if settings.method == STAPLE:
        used |= {"region": settings.staple_region, "prior": settings.staple_prior or "mean vote"}
    if settings.weights:
        used["weights"] = dict(settings.weights)
    return used


def _parameters(findings: Findings) -> dict:
    return {
        "channel_names": findings.channels,
        "fused_by": _settings(findings.fusion.settings),
        "panel": [opinion.expert for opinion in findings.panel.opinions],
        "abstained": [abstention.expert for abstention in findings.panel.abstentions],
        "agreement": {
            "light": worst(findings.lights), "limits_version": findings.limits.version,
            "by_structure": {light.structure: light.color for light in findings.lights},
        },
        "hot_spots": len(findings.spots),
    }  # fmt: skip


def _facts(findings: Findings) -> dict[str, str]:
    light = worst(findings.lights)
    count = len(findings.panel.groups)
    facts = {"Channels": ", ".join(name or "unknown" for name in findings.channels)} if findings.channels else {}
    facts |= {
        "Fusion": DESCRIPTIONS[findings.fusion.settings.method],
        "Opinions": f"{len(findings.panel.opinions)}, {count} of them independent",
        "Agreement": f"{light or 'no word'}; a person decides",
        "Hot spots": str(len(findings.spots)),
    }
    for structure, found in findings.fusion.staple.items():
        facts[f"STAPLE, {structure.replace('_', ' ')}"] = (
            f"prior {found.prior:.4g} in a region of {found.region_voxels} voxels")
    return facts
