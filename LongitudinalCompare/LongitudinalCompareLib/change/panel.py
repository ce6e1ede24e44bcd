"""What a panel of experts says of each lesion's volume: the jackknife, lesion by lesion.

The panel hands over its fusion and the fusions without each voice as bits of one image. A voxel that only some of them
hold belongs to the nearest lesion of the fusion, so that every lesion has a volume without each voice, and so have
lesions taken together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MRISegSuiteLib.measures import jackknife

from .lesions import TimepointLesions
from .uncertainty import Z95


@dataclass(frozen=True)
class PanelVolumes:
    """Volumes of a timepoint without each voice.

    Attributes:
        voices: who is left out, in the order of columns.
        left_out_mm3: (lesions + 1, voices): row n is lesion n, row 0 the whole mask.
    """

    voices: tuple[str, ...]
    left_out_mm3: np.ndarray = field(repr=False)

    def without_each(self, labels: Sequence[int] = (0,)) -> np.ndarray:
        """Volume (mm3) of some lesions together (0: the whole) without each voice."""
        return self.left_out_mm3[list(labels)].sum(axis=0)


def panel_log_sd(
    baseline: tuple[PanelVolumes | None, Sequence[int]], followup: tuple[PanelVolumes | None, Sequence[int]]
) -> tuple[float, str] | None:
    """Standard deviation on ln(V2 / V1) that the disagreement of experts makes, and in words where it comes from.

    Where the same voices speak at both timepoints each is left out of both: an expert who always draws wider changes
    both volumes and not the ratio. Otherwise the timepoints count as independent.

    Args:
        baseline, followup: the panel (None where none segmented) and the labels of the lesions, (0,) for the whole.

    Returns:
        None without a panel, and where a voice is all that sees the lesion.
    """
    given = [(panel, panel.without_each(labels)) for panel, labels in (baseline, followup) if panel is not None]
    if not given or any((volumes <= 0).any() for _, volumes in given):
        return None
    if len(given) == 2 and given[0][0].voices == given[1][0].voices:
        half = jackknife.half_width(np.log(given[1][1] / given[0][1]))
        return half / Z95, f"jackknife of a panel of {len(given[0][0].voices)}, each left out of both timepoints"
    halves = [jackknife.half_width(np.log(volumes)) for _, volumes in given]
    return math.hypot(*halves) / Z95, f"jackknife of a panel, {len(given)} of 2 timepoints"


def panel_volumes(bits: sitk.Image, voices: Sequence[str], lesions: TimepointLesions) -> PanelVolumes | None:
    """Volumes without each voice; None where there were fewer than three voices.

    Args:
        bits: bit 0: the fusion; bit n: without voice n. voices: their names. lesions: of the fusion.
    """
    array = sitk.GetArrayViewFromImage(bits)
    inside = np.argwhere(array > 0)
    if len(voices) < 3 or not len(inside):
        return None
    box = tuple(slice(a, b + 1) for a, b in zip(inside.min(axis=0), inside.max(axis=0)))
    array = array[box]
    labels = sitk.GetImageFromArray(lesions.labels)
    spacing = lesions.grid.spacing
    labels.SetOrigin(lesions.grid.origin.tolist())
    labels.SetSpacing(spacing.tolist())
    labels.SetDirection((lesions.grid.steps / spacing).ravel().tolist())
    there = sitk.Resample(labels, bits, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    there = sitk.GetArrayFromImage(there)[box]
    if there.any():
        nearest = ndimage.distance_transform_edt(there == 0, bits.GetSpacing()[::-1], False, True)
        there = there[tuple(nearest)]
    count = len(lesions.lesions)
    found = np.zeros((count + 1, len(voices)))
    for voice in range(len(voices)):
        held = (array >> (voice + 1)) & 1 > 0
        found[:, voice] = np.bincount(there[held].ravel(), minlength=count + 1)[: count + 1]
        found[0, voice] = np.count_nonzero(held)
    return PanelVolumes(tuple(voices), found * lesions.grid.voxel_mm3)
