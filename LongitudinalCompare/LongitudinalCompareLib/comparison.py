"""Alignment and change of all timepoints together: what the pipeline writes and the scene shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk

from .change.alignment import Alignment as ChangeAlignment
from .change.compare import Change, compare_lesions
from .change.intensity import IntensityChange, intensity_change
from .change.jacobian import log_jacobian
from .change.lesions import TimepointLesions, find_lesions
from .change.matching import LinkOverride, match_lesions
from .change.panel import panel_log_sd, panel_volumes
from .change.timeline import Track, lesion_tracks
from .change.uncertainty import UncertaintySettings
from .registration.alignment import Alignment
from .registration.common_space import common_grid, into_common_space
from .registration.deformable import deformation
from .registration.preparation import Prepared
from .registration.rigid import transform_of
from .registration.similarity import pearson
from .response.assess import ChangeCategory, assess
from .response.criteria_files import Criterion
from .response.measures import measures_of
from .timepoints import Timepoint

#: Two scans are of one contrast when their correlation inside the brain is at least this; only then does a difference
#: of gray values mean anything.
SAME_CONTRAST = 0.6


@dataclass(frozen=True)
class MovedDiameter:
    """A diameter that a person has set: of a lesion of a timepoint (from 0), "longest" or "perpendicular"; its two
    ends in LPS, mm, in the scan."""

    timepoint: int
    lesion: int
    which: str
    ends: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Pair:
    """The baseline and one later timepoint.

    Attributes:
        number: of the later one, from 1.
        change: None without masks.
        intensity: None where the gate failed, or the contrasts differ.
        category: None without masks, without a criterion or where lesions could not be matched.
        expansion: local expansion from the baseline to the later one in percent, in the common space (on a grid of its
            own), 0 outside of the masks and where it folds; None unless it was asked for and the gate is good. A map
            to look at, never the source of a volume.
        contrasts: change of the further contrasts that both have, by name; None where there is no map of one.
    """

    number: int
    change: Change | None
    intensity: IntensityChange | None
    category: ChangeCategory | None
    expansion: sitk.Image | None = None
    contrasts: dict[str, IntensityChange | None] = field(default_factory=dict)

    @property
    def expansion_spread(self) -> float:
        """Standard deviation of the map of expansion within the masks (percent), robustly: most of it is no change."""
        values = sitk.GetArrayViewFromImage(self.expansion)
        values = values[np.isfinite(values) & (values != 0)]
        return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else 0.0


@dataclass(frozen=True)
class Comparison:
    """Everything that was found.

    Attributes:
        lesions: of each timepoint, empty without masks.
        tracks: lesions over time; empty where any registration failed.
        grid: of the common space. images, masks: on it, of the timepoints whose gate did not fail; None for others.
        contrasts: name of a further contrast that all timepoints have -> its images, like ``images``.
    """

    timepoints: tuple[Timepoint, ...]
    alignment: Alignment
    pairs: tuple[Pair, ...]
    lesions: tuple[TimepointLesions, ...]
    tracks: tuple[Track, ...]
    grid: sitk.Image
    images: tuple[sitk.Image | None, ...] = field(repr=False)
    masks: tuple[sitk.Image | None, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    contrasts: dict[str, tuple[sitk.Image | None, ...]] = field(default_factory=dict, repr=False)


def compare(
    timepoints: Sequence[Timepoint],
    prepared: Sequence[Prepared],
    alignment: Alignment,
    criterion: Criterion | None,
    settings: UncertaintySettings | None = None,
    overrides: Sequence[LinkOverride] = (),
    moved: Sequence[MovedDiameter] = (),
    with_jacobian: bool = False,
    calibration_sd: float | None = None,
) -> Comparison:
    """Measure what changed, natively, and compare voxels where the gate allows it; ``calibration_sd``: see
    :func:`.change.uncertainty.log_interval`."""
    settings = settings or UncertaintySettings()
    notes: list[str] = []
    count = len(timepoints)
    trusted = [state != "failed" for state in alignment.states]
    with_masks = all(one.mask is not None for one in timepoints)
    lesions = tuple(find_lesions(one.mask) for one in timepoints) if with_masks else ()
    lesions = tuple(_with_moved(one, n, moved, notes) for n, one in enumerate(lesions))
    panels = [
        None if one.jackknife is None else panel_volumes(one.jackknife, one.voices, found)
        for one, found in zip(timepoints, lesions)
    ]
    shown = [n for n in range(count) if trusted[n]]
    grid = common_grid([timepoints[n].image for n in shown], [alignment.from_common[n] for n in shown])
    images, masks = [], []
    for n, one in enumerate(timepoints):
        matrix = alignment.from_common[n]
        images.append(into_common_space(one.image, grid, matrix) if trusted[n] else None)
        masks.append(
            into_common_space(one.mask, grid, matrix, labels=True) if trusted[n] and one.mask is not None else None
        )
    contrasts = _contrasts(timepoints, alignment, grid, trusted)
    tracks: tuple[Track, ...] = ()
    if with_masks and all(trusted):
        matchings = [
            match_lesions(lesions[n], lesions[n + 1], _between(alignment, n, n + 1), _of(overrides, n, n + 1))
            for n in range(count - 1)
        ]
        tracks = lesion_tracks(lesions, matchings)
    # against the baseline; where a nadir is the reference both count, which is cautious
    against = [panel_log_sd((panels[0], (0,)), (one, (0,))) if one else None for one in panels]
    sds = [
        float(np.hypot(one[0] if one else 0.0, calibration_sd or 0.0)) if n else 0.0 for n, one in enumerate(against)
    ]
    categories = _categories(timepoints, lesions, sds, tracks, alignment, criterion, settings, notes)
    pairs = []
    for n in range(1, count):
        placed = _between(alignment, 0, n) if trusted[n] else None
        change = None
        if with_masks:
            change = compare_lesions(
                lesions[0], lesions[n], placed, timepoints[n].days, settings, _of(overrides, 0, n),
                (panels[0], panels[n]), calibration_sd,
            )
            if change.matching is not None and change.matching.ignored:
                count_ignored = len(change.matching.ignored)
                notes.append(f"Corrected links that meet no lesion any more: {count_ignored} at timepoint {n + 1}.")
        intensity, more = None, {}
        if trusted[n]:
            both = _both_masks(prepared, alignment, grid, n)
            intensity = _intensity(images, both, alignment, n, notes)
            more = {name: _contrast_change(name, timepoints, them, both, alignment, n, notes)
                    for name, them in contrasts.items()}  # fmt: skip
        expansion = _expansion(prepared, alignment, n, notes) if with_jacobian else None
        pairs.append(Pair(n, change, intensity, categories.get(n), expansion, more))
    return Comparison(
        tuple(timepoints), alignment, tuple(pairs), lesions, tracks, grid, tuple(images), tuple(masks), tuple(notes),
        contrasts,
    )  # fmt: skip


def _contrasts(timepoints, alignment, grid, trusted) -> dict[str, tuple[sitk.Image | None, ...]]:
    """The further contrasts that every timepoint has, in the common space."""
    shared = [one.name for one in timepoints[0].channels if all(other.channel(one.name) for other in timepoints)]
    return {
        name: tuple(
            into_common_space(one.channel(name).image, grid, alignment.from_common[n]) if trusted[n] else None
            for n, one in enumerate(timepoints)
        )
        for name in shared
    }


def _of(overrides: Sequence[LinkOverride], first: int, second: int) -> list[LinkOverride]:
    return [one for one in overrides if one.timepoints == (first, second)]


def _with_moved(found: TimepointLesions, timepoint: int, moved: Sequence[MovedDiameter], notes: list[str]):
    """The lesions with the diameters that a person moved; one that belongs to no lesion any more is told."""
    lesions = list(found.lesions)
    for one in moved:
        if one.timepoint != timepoint:
            continue
        middle = np.mean(one.ends, axis=0)
        # The number may have changed with the mask: the place decides, and the number where the place says nothing.
        label = found.label_at(middle) or one.lesion
        if not 1 <= label <= len(lesions):
            notes.append(f"A diameter that was moved belongs to no lesion any more (timepoint {timepoint + 1}).")
            continue
        length = float(np.linalg.norm(np.subtract(*one.ends)))
        lesion = lesions[label - 1]
        changed = replace(lesion.diameters, **{f"{one.which}_mm": length, f"{one.which}_ends": one.ends})
        lesions[label - 1] = replace(lesion, diameters=changed)
        notes.append(
            f"The {one.which} diameter of lesion {label} at timepoint {timepoint + 1} was set by a person: "
            f"{length:.1f} mm."
        )
    return replace(found, lesions=tuple(lesions))


def _between(alignment: Alignment, first: int, second: int) -> ChangeAlignment:
    """Two timepoints in the common space, with how far their registration may be off."""
    pairs = [alignment.pairs[n - 1] for n in (first, second) if n > 0]
    error = float(np.sqrt(sum(pair.gate.numbers["inverse_consistency_mm"] ** 2 for pair in pairs)))
    ratios = [1.0 if n == 0 else alignment.pairs[n - 1].volume_ratio for n in (first, second)]
    return ChangeAlignment(
        transform_of(alignment.from_common[first]),
        transform_of(alignment.from_common[second]),
        error,
        ratios[1] / ratios[0],
    )


def _categories(
    timepoints, lesions, sds, tracks, alignment, criterion, settings, notes
) -> dict[int, ChangeCategory]:
    if criterion is None or not lesions:
        return {}
    if "failed" in alignment.states:
        notes.append("No change category: lesions can only be followed where every registration succeeded.")
        return {}
    measured = measures_of(lesions, tracks, [one.days for one in timepoints], panel_log_sd=sds)
    ratios = [None, *(pair.volume_ratio for pair in alignment.pairs)]
    found = assess(criterion, measured, settings, volume_ratios=ratios)
    return {one.timepoint: one for one in found}


def _both_masks(prepared, alignment, grid, n) -> sitk.Image:
    """Where the baseline's mask and that of timepoint n overlap, in the common space."""
    masks = [into_common_space(prepared[t].found.image, grid, alignment.from_common[t], labels=True) for t in (0, n)]
    return masks[0] * masks[1]


