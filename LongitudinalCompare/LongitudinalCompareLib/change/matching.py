"""Which lesion of one timepoint is which of the other: an overlap graph in the common space.

Two lesions are linked where they overlap by at least a tenth of the smaller one. A lesion without any such partner is
linked to lesions within a tolerance, the larger of the registration error and half a slice distance: so far apart the
same lesion may come to lie. A person may link or part any two. Connected lesions of the graph are one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .alignment import Alignment, InCommonSpace, in_common_space
from .lesions import TimepointLesions

#: Two lesions overlap when they share at least this part of the smaller one.
SMALLEST_OVERLAP = 0.1

MATCHED, NEW, RESOLVED, MERGED, SPLIT, REGROUPED = "matched", "new", "resolved", "merged", "split", "regrouped"


@dataclass(frozen=True)
class LinkOverride:
    """A person's word on two lesions: ``linked`` or not. They are named by points inside them (LPS, mm, each in its
    own scan), so that the word outlives an edited mask and other numbers. ``timepoints`` are those that the points are
    in (from 0): it counts wherever these two are matched."""

    baseline_point: tuple[float, float, float]
    followup_point: tuple[float, float, float]
    linked: bool
    timepoints: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Link:
    """Lesion ``baseline`` of the first timepoint is lesion ``followup`` of the second.

    ``by`` says why: ``overlap``, ``tolerance`` (near each other, without a partner otherwise) or ``user``.
    ``overlap`` is the shared part of the smaller one.
    """

    baseline: int
    followup: int
    by: str
    overlap: float


@dataclass(frozen=True)
class LesionGroup:
    """Lesions that belong together, and what became of them.

    ``status``: matched (one to one), new, resolved, merged (several to one), split (one to several), regrouped
    (several to several).

    ``was_too_small`` is True for a new (resolved) lesion in whose place the mask of the other timepoint holds
    something below the smallest size that counts as a lesion: it has not come from (gone to) nothing.
    """

    baseline: tuple[int, ...]
    followup: tuple[int, ...]
    status: str
    links: tuple[Link, ...]
    was_too_small: bool = False


@dataclass(frozen=True)
class Matching:
    """All groups, with what decided on them. ``ignored`` are overrides that meet no lesion (any more)."""

    groups: tuple[LesionGroup, ...]
    tolerance_mm: float
    smallest_overlap: float
    ignored: tuple[LinkOverride, ...]


def match_lesions(
    baseline: TimepointLesions,
    followup: TimepointLesions,
    alignment: Alignment,
    overrides: Sequence[LinkOverride] = (),
    smallest_overlap: float = SMALLEST_OVERLAP,
    placed: InCommonSpace | None = None,
) -> Matching:
    """Groups of lesions that belong together, largest first; swapping the timepoints swaps new and resolved.

    ``placed`` is ``in_common_space(baseline, followup, alignment)`` where that has been made already.
    """
    tolerance = max(alignment.error_mm, baseline.slice_mm / 2, followup.slice_mm / 2)
    placed = placed or in_common_space(baseline, followup, alignment)
    first, second = np.maximum(placed.baseline, 0), np.maximum(placed.followup, 0)
    links = _overlaps(first, second, len(baseline.lesions), len(followup.lesions), smallest_overlap)
    links |= _near(first, second, links, baseline, followup, tolerance, placed.spacing_mm)
    ignored = []
    for override in overrides:
        pair = baseline.label_at(override.baseline_point), followup.label_at(override.followup_point)
        if 0 in pair:
            ignored.append(override)
        elif override.linked:
            links[pair] = Link(*pair, "user", links[pair].overlap if pair in links else 0.0)
        else:
            links.pop(pair, None)
    groups = _groups(links, baseline, followup)
    groups = tuple(_with_specks(group, placed, first, second, tolerance) for group in groups)
    return Matching(groups, tolerance, smallest_overlap, tuple(ignored))


def _overlaps(first, second, count_a: int, count_b: int, smallest: float) -> dict[tuple[int, int], Link]:
    """Links by overlap, from the table of how many voxels each pair of numbers shares."""
    shared = np.bincount(
        first.ravel().astype(np.int64) * (count_b + 1) + second.ravel(), minlength=(count_a + 1) * (count_b + 1)
    ).reshape(count_a + 1, count_b + 1)
    in_a, in_b = shared.sum(axis=1), shared.sum(axis=0)
    links = {}
    for a, b in np.argwhere(shared[1:, 1:]) + 1:
        part = shared[a, b] / min(in_a[a], in_b[b])
        if part >= smallest:
            links[int(a), int(b)] = Link(int(a), int(b), "overlap", float(part))
    return links


def _near(first, second, links, baseline, followup, tolerance: float, spacing: float) -> dict[tuple[int, int], Link]:
    """Links within the tolerance of lesions that overlap nothing."""
    found = {}
    alone_a = [one.label for one in baseline.lesions if not any(a == one.label for a, _ in links)]
    alone_b = [one.label for one in followup.lesions if not any(b == one.label for _, b in links)]
    for label in alone_a:
        for other in _within(first, label, second, tolerance, spacing):
            found[label, other] = Link(label, other, "tolerance", 0.0)
    for label in alone_b:
        for other in _within(second, label, first, tolerance, spacing):
            found[other, label] = Link(other, label, "tolerance", 0.0)
    return found


def _within(labels: np.ndarray, label: int, others: np.ndarray, tolerance: float, spacing: float) -> list[int]:
    """Numbers in ``others`` with a voxel center no further than the tolerance from one of lesion ``label``."""
    box = ndimage.find_objects(labels == label, 1)[0]
    if box is None:  # smaller than a voxel of the common grid
        return []
    margin = int(np.ceil(tolerance / spacing)) + 1
    around = tuple(slice(max(0, part.start - margin), part.stop + margin) for part in box)
    away = ndimage.distance_transform_edt(labels[around] != label, spacing)
    near = np.unique(others[around][away <= tolerance + 1e-6])
    return [int(n) for n in near if n]


def _groups(links: dict, baseline: TimepointLesions, followup: TimepointLesions) -> tuple[LesionGroup, ...]:
    count_a, count_b = len(baseline.lesions), len(followup.lesions)
    pairs = np.array(sorted(links), int).reshape(-1, 2)
    size = count_a + count_b
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0] - 1, count_a + pairs[:, 1] - 1)), (size, size))
    number, group_of = connected_components(graph, directed=False)
    groups = []
    for group in range(number):
        members = np.flatnonzero(group_of == group)
        a = tuple(int(n) + 1 for n in members if n < count_a)
        b = tuple(int(n) - count_a + 1 for n in members if n >= count_a)
        inside = tuple(link for (one, _), link in sorted(links.items()) if one in a)
        groups.append(LesionGroup(a, b, _status(len(a), len(b)), inside))

    def largest(group: LesionGroup) -> float:
        volumes = [baseline.by_label(n).volume_mm3 for n in group.baseline]
        return max(volumes + [followup.by_label(n).volume_mm3 for n in group.followup])

    return tuple(sorted(groups, key=largest, reverse=True))


def _with_specks(group: LesionGroup, placed: InCommonSpace, first, second, tolerance: float) -> LesionGroup:
    """The group, with ``was_too_small`` where that is so."""
    if group.status == NEW:
        labels, (label,), others = second, group.followup, placed.baseline
    elif group.status == RESOLVED:
        labels, (label,), others = first, group.baseline, placed.followup
    else:
        return group
    specks = _within(labels, label, np.minimum(others, 0), tolerance, placed.spacing_mm)
    return replace(group, was_too_small=bool(specks))


def _status(before: int, after: int) -> str:
    if before == 0:
        return NEW
    if after == 0:
        return RESOLVED
    if before == after == 1:
        return MATCHED
    if after == 1:
        return MERGED
    return SPLIT if before == 1 else REGROUPED
