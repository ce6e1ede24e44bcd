"""Rigid alignment of two scans, both ways and alike, with what is needed to judge it; and of more than two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from .engines import Engine
from .gate import Gate, Judged, judge
from .preparation import Prepared, coarser, turned
from .rigid import displacement_mm, mean, power, rounded
from .similarity import similarity

#: Voxel size for the search of a start, and for the affine that tells a drift of the scanner's scale.
_SEARCH_MM, _SCALE_MM = 6.0, 3.0
#: Of the affine: what part of a slice the border may be off by, and where the border is, in root mean square radii.
_SLICE_PART, _BORDER = 0.13, 1.3
#: Turns about the three axes that the search begins with, where the images' own places are of no use.
_TURNS_DEG = (-30.0, 30.0)
#: Grids that lie along each other within this are told apart by turning one.
_ONE_GRID_DEG = 10.0
#: The two directions begin again from their middle while they disagree by more than this, at most so often in all.
_AGREED_MM, _ROUNDS = 0.1, 3
#: How far beside the found start the fine registration begins.
_ASIDE_DEG, _ASIDE_MM = (0.35, -0.25, 0.3), np.array((0.37, -0.29, 0.41))


@dataclass(frozen=True)
class PairAlignment:
    """Two scans, A and B.

    Attributes:
        matrix: (4, 4) rigid, LPS, mm: takes points of A to points of B.
        forward, backward: what the two registrations found, both as A to B; ``matrix`` is the middle between them.
        affine: the same with 12 degrees of freedom, for diagnosis only.
        gate: whether it may be trusted, and why (not).
        center: middle of A's mask (LPS, mm).
    """

    matrix: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    affine: np.ndarray
    gate: Gate
    center: np.ndarray

    @property
    def volume_ratio(self) -> float:
        """Determinant of the affine: 1.01 where the head is 1 % larger in B."""
        return float(np.linalg.det(self.affine[:3, :3]))


@dataclass(frozen=True)
class Alignment:
    """Two or more timepoints.

    Attributes:
        pairs: the baseline with each later timepoint.
        from_common: (4, 4) each: takes points of the common space to points of each timepoint. Of two timepoints the
            common space is halfway; of more it is their mean. A pair whose gate failed is no part of the mean.
        engine: name and version.
    """

    pairs: tuple[PairAlignment, ...]
    from_common: tuple[np.ndarray, ...]
    engine: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def states(self) -> tuple[str, ...]:
        """The gate's state of each timepoint; that of the baseline is "good" by definition."""
        return ("good", *(pair.gate.state for pair in self.pairs))


def align(timepoints: Sequence[Prepared], engine: Engine, progress: Callable[[str, float], None] | None = None):
    """Align each later timepoint with the first, and find the space in the middle.

    Args:
        timepoints: two or more, the baseline first.
        progress: called with a text and a fraction of the whole.

    Returns:
        :class:`Alignment`.
    """
    tell = progress or (lambda text, fraction: None)
    pairs = []
    for number, later in enumerate(timepoints[1:], start=1):
        count = len(timepoints) - 1

        def step(fraction, number=number, count=count):
            tell(f"Registering timepoint {number + 1} and the baseline", (number - 1 + fraction) / count)

        pairs.append(align_pair(timepoints[0], later, engine, step))
    trusted = [np.eye(4)] + [pair.matrix for pair in pairs if pair.gate.allows_comparison]
    # Points of the baseline to points of the common space: the inverse of the mean way to all.
    to_common = power(trusted[1], 0.5) if len(trusted) == 2 else mean(trusted) if len(trusted) > 1 else np.eye(4)
    back = np.linalg.inv(to_common)
    from_common = [back] + [pair.matrix @ back for pair in pairs]
    return Alignment(tuple(pairs), tuple(from_common), engine.version())


