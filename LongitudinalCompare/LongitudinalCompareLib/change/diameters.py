"""Diameters of a lesion as radiologists measure them: in the plane of acquisition, and the largest in space beside it.

The outline of a slice is the line midway between voxels inside and outside, as marching squares draws it; its longest
Feret diameter is the longest diameter, and the perpendicular one is the longest chord at right angles to it that runs
inside the lesion without a gap (RECIST 1.1, Eisenhauer et al. 2009; RANO, Wen et al. 2010). The product of the two is
the largest of any slice, which need not be that of the longest diameter: on seven real gliomas, re-sliced in turned
positions, it varies half as much (``Testing/Benchmarks/bench_position.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError, distance

from MRISegSuiteLib.images.canonical import nearest_axes

from .masks import CutMask, Grid

#: The axis with the largest spacing is the slice axis where it is this much larger than the next one.
_CLEARLY_THICKER = 1.2
#: The chord is sought in steps of this part of a pixel, or of this part of the longest diameter where that is coarser;
#: less finely in the slices that only have to be long enough.
_PIXEL_PART, _LENGTH_PART, _LENGTH_PART_LISTED = 0.25, 1 / 200, 1 / 100

Ends = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class SliceDiameters:
    """Diameters in one slice (mm); ``index`` counts the image's slices along the slice axis."""

    index: int
    longest_mm: float
    perpendicular_mm: float


@dataclass(frozen=True)
class Diameters:
    """Diameters of one lesion, mm; ends are points in LPS.

    Attributes:
        longest_mm, longest_ends: longest diameter in any slice of the acquisition plane.
        perpendicular_mm, perpendicular_ends: longest chord at right angles to it in the same slice.
        slice_axis: index axis (0 i, 1 j, 2 k) along which the slices lie.
        slice_index: the slice of the longest diameter.
        slices: every slice whose longest diameter reaches the length asked for: whether a lesion is measurable
            depends on how many there are.
        largest_product_mm2, product_slice: largest product of the two diameters of a slice, and that slice.
        measured_mm: longest and perpendicular diameter as they were measured, before a person moved one.
        maximum_3d_mm, maximum_3d_ends: largest distance of two points of the lesion's surface.
    """

    longest_mm: float
    longest_ends: Ends
    perpendicular_mm: float
    perpendicular_ends: Ends
    slice_axis: int
    slice_index: int
    slices: tuple[SliceDiameters, ...]
    largest_product_mm2: float
    product_slice: int
    measured_mm: tuple[float, float]
    maximum_3d_mm: float
    maximum_3d_ends: Ends

    @property
    def product_mm2(self) -> float:
        """The largest product; that of the two diameters where a person has moved one of them."""
        if (self.longest_mm, self.perpendicular_mm) == self.measured_mm:
            return self.largest_product_mm2
        return self.longest_mm * self.perpendicular_mm


def slice_axis(image: sitk.Image) -> int:
    """The index axis along which the slices of the acquisition lie.

    The one with the clearly largest spacing; where none is (a 3D acquisition with cubic voxels), the one nearest to
    superior-inferior, as criteria are read on axial slices.
    """
    spacing = image.GetSpacing()
    order = np.argsort(spacing)
    if spacing[order[2]] > _CLEARLY_THICKER * spacing[order[1]]:
        return int(order[2])
    letters = nearest_axes(image)
    return next(axis for axis, letter in enumerate(letters) if letter in "SI")