def _intensity(images, both, alignment, n, notes) -> IntensityChange | None:
    gate = alignment.pairs[n - 1].gate
    if not gate.numbers["pearson"] >= SAME_CONTRAST:
        notes.append(
            f"No map of intensity change at timepoint {n + 1}: the scans are of different contrasts "
            f"(correlation {gate.numbers['pearson']:.2f})."
        )
        return None
    return intensity_change(images[0], images[n], both, gate.numbers["inverse_consistency_mm"])


def _contrast_change(name, timepoints, images, both, alignment, n, notes) -> IntensityChange | None:
    """As for the reference, where both scans show something; what lies beside within a session counts as error."""
    seen = [_field(timepoints[t].channel(name).image, both, alignment.from_common[t]) for t in (0, n)]
    inside = both * seen[0] * seen[1]
    where = sitk.GetArrayViewFromImage(inside) > 0
    alike = pearson(*(sitk.GetArrayViewFromImage(images[t])[where] for t in (0, n))) if where.any() else float("nan")
    if not alike >= SAME_CONTRAST:
        notes.append(f"No map of intensity change of {name} at timepoint {n + 1}: the two scans do not look alike "
                     f"(correlation {alike:.2f}).")  # fmt: skip
        return None
    beside = [timepoints[t].channel(name) for t in (0, n)]
    beside = [0.0 if one.matrix is not None or not np.isfinite(one.beside_mm) else one.beside_mm for one in beside]
    error = float(np.hypot(alignment.pairs[n - 1].gate.numbers["inverse_consistency_mm"], np.hypot(*beside)))
    return intensity_change(images[0], images[n], inside, error)


