"""Lesions over three and more timepoints: the groups of neighboring pairs, joined to tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .lesions import TimepointLesions
from .matching import Matching


@dataclass(frozen=True)
class Track:
    """One lesion over time: for each timepoint the numbers of the lesions that belong to it (none, one or several).

    ``number`` is from 1: those seen first come first, the largest of them first. ``was_too_small`` is True where it
    was there before it was first counted, below the smallest size.
    """

    number: int
    members: tuple[tuple[int, ...], ...]
    was_too_small: bool = False

    @property
    def first_seen(self) -> int:
        """Index of the first timepoint at which it is there."""
        return next(t for t, labels in enumerate(self.members) if labels)


def lesion_tracks(timepoints: Sequence[TimepointLesions], matchings: Sequence[Matching]) -> tuple[Track, ...]:
    """Tracks through all timepoints.

    Args:
        timepoints: in the order of time.
        matchings: between each and the next one. A lesion that is gone and comes back is another track: new.

    Raises:
        ValueError: not one matching for each pair of neighbors.
    """
    if len(matchings) != len(timepoints) - 1:
        raise ValueError(f"{len(timepoints)} timepoints need {len(timepoints) - 1} matchings, not {len(matchings)}")
    starts = np.cumsum([0] + [len(one.lesions) for one in timepoints])
    rows, columns = [], []
    for t, matching in enumerate(matchings):
        for group in matching.groups:
            nodes = [starts[t] + n - 1 for n in group.baseline] + [starts[t + 1] + n - 1 for n in group.followup]
            rows += nodes[:-1]
            columns += nodes[1:]
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), (starts[-1], starts[-1]))
    count, track_of = connected_components(graph, directed=False)
    members = [
        tuple(
            tuple(int(n) + 1 for n in np.flatnonzero(track_of[starts[t] : starts[t + 1]] == number))
            for t in range(len(timepoints))
        )
        for number in range(count)
    ]

    def order(labels):
        seen = next(t for t, there in enumerate(labels) if there)
        return seen, min(labels[seen])

    small = {(t + 1, n) for t, one in enumerate(matchings) for g in one.groups if g.was_too_small for n in g.followup}
    tracks = []
    for number, labels in enumerate(sorted(members, key=order), start=1):
        first = next(t for t, there in enumerate(labels) if there)
        tracks.append(Track(number, labels, any((first, n) in small for n in labels[first])))
    return tuple(tracks)
