"""The knee's own frame: which way is up, front and lateral, found from the structures and not from the file.

A label map may be stored in any axis order, flipped, oblique or mirrored. ``canonical_knee`` permutes and flips its
array (no resampling) into one frame for all knees:

    axis 0 towards LATERAL, axis 1 towards ANTERIOR, axis 2 towards SUPERIOR, in mm = index times spacing

so that every later step sees the same array whatever way the knee was stored, and a left knee looks like its mirror
image, a right one. ``CanonicalKnee.to_lps`` leads back; for a left knee it mirrors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from MRISegSuiteLib.errors import BadArguments, WrongContent

from .plateaus import lateral_part
from .side import SideFinding, side_from_bones
from .structures import BY_NAME, INPUT_NAMES, UNSPLIT_TIBIAL_CARTILAGE

#: Value of tibial cartilage that is not split yet; above every structure's own.
_UNSPLIT = max(structure.label for structure in BY_NAME.values()) + 1


@dataclass
class CanonicalKnee:
    """A label map in the knee's frame.

    Attributes:
        labels: uint8 (lateral, anterior, superior), values of ``structures``.
        spacing: (3,) mm.
        to_lps: 4 x 4, from index times spacing in mm to LPS in mm.
        side: ``left`` or ``right``; ``unknown`` when nothing tells and nobody said (labels are then taken as right).
        side_finding: what anatomy says, and how clearly.
        boxes: structure name -> slices that hold it.
        warnings: sentences for the user.
    """

    labels: np.ndarray
    spacing: np.ndarray
    to_lps: np.ndarray
    side: str
    side_finding: SideFinding
    boxes: dict[str, tuple[slice, slice, slice]]
    warnings: list[str] = field(default_factory=list)

    def mask(self, name: str, box: tuple[slice, slice, slice] | None = None) -> np.ndarray:
        """The structure as bool, in a box of the array or in all of it."""
        return (self.labels if box is None else self.labels[box]) == BY_NAME[name].label


def canonical_knee(
    labels: sitk.Image, names: Mapping[str, int | Sequence[int]], side: str = "auto"
) -> CanonicalKnee:
    """Bring a label map into the knee's frame, find the side, and split the tibial cartilage if need be.

    Args:
        labels: 3D integer label map.
        names: structure name -> its label, or several labels that make it up together (a bone and the lesions in it).
        side: ``left``, ``right``, or ``auto``: from the anatomy.

    Raises:
        BadArguments: unknown structure name or side.
        WrongContent: not 3D, or no named label is in the map.
    """
    if side not in ("auto", "left", "right"):
        raise BadArguments(f"The side of the knee is {side!r}.", "Use auto, left or right.")
    if labels.GetDimension() != 3 or labels.GetNumberOfComponentsPerPixel() != 1:
        raise WrongContent("The label map is not a three-dimensional image of one value a voxel.")
    warnings: list[str] = []
    array = _with_own_labels(labels, names, warnings)
    # NIfTI keeps the spacing in single precision: rounded, a knee is the same in every file format, bit for bit.
    spacing = np.round(np.array(labels.GetSpacing()), 5)
    # The remainder goes into the columns of the matrix, so that positions stay exact.
    direction = np.array(labels.GetDirection()).reshape(3, 3) * (np.array(labels.GetSpacing()) / spacing)
    boxes = _boxes(array)
    if not boxes:
        raise WrongContent(
            "None of the named structures is in the label map.", f"Named were {', '.join(sorted(names))}."
        )
    centroids = {
        name: _centroid(array[box] == _label(name), box) * spacing for name, box in boxes.items()
    }
    axes, signs = _knee_axes(centroids, direction, warnings)
    array, matrix = _reorient(array, spacing, direction, np.array(labels.GetOrigin()), axes, signs)
    spacing = spacing[list(axes)]
    boxes = _boxes(array)

    finding = _find_side(array, spacing, boxes)
    chosen = _choose_side(side, finding, warnings)
    if chosen == "left":
        array = array[::-1]
        matrix = matrix @ _flip(0, array.shape, spacing)
        boxes = _boxes(array)
    array = np.ascontiguousarray(array)
    if UNSPLIT_TIBIAL_CARTILAGE in boxes:
        _split_tibial_cartilage(array, spacing, boxes, chosen, warnings)
        boxes = _boxes(array)
    return CanonicalKnee(array, spacing, matrix, chosen, finding, boxes, warnings)


def _label(name: str) -> int:
    return _UNSPLIT if name == UNSPLIT_TIBIAL_CARTILAGE else BY_NAME[name].label


def _with_own_labels(labels: sitk.Image, names, warnings) -> np.ndarray:
    """The array (x, y, z) with the values of ``structures``; labels without a name become background."""
    unknown = sorted(set(names) - INPUT_NAMES)
    if unknown:
        raise BadArguments(
            f"Unknown structure {', '.join(unknown)}.", f"Known are {', '.join(sorted(INPUT_NAMES))}."
        )
    array = sitk.GetArrayViewFromImage(labels).transpose(2, 1, 0)
    if array.dtype.kind not in "iu":
        raise WrongContent("The label map holds fractions.", "Give a label map of whole numbers.")
    highest = int(array.max(initial=0))
    if int(array.min(initial=0)) < 0 or highest > 65535:
        raise WrongContent("The label map holds labels below 0 or above 65535.")
    table = np.zeros(max(highest, 255) + 1, dtype=np.uint8)
    for name, values in names.items():
        for value in np.atleast_1d(values):
            if not 0 < int(value) < 65536:
                raise BadArguments(f"{name} has the label {value}.", "Labels run from 1 to 65535.")
            if int(value) < len(table):
                if table[int(value)]:
                    raise BadArguments(f"The label {int(value)} stands for two structures.")
                table[int(value)] = _label(name)
    present = np.flatnonzero(np.bincount(array.ravel(order="K"), minlength=1)) if highest < 65536 else []
    nameless = [int(v) for v in present if v > 0 and table[v] == 0]
    if nameless:
        warnings.append(f"The labels {nameless} have no name and are left out.")
    return table[array]


def _boxes(array: np.ndarray) -> dict[str, tuple[slice, slice, slice]]:
    found = ndimage.find_objects(array, max_label=_UNSPLIT)
    known = {_label(name): name for name in INPUT_NAMES}
    return {known[i + 1]: box for i, box in enumerate(found) if box is not None}


def _centroid(mask: np.ndarray, box) -> np.ndarray:
    """Centre of mass in voxels of the whole array."""
    total = np.count_nonzero(mask)
    result = []
    for axis in range(3):
        profile = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        result.append(box[axis].start + (profile * np.arange(len(profile))).sum() / total)
    return np.array(result)


def _knee_axes(centroids, direction, warnings) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Array axes that lie nearest to (patient's right, anterior, superior), and their signs."""
    if "femur" in centroids and "tibia" in centroids:
        up = centroids["femur"] - centroids["tibia"]
    else:
        up = direction.T @ np.array([0.0, 0.0, 1.0])
        warnings.append("Femur and tibia are not both labelled: up and down are taken from the image's orientation.")
    superior = int(np.argmax(np.abs(up)))
    if "patella" in centroids and "femur" in centroids:
        front = centroids["patella"] - centroids["femur"]
    else:
        front = direction.T @ np.array([0.0, -1.0, 0.0])
        warnings.append("The patella is not labelled: front and back are taken from the image's orientation.")
    front = np.where(np.arange(3) == superior, 0.0, front)
    anterior = int(np.argmax(np.abs(front)))
    right = 3 - superior - anterior
    sign_s, sign_a = (1 if v > 0 else -1 for v in (up[superior], front[anterior]))
    # Right of the patient = anterior x superior, in physical space: holds for mirrored direction matrices too.
    across = np.cross(sign_a * direction[:, anterior], sign_s * direction[:, superior])
    sign_r = 1 if across @ direction[:, right] > 0 else -1
    return (right, anterior, superior), (sign_r, sign_a, sign_s)