def _field(image: sitk.Image, grid: sitk.Image, from_common: np.ndarray) -> sitk.Image:
    """1 where a scan has voxels."""
    everywhere = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    everywhere.CopyInformation(image)
    return into_common_space(everywhere, grid, from_common, labels=True)


def _expansion(prepared, alignment, n, notes) -> sitk.Image | None:
    gate = alignment.pairs[n - 1].gate
    if gate.state != "good":
        notes.append(f"No Jacobian map at timepoint {n + 1}: the registration is not good ({gate.state}).")
        return None
    if not gate.numbers["pearson"] >= SAME_CONTRAST:
        notes.append(f"No Jacobian map at timepoint {n + 1}: the scans are of different contrasts.")
        return None
    pair = [prepared[t] for t in (0, n)]
    there, back, inside = deformation(pair, [alignment.from_common[t] for t in (0, n)])
    # half of what the two directions say together: exchanging the scans negates it
    logs = [sitk.GetArrayFromImage(log_jacobian(field)) for field in (there, back)]
    expansion = sitk.GetImageFromArray(np.nan_to_num(100 * np.expm1((logs[0] - logs[1]) / 2)))
    expansion.CopyInformation(inside)
    notes.append(
        f"The Jacobian map at timepoint {n + 1} is for the eye only: a deformable registration understates how much a "
        "lesion grew, so no volume and no category comes from it."
    )
    return sitk.Mask(expansion, inside)
