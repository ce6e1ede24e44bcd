"""How alike two aligned images are: correlation and mutual information inside the overlap of their masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .preparation import Prepared
from .rigid import transform_of

_BINS = 32


@dataclass(frozen=True)
class Similarity:
    """Two images in the overlap of their masks.

    Attributes:
        pearson: correlation coefficient, -1 to 1; NaN where nothing overlaps.
        nmi: normalized mutual information (H(a) + H(b)) / H(a, b), Studholme et al. 1999; 1: nothing in common.
        overlap: volume of the overlap of the masks over that of their union (Jaccard index).
        contained: the same over that of the smaller mask (overlap coefficient).
    """

    pearson: float
    nmi: float
    overlap: float
    contained: float


def similarity(fixed: Prepared, moving: Prepared, matrix: np.ndarray) -> Similarity:
    """How alike the images are when ``matrix`` takes points of ``fixed`` to points of ``moving``."""
    transform = transform_of(matrix)
    there = sitk.GetArrayFromImage(sitk.Resample(moving.mask, fixed.image, transform, sitk.sitkNearestNeighbor, 0)) > 0
    here = sitk.GetArrayViewFromImage(fixed.mask) > 0
    both = here & there
    # What the mask of the other has beyond this grid counts for the union as well.
    other = np.count_nonzero(sitk.GetArrayViewFromImage(moving.mask)) * np.prod(moving.mask.GetSpacing())
    voxel = np.prod(fixed.mask.GetSpacing())
    shared = both.sum() * voxel
    overlap = float(shared / (here.sum() * voxel + other - shared))
    contained = float(shared / max(min(here.sum() * voxel, other), voxel))
    if both.sum() < 50:
        return Similarity(float("nan"), 1.0, overlap, contained)
    moved = sitk.GetArrayFromImage(sitk.Resample(moving.image, fixed.image, transform, sitk.sitkLinear, 0.0))
    a, b = sitk.GetArrayViewFromImage(fixed.image)[both], moved[both]
    return Similarity(pearson(a, b), normalized_mutual_information(a, b), overlap, contained)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation coefficient of two samples; NaN where one is constant."""
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def normalized_mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """(H(a) + H(b)) / H(a, b) of two samples, from a histogram between their 1st and 99th percentiles."""
    ranks = [np.clip((v - np.percentile(v, 1)) / max(np.ptp(np.percentile(v, (1, 99))), 1e-9), 0, 1) for v in (a, b)]
    joint = np.histogram2d(*ranks, bins=_BINS, range=((0, 1), (0, 1)))[0]
    joint /= joint.sum()
    h_a, h_b, h_ab = (_entropy(p) for p in (joint.sum(axis=1), joint.sum(axis=0), joint.ravel()))
    return float((h_a + h_b) / h_ab) if h_ab > 0 else 1.0


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