def align_pair(
    first: Prepared,
    second: Prepared,
    engine: Engine,
    progress: Callable[[float], None] | None = None,
    as_they_lie: bool = False,
) -> PairAlignment:
    """Rigid registration of two scans, each to the other; the result is the middle of both.

    Exchanging the two gives the inverse: every step treats them alike, and one order of the two (by their voxels) is
    always the one that is computed, as an optimizer would make more of a rounding error than it is.

    Args:
        as_they_lie: begin where the scanner's coordinates have the two, as in one session; no search for a start.
    """
    if _digest(second) < _digest(first):
        return _exchanged(align_pair(second, first, engine, progress, as_they_lie), first)
    tell = progress or (lambda fraction: None)
    tell(0.0)
    start = _aside(np.eye(4), first.center) if as_they_lie else _find_start(first, second, engine)
    tell(0.25)
    if _nearly_one_grid(first, second, start):
        second = turned(second)
    for _ in range(_ROUNDS):
        forward = engine.register(first, second, start)
        tell(0.5)
        backward = np.linalg.inv(engine.register(second, first, np.linalg.inv(start)))
        matrix = mean([forward, backward])
        apart = float(displacement_mm(forward, backward, first.points).mean())
        if apart <= _AGREED_MM or not apart < _SEARCH_MM:
            break
        start = matrix  # both begin again from their middle
    tell(0.75)
    affine, scale_noise = _affine(first, second, matrix, engine)
    tell(0.95)
    judged = Judged(
        found=_both_ways(first, second, matrix),
        identity=_both_ways(first, second, np.eye(4)),
        shifted=_similarity_beside(first, second, matrix),
        inconsistency_mm=apart,
        determinant=float(np.linalg.det(affine[:3, :3])),
        scales=tuple(np.linalg.svd(affine[:3, :3], compute_uv=False)),
        scale_noise=scale_noise,
        matrix=matrix,
        center=first.center,
        moved_mm=float(displacement_mm(matrix, np.eye(4), first.points).mean()),
        fields=_fields(first, second, matrix),
    )
    tell(1.0)
    return PairAlignment(matrix, forward, backward, affine, judge(judged), first.center)


def _nearly_one_grid(first: Prepared, second: Prepared, matrix: np.ndarray) -> bool:
    """Whether the voxels of the two lie along each other, in whatever order of axes: there mutual information has a
    false peak, as an image is not blurred where its voxels are met."""
    axes = [np.array(one.image.GetDirection()).reshape(3, 3) for one in (first, second)]
    between = axes[1].T @ matrix[:3, :3] @ axes[0]
    nearest = np.where(np.abs(between) > np.sqrt(0.5), np.sign(between), 0.0)
    if not np.array_equal(nearest @ nearest.T, np.eye(3)):
        return False
    return np.degrees(np.arccos(np.clip((np.trace(nearest.T @ between) - 1) / 2, -1, 1))) < _ONE_GRID_DEG


def _digest(prepared: Prepared) -> bytes:
    return hashlib.sha256(sitk.GetArrayViewFromImage(prepared.image).tobytes()).digest()


def _exchanged(pair: PairAlignment, first: Prepared) -> PairAlignment:
    """The same pair told from the other scan."""
    matrix, forward, backward, affine = (
        np.linalg.inv(one) for one in (pair.matrix, pair.backward, pair.forward, pair.affine)
    )
    numbers = pair.gate.numbers | {"determinant": 1.0 / pair.gate.numbers["determinant"]}
    return PairAlignment(matrix, forward, backward, affine, replace(pair.gate, numbers=numbers), first.center)