def measure_diameters(lesion: CutMask, axis: int, slices_from_mm: float = 10.0) -> Diameters:
    """Diameters of one lesion.

    Args:
        lesion: mask with at least one voxel and a frame of background.
        axis: slice axis, see :func:`slice_axis`.
        slices_from_mm: slices with a longest diameter of this and more are listed with both diameters.

    Raises:
        ValueError: an empty mask.
    """
    if not lesion.array.any():
        raise ValueError("an empty mask has no diameter")
    planes = np.moveaxis(lesion.array, 2 - axis, 0)
    in_plane = [a for a in (2, 1, 0) if a != axis]  # index axes of the rows and columns of a plane
    frame = _PlaneFrame.of(lesion.grid, in_plane)
    found = []
    for number, plane in enumerate(planes):
        if plane.any():
            found.append((number, *_longest(plane, frame)))
    best = max(range(len(found)), key=lambda n: found[n][1])
    number, length, ends, piece = found[best]
    chord, chord_ends = _perpendicular(piece, ends, frame, _LENGTH_PART)
    chords = {best: chord}
    for n, (_, one_length, one_ends, one_piece) in enumerate(found):
        if n != best and one_length >= slices_from_mm:
            chords[n] = _perpendicular(one_piece, one_ends, frame, _LENGTH_PART_LISTED)[0]
    largest = max(chords, key=lambda n: found[n][1] * chords[n])
    chords[largest] = _perpendicular(found[largest][3], found[largest][2], frame, _LENGTH_PART)[0]
    listed = [
        SliceDiameters(found[n][0] + lesion.first[axis], found[n][1], chords[n])
        for n in sorted(chords)
        if found[n][1] >= slices_from_mm
    ]

    def in_space(points) -> Ends:
        indices = np.empty((2, 3))
        indices[:, in_plane[0]], indices[:, in_plane[1]], indices[:, axis] = points[:, 0], points[:, 1], number
        return _ends(lesion.grid.points(indices))

    widest, widest_ends = _widest(lesion)
    return Diameters(
        longest_mm=length,
        longest_ends=in_space(ends),
        perpendicular_mm=chord,
        perpendicular_ends=in_space(chord_ends),
        slice_axis=axis,
        slice_index=number + lesion.first[axis],
        slices=tuple(listed),
        largest_product_mm2=found[largest][1] * chords[largest],
        product_slice=found[largest][0] + lesion.first[axis],
        measured_mm=(length, chord),
        maximum_3d_mm=widest,
        maximum_3d_ends=widest_ends,
    )


@dataclass(frozen=True)
class _PlaneFrame:
    """Rows and columns of a plane to mm in the plane: point = indices @ to_mm (2 x 2)."""

    to_mm: np.ndarray

    @classmethod
    def of(cls, grid: Grid, in_plane: Sequence[int]) -> _PlaneFrame:
        first, second = grid.steps[:, in_plane[0]], grid.steps[:, in_plane[1]]
        across = first / np.linalg.norm(first)
        along = float(second @ across)
        return cls(np.array([[np.linalg.norm(first), 0.0], [along, np.sqrt(max(0.0, second @ second - along**2))]]))

    @property
    def pixel_mm(self) -> float:
        return float(np.linalg.norm(self.to_mm, axis=1).min())


def _longest(plane: np.ndarray, frame: _PlaneFrame):
    """Longest Feret diameter of any connected piece: mm, its ends (2 x 2, fractional rows and columns), and the
    piece with its outline."""
    pieces, count = ndimage.label(plane, np.ones((3, 3)))
    boxes = ndimage.find_objects(pieces)
    # no diameter is longer than the diagonal of its box: the largest boxes first, and stop where none can win
    reach = [np.linalg.norm([[b.stop - b.start for b in box]] @ np.abs(frame.to_mm)) for box in boxes]
    best = (-1.0, None, (None, None))
    for n in np.argsort(reach)[::-1]:
        if reach[n] <= best[0]:
            break
        piece = pieces == n + 1 if count > 1 else plane
        corner = [max(b.start - 1, 0) for b in boxes[n]]
        outline = _outline(piece[tuple(slice(c, b.stop + 1) for c, b in zip(corner, boxes[n]))]) + corner
        points = outline @ frame.to_mm
        hull = ConvexHull(points).vertices  # never flat: a single voxel has four points around it
        apart = distance.squareform(distance.pdist(points[hull]))
        a, b = np.unravel_index(np.argmax(apart), apart.shape)
        if apart[a, b] > best[0]:
            best = (float(apart[a, b]), outline[hull[[a, b]]], (piece, outline))
    return best


