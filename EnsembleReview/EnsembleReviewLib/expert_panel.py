"""The opinions of all experts on one case, cropped to where anybody says anything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.structures import NESTED_TUMOR_REGIONS, TUMOR_REGIONS
from MRISegSuiteLib.measures.surface_distance import bounding_box

from .opinions import Abstention, Opinion, independent_groups
from .votes import VotePatterns

#: Where no expert gives a structure more than this probability, all are taken to say no.
LEAST_PROBABILITY = 0.05
#: Room around everything that was voted on, mm.
MARGIN_MM = 10.0

#: How labels that exclude each other are voted on: region by region from the outside in, or each label on its own.
REGIONS, LABELS = VOTES = ("regions", "labels")


class ExpertPanel:
    """The opinions on one case.

    Args:
        opinions: at least one; their arrays lie on the grid of ``grid``.
        grid: an image with the case's geometry (LPS, mm).
        abstentions: experts without an answer.
        vote: "regions": tumors are voted on as whole tumor, tumor core and enhancing tumor. "labels": every label for
            itself.

    Attributes:
        box: slices (k, j, i) of the image that the arrays of this object cover.
        spacing: (k, j, i) mm.
        structures: names that are voted on, larger regions first.
        parts: names of the labels that are part of a voted region (edema), for the label map.
        groups: experts that count as one voice each.
    """

    def __init__(self, opinions: Sequence[Opinion], grid: sitk.Image, abstentions: Sequence[Abstention] = (),
                 vote: str = REGIONS):
        if not opinions:
            raise ValueError("a panel needs at least one opinion")
        if vote not in VOTES:
            raise ValueError(f"vote is one of {', '.join(VOTES)}, not {vote!r}")
        self.grid, self.abstentions, self.vote = grid, list(abstentions), vote
        self.shape = grid.GetSize()[::-1]
        self.spacing = np.array(grid.GetSpacing()[::-1])
        self.opinions = list(opinions)
        self.groups = independent_groups(self.opinions)
        self.box = self._box()
        self._cropped = {
            opinion.expert: {name: np.ascontiguousarray(array[self.box]) for name, array in opinion.answers.items()}
            for opinion in self.opinions
        }
        self._patterns: dict[str, VotePatterns] = {}

    @property
    def experts(self) -> list[str]:
        """Identifiers of the experts with an opinion."""
        return [opinion.expert for opinion in self.opinions]

    @property
    def voxel_mm3(self) -> float:
        return float(np.prod(self.spacing))

    @cached_property
    def structures(self) -> list[str]:
        known = list(dict.fromkeys(name for opinion in self.opinions for name in opinion.answers))
        if self.vote == REGIONS and "whole_tumour" in known:
            known = [name for name in known if name not in self.parts]
        nested = [name for name in NESTED_TUMOR_REGIONS if name in known]
        return nested + [name for name in known if name not in nested]

    @cached_property
    def parts(self) -> list[str]:
        known = {name for opinion in self.opinions for name in opinion.answers}
        if self.vote != REGIONS or "whole_tumour" not in known:
            return []
        return [name for name in TUMOR_REGIONS["whole_tumour"] if name in known and name not in NESTED_TUMOR_REGIONS]

    def experts_on(self, structure: str) -> list[str]:
        """The experts who know a structure."""
        return [opinion.expert for opinion in self.opinions if structure in opinion.answers]

    def voices_on(self, structure: str) -> list[list[str]]:
        """The independent groups among the experts who know a structure."""
        known = set(self.experts_on(structure))
        return [inside for group in self.groups if (inside := [expert for expert in group if expert in known])]

    def weights_on(self, structure: str, given: dict[str, float] | None = None) -> np.ndarray:
        """One weight for each of :meth:`experts_on`: 1 for each voice, shared within a group, times those given."""
        share = {expert: 1.0 / len(group) for group in self.voices_on(structure) for expert in group}
        return np.array([share[e] * (given or {}).get(e, 1.0) for e in self.experts_on(structure)])

    def mask(self, expert: str, structure: str) -> np.ndarray:
        """An expert's yes and no, inside the box."""
        patterns = self.patterns(structure)
        return patterns.map(patterns.votes[:, patterns.experts.index(expert)])

    def probability(self, expert: str, structure: str) -> np.ndarray | None:
        """An expert's probabilities inside the box, None where it gave a mask."""
        answer = self._cropped[expert][structure]
        return None if answer.dtype == bool else answer

    def patterns(self, structure: str) -> VotePatterns:
        """The votes on a structure."""
        if structure not in self._patterns:
            masks = {}
            for expert in self.experts_on(structure):
                answer = self._cropped[expert][structure]
                masks[expert] = answer if answer.dtype == bool else answer > 0.5
            self._patterns[structure] = VotePatterns(masks, int(np.prod(self.shape)))
        return self._patterns[structure]

    def whole(self, array: np.ndarray, outside=0) -> np.ndarray:
        """An array of the box as one of the whole image."""
        full = np.full(self.shape, outside, array.dtype)
        full[self.box] = array
        return full

    def image(self, array: np.ndarray, outside=0) -> sitk.Image:
        """An array of the box as an image on the case's grid."""
        image = sitk.GetImageFromArray(self.whole(array, outside))
        image.CopyInformation(self.grid)
        return image

    def center_lps(self, index_kji) -> tuple[float, float, float]:
        """Place (LPS, mm) of a (fractional) index of the box."""
        index = [float(i) + part.start for i, part in zip(index_kji, self.box, strict=True)]
        return self.grid.TransformContinuousIndexToPhysicalPoint(index[::-1])

    def _box(self) -> tuple[slice, ...]:
        low, high = np.array(self.shape), np.zeros(3, int)
        for opinion in self.opinions:
            for name, array in opinion.answers.items():
                if array.shape != tuple(self.shape):
                    raise ValueError(f"{opinion.expert}, {name}: {array.shape} is not the grid {tuple(self.shape)}")
                box = bounding_box(array if array.dtype == bool else array > LEAST_PROBABILITY)
                if box is not None:
                    low = np.minimum(low, [part.start for part in box])
                    high = np.maximum(high, [part.stop for part in box])
        if (high <= low).any():  # nobody says anything anywhere
            return tuple(slice(0, 1) for _ in self.shape)
        margin = np.ceil(MARGIN_MM / self.spacing).astype(int)
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, self.shape)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
