"""A volume as three stacks of pictures, for models that know pictures and films only.

The volume is brought to anatomical order by permutation and flips (nothing is resampled), so that an oblique or
flipped volume gives the same pictures as any other. Stack 0 is axial, 1 coronal, 2 sagittal.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.canonical import from_canonical, to_canonical

#: Where i, j and k grow: to the left, to the back, downwards. Axial pictures are seen from below with the front on
#: top, coronal and sagittal ones have the head on top.
AXES = "LPI"
_GRAY_LIMITS = (0.5, 99.5)


class Stacks:
    """The three stacks of a volume.

    Args:
        image: the volume (LPS, mm), any orientation.
    """

    def __init__(self, image: sitk.Image):
        self._like = image
        self._canonical = to_canonical(image, AXES)
        array = sitk.GetArrayFromImage(self._canonical).astype(np.float32)
        inside = array[array > array.min()]
        low, high = np.percentile(inside if inside.size else array, _GRAY_LIMITS)
        #: (k, j, i) mm.
        self.spacing = np.array(self._canonical.GetSpacing()[::-1])
        self.gray = np.clip((array - low) / max(high - low, 1e-6), 0.0, 1.0)

    def pictures(self, axis: int) -> np.ndarray:
        """(slices, rows, columns) gray values 0..1 of one stack."""
        return np.moveaxis(self.gray, axis, 0)

    def index_of(self, point_lps) -> np.ndarray:
        """Fractional index (k, j, i) of a place (LPS, mm); voxel centers are whole numbers."""
        return np.array(self._canonical.TransformPhysicalPointToContinuousIndex([float(v) for v in point_lps]))[::-1]

    def place_of(self, index) -> tuple[float, float, float]:
        """Place (LPS, mm) of a fractional index (k, j, i)."""
        return self._canonical.TransformContinuousIndexToPhysicalPoint([float(i) for i in index][::-1])

    def in_stack(self, index, axis: int) -> tuple[int, float, float]:
        """``(slice, x, y)`` of an index (k, j, i) in a stack; x and y count pixels, 0.5 in the middle of the first.

        Raises:
            ValueError: it lies outside of the volume.
        """
        index = np.asarray(index, float)
        if (index < -0.5).any() or (index > np.array(self.gray.shape) - 0.5).any():
            raise ValueError("a prompt lies outside of the image")
        number = int(np.clip(round(index[axis]), 0, self.gray.shape[axis] - 1))
        row, column = np.delete(index, axis)
        return number, float(column + 0.5), float(row + 0.5)

    def volume(self, stack: np.ndarray, axis: int) -> np.ndarray:
        """An array of a stack (slices, rows, columns) as one (k, j, i) in canonical order."""
        return np.moveaxis(stack, 0, axis)

    def back(self, array: np.ndarray) -> np.ndarray:
        """An array (k, j, i) in canonical order as one on the grid of the image."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.CopyInformation(self._canonical)
        return sitk.GetArrayFromImage(from_canonical(image, self._like))