def _find_start(first: Prepared, second: Prepared, engine: Engine) -> np.ndarray:
    """Where the fine registration begins: the best of some starts, each registered in large voxels both ways."""
    a, b = coarser(first, _SEARCH_MM), coarser(second, _SEARCH_MM)
    best, best_score = np.eye(4), -np.inf
    candidates = [np.eye(4), _about(np.eye(3), a, b)]
    turned = [
        _about(Rotation.from_euler(axis, angle, degrees=True).as_matrix(), a, b)
        for axis in "xyz" for angle in _TURNS_DEG
    ]  # fmt: skip
    for group in (candidates, turned):
        for start in group:
            try:
                forward = engine.register(a, b, start, coarse=True)
                backward = np.linalg.inv(engine.register(b, a, np.linalg.inv(start), coarse=True))
                found = mean([forward, backward])
            except (RuntimeError, ValueError):  # nothing overlaps from there, or the two are half a turn apart
                continue
            apart = displacement_mm(forward, backward, a.points).mean()
            one, other = similarity(a, b, found), similarity(b, a, np.linalg.inv(found))
            score = one.nmi * one.overlap + other.nmi * other.overlap
            if score > best_score:
                best, best_score, consistent = found, score, apart < _SEARCH_MM / 2
        if best_score > -np.inf and consistent:
            break  # both ways agree on it: no need to turn
    return _aside(rounded(best, first.center), first.center)


def _aside(matrix: np.ndarray, center: np.ndarray) -> np.ndarray:
    """A little beside: where two grids coincide mutual information has a false peak, and an optimizer that begins on
    it stays there."""
    turn, shift = Rotation.from_euler("xyz", _ASIDE_DEG, degrees=True).as_matrix(), np.eye(4)
    shift[:3, :3] = turn
    shift[:3, 3] = center + _ASIDE_MM - turn @ center
    return matrix @ shift


def _about(rotation: np.ndarray, first: Prepared, second: Prepared) -> np.ndarray:
    """A turn that also brings the masks' centers together."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = second.center - rotation @ first.center
    return matrix


def _affine(first: Prepared, second: Prepared, start: np.ndarray, engine: Engine) -> tuple[np.ndarray, float]:
    """Twelve degrees of freedom, both ways and their middle: what a drift of scale looks like; and how well it is
    known, as a part: half of what the two directions disagree by along any axis, or an eighth of a slice at the border
    of what is compared, whichever is more."""
    a, b = coarser(first, _SCALE_MM), coarser(second, _SCALE_MM)
    forward = engine.register(a, b, start, affine=True)
    backward = np.linalg.inv(engine.register(b, a, np.linalg.inv(start), affine=True))
    apart = np.abs(np.log(np.linalg.svd(forward[:3, :3] @ np.linalg.inv(backward[:3, :3]), compute_uv=False))).max()
    slices = max(*first.found.image.GetSpacing(), *second.found.image.GetSpacing())
    border = _BORDER * np.sqrt(((first.points - first.center) ** 2).sum(axis=1).mean())
    noise = float(max(apart / 2, _SLICE_PART * slices / border))
    try:
        return mean([forward, backward]), noise
    except ValueError:
        return forward, noise


def _both_ways(first: Prepared, second: Prepared, matrix: np.ndarray):
    return similarity(first, second, matrix), similarity(second, first, np.linalg.inv(matrix))


def _similarity_beside(first: Prepared, second: Prepared, matrix: np.ndarray, beside_mm: float = 4.0):
    """Mean similarity when B lies some millimeters off, to six sides: tells how sharp the found place is."""
    found = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            off = np.eye(4)
            off[axis, 3] = sign * beside_mm
            found.append(similarity(first, second, off @ matrix))
    return found


def _fields(first: Prepared, second: Prepared, matrix: np.ndarray) -> tuple[float, float]:
    """Parts of A's and of B's mask that lie in the other's image at all."""
    return _inside(first.points, matrix, second), _inside(second.points, np.linalg.inv(matrix), first)


def _inside(points: np.ndarray, matrix: np.ndarray, other: Prepared) -> float:
    image = other.found.image
    places = points @ matrix[:3, :3].T + matrix[:3, 3]
    steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    index = (places - image.GetOrigin()) @ np.linalg.inv(steps).T
    inside = (index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5)
    return float(inside.all(axis=1).mean())