def _reorient(array, spacing, direction, origin, axes, signs) -> tuple[np.ndarray, np.ndarray]:
    """The array with its axes permuted and flipped, and the matrix from its index times spacing to LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = direction[:, list(axes)]
    matrix[:3, 3] = origin
    array = array.transpose(axes)
    spacing = spacing[list(axes)]
    for axis, sign in enumerate(signs):
        if sign < 0:
            array = np.flip(array, axis)
            matrix = matrix @ _flip(axis, array.shape, spacing)
    return array, matrix


def _flip(axis: int, shape, spacing) -> np.ndarray:
    """Matrix from mm of the flipped array to mm of the array before."""
    matrix = np.eye(4)
    matrix[axis, axis] = -1.0
    matrix[axis, 3] = (shape[axis] - 1) * spacing[axis]
    return matrix


def _find_side(array, spacing, boxes) -> SideFinding:
    """What anatomy says; ``array`` has the patient's right on axis 0."""

    def across(name):
        box = boxes[name]
        return _centroid(array[box] == _label(name), box)[0] * spacing[0]

    if "medial_tibial_cartilage" in boxes and "lateral_tibial_cartilage" in boxes:
        margin = across("lateral_tibial_cartilage") - across("medial_tibial_cartilage")
        return SideFinding.of(margin, 10.0, "medial and lateral tibial cartilage")
    if "fibula" in boxes and "tibia" in boxes:
        return SideFinding.of(across("fibula") - across("tibia"), 10.0, "fibula")
    masks = {
        name: (array[boxes[name]] == _label(name), [s.start for s in boxes[name]])
        for name in ("femur", "tibia", "patella", "femoral_cartilage", UNSPLIT_TIBIAL_CARTILAGE)
        if name in boxes
    }
    return side_from_bones(masks, spacing)


def _choose_side(side: str, finding: SideFinding, warnings: list[str]) -> str:
    if side != "auto":
        if finding.side not in ("unknown", side):
            warnings.append(
                f"You said this is a {side} knee; its anatomy ({finding.source}) looks like a {finding.side} one. "
                "Medial and lateral follow what you said."
            )
        return side
    if finding.side == "unknown":
        warnings.append(
            f"The side of the knee cannot be told from its anatomy ({finding.source}). Give the side: medial and "
            "lateral are named as in a right knee and may be swapped."
        )
    return finding.side


def _split_tibial_cartilage(array, spacing, boxes, side, warnings) -> None:
    """Give the unsplit tibial cartilage its medial and lateral values, in place."""
    box = boxes[UNSPLIT_TIBIAL_CARTILAGE]
    part = array[box]
    mask = part == _UNSPLIT
    lateral = lateral_part(mask, spacing)
    both = (mask & lateral).any() and (mask & ~lateral).any()
    if not both:
        warnings.append("The tibial cartilage has one plateau only.")
        middle = _middle_of_tibia(array, spacing, boxes)
        if middle is not None:
            centre = _centroid(mask, box)[0] * spacing[0]
            lateral = np.full(mask.shape, centre > middle)
    part[mask & lateral] = BY_NAME["lateral_tibial_cartilage"].label
    part[mask & ~lateral] = BY_NAME["medial_tibial_cartilage"].label


def _middle_of_tibia(array, spacing, boxes) -> float | None:
    if "tibia" not in boxes:
        return None
    return (boxes["tibia"][0].start + boxes["tibia"][0].stop - 1) / 2 * spacing[0]
