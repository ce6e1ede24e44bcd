"""Writing what a comparison found: transforms, images in the common space, masks, lesions, table, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.files import write_json
from MRISegSuiteLib.images.reading import is_image_file
from MRISegSuiteLib.images.segmentation_files import write_segmentation
from MRISegSuiteLib.images.structures import TUMOR_BY_NAME
from MRISegSuiteLib.images.writing import write_image
from MRISegSuiteLib.jobs import JobContext, Measurement, Result
from MRISegSuiteLib.jobs.tables import write_table

from .change.calibration import Calibration
from .comparison import Comparison
from .registration.rigid import transform_of, write_transform
from .report import write_compare_report
from .reporting.lesion_segments import write_timepoint
from .reporting.tables import calibration_measurements, measurements
from .timepoints import STRUCTURE, Timepoint

#: What a role is called for timepoint N (from 1, the baseline): ``transform_1`` …
TRANSFORM, AFFINE, IMAGE, MASK, SUBTRACTION, INTENSITY = (
    "transform", "affine", "halfway", "segmentation", "subtraction", "intensity_change",
)  # fmt: skip
LESIONS = "lesions"
#: Points of the reference scan of timepoint N to points of another contrast, where that was registered within its
#: session: ``session_T1c_1``. Maps and images of other contrasts have the contrast's name before the number, too.
SESSION = "session"
#: Local expansion up to timepoint N, percent.
JACOBIAN = "jacobian"


def write_results(
    found: Comparison,
    calibrations: Sequence[Calibration],
    model: dict | None,
    context: JobContext,
    begin: float,
    more_files: dict[str, str] | None = None,
    dicom_sources: Sequence[str | None] = (),
) -> Result:
    """Write everything into the job's folder.

    Args:
        begin: the fraction of the job done so far. more_files: role -> path of files that are there already.
        dicom_sources: of each timepoint the list of the DICOM files that its scan came from (see
            ``dicom_objects.source_series``), None where it came from none.
    """
    context.progress("Writing the results", begin)
    folder = context.folder
    result = Result(model=model, parameters={"engine": found.alignment.engine} | _days(found) | _contrasts(found))
    result.files |= more_files or {}
    _write_transforms(found, result, folder)
    for n, image in enumerate(found.images):
        if image is not None and len([one for one in found.images if one is not None]) > 1:
            result.files[f"{IMAGE}_{n + 1}"] = write_image(image, folder / f"{IMAGE}_{n + 1}.nrrd").name
    for contrast, images in found.contrasts.items():
        for n, image in enumerate(images, start=1):
            if image is not None and sum(one is not None for one in images) > 1:
                name = f"{IMAGE}_{contrast}_{n}"
                result.files[name] = write_image(image, folder / f"{name}.nrrd").name
    for pair in found.pairs:
        if pair.intensity is not None:
            for role, image in ((SUBTRACTION, pair.intensity.difference), (INTENSITY, pair.intensity.z)):
                name = f"{role}_{pair.number + 1}"
                result.files[name] = write_image(image, folder / f"{name}.nrrd").name
        for contrast, change in pair.contrasts.items():
            for role, image in ((SUBTRACTION, change.difference), (INTENSITY, change.z)) if change else ():
                name = f"{role}_{contrast}_{pair.number + 1}"
                result.files[name] = write_image(image, folder / f"{name}.nrrd").name
        if pair.expansion is not None:
            name = f"{JACOBIAN}_{pair.number + 1}"
            result.files[name] = write_image(pair.expansion, folder / f"{name}.nrrd").name
    _write_masks(found, result, folder, model)
    _write_dicom(found, result, folder, model, context, dicom_sources)
    result.warnings = list(context.warnings)
    write_json(folder / "lesions.json", lesion_record(found))
    result.files[LESIONS] = "lesions.json"
    result.measurements = all_measurements(found) + calibration_measurements(calibrations, STRUCTURE)
    write_table(result.measurements, folder / "table.csv")
    result.files["table"] = "table.csv"
    result.files |= write_compare_report(folder, result.to_record(), found, calibrations)
    return result


def _days(found: Comparison) -> dict:
    days = [one.days for one in found.timepoints]
    return {} if None in days else {"days": days}


def _contrasts(found: Comparison) -> dict:
    """Which contrast is the reference, which others there are, and how far each lay beside it in its session."""
    if not any(one.channels for one in found.timepoints):
        return {}
    return {"reference": found.timepoints[0].name, "contrasts": [contrast_record(one) for one in found.timepoints]}


def contrast_record(one: Timepoint) -> list[dict]:
    """The further contrasts of a timepoint: name, ``beside_mm`` (as their files have it) and ``registered``."""
    return [
        {"name": channel.name, "registered": channel.matrix is not None}
        | ({"beside_mm": round(channel.beside_mm, 3)} if np.isfinite(channel.beside_mm) else {})
        for channel in one.channels
    ]


def _write_transforms(found: Comparison, result: Result, folder: Path) -> None:
    """Points of the common space to points of each timepoint; and the affine of each pair, for diagnosis."""
    several = sum(state != "failed" for state in found.alignment.states) > 1
    for n, (matrix, state) in enumerate(zip(found.alignment.from_common, found.alignment.states, strict=True)):
        if several and state != "failed":
            path = write_transform(transform_of(matrix), folder / f"{TRANSFORM}_{n + 1}.tfm")
            result.files[f"{TRANSFORM}_{n + 1}"] = path.name
    for n, one in enumerate(found.timepoints, start=1):
        for channel in one.channels:
            if channel.matrix is not None:
                name = f"{SESSION}_{channel.name}_{n}"
                result.files[name] = write_transform(transform_of(channel.matrix), folder / f"{name}.tfm").name
    for n, pair in enumerate(found.alignment.pairs, start=2):
        path = write_transform(transform_of(pair.matrix, pair.center), folder / f"baseline_to_{n}.h5")
        result.files[f"baseline_to_{n}"] = path.name
        path = write_transform(transform_of(pair.affine, pair.center), folder / f"{AFFINE}_{n}.tfm")
        result.files[f"{AFFINE}_{n}"] = path.name


def _write_masks(found: Comparison, result: Result, folder: Path, model: dict | None) -> None:
    lesion = TUMOR_BY_NAME[STRUCTURE]
    for n, one in enumerate(found.timepoints, start=1):
        if one.mask is None:
            continue
        labels = sitk.Cast(one.mask, sitk.sitkUInt8) * lesion.label
        path = folder / f"{MASK}_{n}.seg.nrrd"
        algorithm = f"MRI Seg Suite {model['id']}" if model else "MRI Seg Suite: given by the user"
        write_segmentation(labels, [lesion], path, None, algorithm, "AUTOMATIC" if model else "SEMIAUTOMATIC")
        result.files[f"{MASK}_{n}"] = path.name


def _write_dicom(found: Comparison, result: Result, folder: Path, model: dict | None, context: JobContext,
                 sources: Sequence[str | None] = ()) -> None:  # fmt: skip
    """DICOM SEG and SR of each timepoint that came from DICOM; what cannot be made is told."""
    sources = sources or [None] * len(found.timepoints)
    carriers = [one.channel(one.mask_of) for one in found.timepoints]
    paths = [given or one.path if by is None else by.path
             for one, by, given in zip(found.timepoints, carriers, sources, strict=True)]  # fmt: skip
    is_dicom = [_is_dicom(path) for path in paths]
    if not any(is_dicom) or not found.lesions:
        return
    try:
        import highdicom  # noqa: F401
    except ImportError:
        context.warn("No DICOM SEG and SR were written: the package highdicom is not installed.")
        return
    from pydicom.uid import generate_uid

    numbered = _numbered(found)
    if numbered is None:
        context.warn("DICOM SEG and SR: without a registration, lesions are numbered in each scan for itself.")
    else:
        uids = {number: str(generate_uid()) for members in numbered for number in members}
    for n, one in enumerate(found.timepoints):
        what = f"No DICOM SEG and SR of the {one.label}"
        if carriers[n] is not None and carriers[n].matrix is not None:
            context.warn(f"{what}: the scan that carries its mask was registered within the session.")
            continue
        if not is_dicom[n] or not (Path(paths[n]).is_dir() or paths[n] == sources[n]):
            context.warn(f"{what}: its scan did not come from DICOM.")
            continue
        lesions, changes = found.lesions[n], {}
        if numbered is None:
            members = {lesion.label: (lesion.label,) for lesion in lesions.lesions}
            uids = {number: str(generate_uid()) for number in members}
        else:
            members = numbered[n]
            changes = _changes_at(found, numbered, n) if n else {}
        try:
            files = write_timepoint(folder, str(n + 1), paths[n], one.mask, lesions, members, uids, changes,
                                    model["id"] if model else None)  # fmt: skip
        except BadInput as error:
            context.warn(f"{what}: {error.message.replace(paths[n], 'its folder')}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The texts of such errors may repeat what a header says of a person: they stay out of the log.
            context.warn(f"{what}: the headers of its series do not allow it ({type(error).__name__}).")
        else:
            if not files:
                context.warn(f"{what}: there is no lesion in it.")
            result.files |= files


def _is_dicom(path: str) -> bool:
    return Path(path).is_dir() or not is_image_file(Path(path))


def _numbered(found: Comparison) -> list[dict[int, tuple[int, ...]]] | None:
    """For each timepoint, number -> labels of the lesions that have it: the numbers of the report where there are two
    timepoints, of the tracks where there are more; None where lesions could not be followed."""
    if "failed" in found.alignment.states:
        return None
    if len(found.pairs) == 1:
        lesions = found.pairs[0].change.lesions
        return [
            {one.number: tuple(part.label for part in getattr(one, when)) for one in lesions}
            for when in ("baseline", "followup")
        ]
    return [{track.number: track.members[n] for track in found.tracks} for n in range(len(found.timepoints))]


def _changes_at(found: Comparison, numbered, n: int) -> dict:
    """Number -> change from the baseline to timepoint n, where the pair sees the same lesions behind the number."""
    changes = {}
    for one in found.pairs[n - 1].change.lesions:
        parts = tuple({lesion.label for lesion in lesions} for lesions in (one.baseline, one.followup))
        for number, labels in numbered[n].items():
            if parts == (set(numbered[0][number]), set(labels)):
                changes[number] = one
    return changes


def all_measurements(found: Comparison) -> list[Measurement]:
    """Change, gate and category of every pair; regions tell the timepoint where there are more than two."""
    rows: list[Measurement] = []
    for pair, aligned in zip(found.pairs, found.alignment.pairs, strict=True):
        mine = measurements(pair.change, STRUCTURE) if pair.change is not None else []
        for name, value in aligned.gate.numbers.items():
            mine.append(Measurement(name, "registration", "whole", float(value), _UNITS.get(name, "1"),
                                    _METHODS.get(name, "rigid registration, both ways")))  # fmt: skip
        if len(found.pairs) > 1:
            mine = [replace(row, region=f"{row.region}_timepoint_{pair.number + 1}") for row in mine]
        rows += mine
    return rows


_UNITS = {
    "inverse_consistency_mm": "mm", "moved_mm": "mm", "translation_mm": "mm", "rotation_deg": "degree",
}  # fmt: skip
_METHODS = {
    "pearson": "correlation inside the overlap of the masks",
    "nmi": "normalized mutual information inside the overlap of the masks (Studholme et al. 1999)",
    "nmi_gain": "normalized mutual information, minus that of the images as they lie",
    "sharpness": "part of what the images share that is lost 4 mm beside",
    "inverse_consistency_mm": "mean distance of where the two directions of the registration take a point",
    "determinant": "of the affine registration, for diagnosis only",
    "scale_drift": "largest deviation of a principal scale of the affine from 1",
    "scale_noise": "how well that is known: disagreement of the two directions, thickness of the slices",
    "field_overlap": "smaller part of a mask that lies within the other image",
    "mask_overlap": "Jaccard index of the masks",
    "moved_mm": "mean displacement inside of the baseline's mask",
    "mask_contained": "part of the smaller mask that lies within the other",
}


def lesion_record(found: Comparison) -> dict:
    """The lesions over time, for lists, markups and charts. Points are LPS, mm, each in its own scan.

    ``timepoints``: label, days, volume, lesions with point and diameters; ``tracks``: which lesion is which;
    ``pairs``: state of the gate with its reasons, status of each lesion, category.
    """
    record: dict = {"timepoints": [], "tracks": [], "pairs": []}
    for n, one in enumerate(found.timepoints):
        entry = {"label": one.label, "days": one.days, "state": found.alignment.states[n], "lesions": []}
        if one.channels:
            entry |= {"reference": one.name, "contrasts": contrast_record(one)}
        if found.lesions:
            entry["volume_mm3"] = found.lesions[n].volume_mm3
            for lesion in found.lesions[n].lesions:
                d = lesion.diameters
                entry["lesions"].append({
                    "label": lesion.label, "volume_mm3": lesion.volume_mm3, "point": lesion.point,
                    "longest_mm": d.longest_mm, "longest_ends": d.longest_ends,
                    "perpendicular_mm": d.perpendicular_mm, "perpendicular_ends": d.perpendicular_ends,
                })  # fmt: skip
        record["timepoints"].append(entry)
    for track in found.tracks:
        record["tracks"].append({"number": track.number, "members": [list(one) for one in track.members]})
    for pair, aligned in zip(found.pairs, found.alignment.pairs, strict=True):
        entry = {
            "timepoint": pair.number + 1, "state": aligned.gate.state, "reasons": list(aligned.gate.reasons),
            "numbers": dict(aligned.gate.numbers), "lesions": [],
        }  # fmt: skip
        if pair.change is not None:
            entry["total"] = _change_of(pair.change.total)
            entry["lesions"] = [_change_of(one) for one in pair.change.lesions]
        if pair.category is not None:
            c = pair.category
            entry["category"] = {
                "criterion": c.criterion.id, "title": c.criterion.title, "category": c.category,
                "certainty": c.certainty, "text": c.text, "reasons": list(c.reasons), "confirmation": c.confirmation,
                "verified": c.criterion.verified, "percent_from_baseline": c.percent_from_baseline,
            }  # fmt: skip
        record["pairs"].append(entry)
    return record


def _change_of(one) -> dict:
    record = {
        "number": one.number, "status": one.status,
        "baseline": [lesion.label for lesion in one.baseline], "followup": [lesion.label for lesion in one.followup],
        "baseline_mm3": one.growth.baseline_mm3, "followup_mm3": one.growth.followup_mm3,
        "percent": one.growth.percent if one.growth.baseline_mm3 > 0 else None,
    }  # fmt: skip
    if one.interval is not None:
        record["percent_interval"] = [float(x) for x in np.asarray(one.interval.percent_interval)]
        record["is_real"] = bool(one.interval.is_real)
    return record