def _outline(piece: np.ndarray) -> np.ndarray:
    """Points midway between neighbors inside and outside, (n, 2) rows and columns."""
    down = np.argwhere(piece[1:] != piece[:-1]) + (0.5, 0.0)
    across = np.argwhere(piece[:, 1:] != piece[:, :-1]) + (0.0, 0.5)
    return np.concatenate([down, across])


def _perpendicular(piece_and_outline, ends: np.ndarray, frame: _PlaneFrame, length_part: float):
    """Longest chord inside the piece at right angles to the line between ``ends``: mm and its ends."""
    piece, outline = piece_and_outline
    start, stop = ends @ frame.to_mm
    length = np.linalg.norm(stop - start)
    along = (stop - start) / length
    aside = np.array([-along[1], along[0]])
    reach = (outline @ frame.to_mm - start) @ np.column_stack([along, aside])
    step = max(_PIXEL_PART * frame.pixel_mm, length_part * length)
    u = np.arange(reach[:, 0].min(), reach[:, 0].max() + step, step)
    v = np.arange(reach[:, 1].min() - step, reach[:, 1].max() + 2 * step, step)
    to_indices = np.linalg.inv(frame.to_mm)
    across, down = (start @ to_indices)[:, None], np.stack([along, aside]) @ to_indices
    indices = across[..., None] + down[0][:, None, None] * u[:, None] + down[1][:, None, None] * v
    inside = ndimage.map_coordinates(piece.astype(np.float32), indices.reshape(2, -1), order=1) >= 0.5
    runs = _longest_runs(inside.reshape(len(u), len(v)))
    row = int(np.argmax(runs[:, 0]))
    count, last = runs[row]
    chord = np.array([v[last] - (count - 0.5) * step, v[last] + 0.5 * step])
    both = start + u[row] * along + chord[:, None] * aside
    return float(count * step), both @ to_indices


def _longest_runs(rows: np.ndarray) -> np.ndarray:
    """Longest run of True in each row: (n, 2) length and index of its last element."""
    count = np.cumsum(rows, axis=1)
    before = np.maximum.accumulate(np.where(rows, 0, count), axis=1)
    run = count - before
    last = run.argmax(axis=1)
    return np.column_stack([run[np.arange(len(run)), last], last])


def _widest(lesion: CutMask) -> tuple[float, Ends]:
    """Largest distance between two points of the surface (midway between voxels), and the points."""
    array = lesion.array
    lines = array.any(axis=2)
    k, j = np.nonzero(lines)
    firsts, lasts = array[k, j].argmax(axis=1), array.shape[2] - 1 - array[k, j, ::-1].argmax(axis=1)
    indices = np.concatenate([np.column_stack([firsts, j, k]), np.column_stack([lasts, j, k])]).astype(float)
    indices = _on_hull(indices)
    halves = np.concatenate([0.5 * np.eye(3), -0.5 * np.eye(3)])
    indices = _on_hull((indices[:, None] + halves).reshape(-1, 3))
    points = lesion.grid.points(indices)
    apart = distance.cdist(points, points)
    a, b = np.unravel_index(np.argmax(apart), apart.shape)
    return float(apart[a, b]), _ends(points[[a, b]])


def _on_hull(points: np.ndarray) -> np.ndarray:
    """Those of the points that lie on their convex hull; all of them where they are too few or flat."""
    points = np.unique(points, axis=0)
    try:
        return points[ConvexHull(points).vertices] if len(points) > 4 else points
    except QhullError:
        return points


def _ends(points: np.ndarray) -> Ends:
    first, second = (tuple(float(x) for x in point) for point in points)
    return first, second
