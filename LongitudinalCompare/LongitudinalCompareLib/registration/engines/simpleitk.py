"""SimpleITK's own registration: mutual information (Mattes), every voxel of the mask, gradient steps."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..preparation import Prepared
from ..rigid import matrix_of, moved, nearest_rigid
from . import quietly_version


class SimpleItk:
    """See :class:`~LongitudinalCompareLib.registration.engines.Engine`."""

    name = "simpleitk"

    def version(self) -> str:
        return quietly_version("SimpleITK")

    def register(
        self, fixed: Prepared, moving: Prepared, start: np.ndarray, affine: bool = False, coarse: bool = False
    ) -> np.ndarray:
        transform = sitk.AffineTransform(3) if affine else sitk.VersorRigid3DTransform()
        transform.SetCenter(fixed.center.tolist())
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(24 if coarse else 48)
        method.SetMetricFixedMask(fixed.mask)
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0 if coarse else 0.5, minStep=1e-2 if coarse else 5e-4,
            numberOfIterations=100, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-7,
        )  # fmt: skip
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(fixed.image, moved(moving.image, np.linalg.inv(start)))
        found = start @ matrix_of(transform)
        return found if affine else nearest_rigid(found)
