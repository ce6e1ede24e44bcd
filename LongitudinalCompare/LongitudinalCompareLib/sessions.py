"""The contrasts of each timepoint brought together: do they lie on each other, and if not, where do they belong?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.canonical import same_grid
from MRISegSuiteLib.images.channels import same_channel

from .registration.alignment import PairAlignment, align_pair
from .registration.engines import Engine
from .registration.preparation import Prepared, prepare
from .registration.rigid import displacement_mm, moved
from .registration.session import BESIDE_MM, beside_mm
from .timepoints import Channel, Timepoint

#: When the contrasts of a session are registered to its reference: where they do not lie on each other, always, never.
WITHIN_SESSION = ("auto", "always", "never")


def settle(
    one: Timepoint, how: str, engine: Engine, anatomy: str, brain: sitk.Image | None, warn: Callable[[str], None]
) -> Timepoint:
    """A timepoint whose contrasts all lie where its reference has them.

    Voxels are never interpolated: a contrast that was registered gets other coordinates (origin and direction), and
    the mask that was drawn on it goes with it.

    Args:
        how: one of ``WITHIN_SESSION``. anatomy, brain: see :func:`registration.preparation.prepare`.

    Raises:
        BadInput: the contrast that carries the mask belongs nowhere.
    """
    if not one.channels or how == "never":
        return one
    reference = prepare(one.image, anatomy, brain)
    settled, mask = [], one.mask
    for channel in one.channels:
        # Where the two lie on each other the reference's mask fits both, and no second search can be worse than it.
        beside = beside_mm(reference, prepare(channel.image, anatomy, reference.found.image))
        channel = replace(channel, beside_mm=beside)
        if how == "auto" and beside <= BESIDE_MM:
            settled.append(channel)
            continue
        pair = _register(reference, prepare(channel.image, anatomy), engine)
        name = f"{channel.name} of the {one.label}"
        if not pair.gate.allows_comparison:
            if one.mask_of == channel.name:
                raise BadInput(
                    f"{name} carries the mask, but could not be registered to {one.name or 'its reference scan'}: "
                    + " ".join(pair.gate.reasons), "Check that both are of one session.",
                )  # fmt: skip
            warn(f"{name} was left out: it could not be registered within its session. {' '.join(pair.gate.reasons)}")
            continue
        shift = displacement_mm(pair.matrix, np.eye(4), reference.points).mean()
        why = f"it did not lie on {one.name or 'the reference'}" if how == "auto" else "as asked for"
        warn(f"{name} was registered within its session ({why}): moved by {shift:.1f} mm ({pair.gate.state}).")
        back = np.linalg.inv(pair.matrix)
        if one.mask_of == channel.name:
            mask = moved(mask, back)
        settled.append(replace(channel, image=moved(channel.image, back), matrix=pair.matrix))
    return replace(one, channels=tuple(settled), mask=mask)


def _register(reference: Prepared, other: Prepared, engine: Engine) -> PairAlignment:
    """From where the scanner's coordinates have the two, which is near; searched for only where that fails."""
    pair = align_pair(reference, other, engine, as_they_lie=True)
    return pair if pair.gate.allows_comparison else align_pair(reference, other, engine)


def scans_for(one: Timepoint, wanted: list[str]) -> list[sitk.Image] | None:
    """The scans of a timepoint that are these contrasts, on one grid: that of the reference where it is one of them,
    else of the first. None where one is not there.

    The one contrast that a model wants is taken from a scan that nobody named.
    """
    there = [Channel(one.name, one.path, one.image), *one.channels]
    found = []
    for name in wanted:
        fitting = [c for c in there if c.name and same_channel(c.name, name)]
        if not fitting and len(wanted) == 1 and not one.name:
            fitting = there[:1]
        if not fitting:
            return None
        found.append(fitting[0].image)
    grid = one.image if any(image is one.image for image in found) else found[0]
    return [image if same_grid(image, grid) else sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0)
            for image in found]  # fmt: skip


def grid_of(one: Timepoint, image: sitk.Image) -> str | None:
    """``Timepoint.mask_of`` of a mask on the grid of ``image``."""
    if same_grid(image, one.image):
        return None
    return next((c.name for c in one.channels if same_grid(image, c.image)), None)
