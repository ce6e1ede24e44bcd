"""picsl-greedy (Yushkevich et al.), the default: https://github.com/pyushkevich/greedy, Apache-2.0."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk

from ..preparation import Prepared
from ..rigid import moved, nearest_rigid, to_ras
from . import EngineMissing, quietly_version

#: Local correlation finds the way from afar, whichever of two tissues is the brighter; mutual information ends it: as
#: near to the truth as local correlation (0.03 mm), for any two contrasts, in a fifth of the time.
_METRIC, _COARSE_METRIC = "NMI", "NCC 2x2x2"
#: Of the fine ones the first at half the resolution, which finds its way from 14 mm off (one T1 and T2).
_ROUNDS = {"coarse": "60", "fine": "40x20"}


class Greedy:
    """See :class:`~LongitudinalCompareLib.registration.engines.Engine`."""

    name = "greedy"

    def __init__(self):
        if importlib.util.find_spec("picsl_greedy") is None:
            raise EngineMissing(
                "The registration engine greedy is not installed.",
                "Install the package picsl-greedy (in Slicer: module MRI Seg Suite), or choose the engine simpleitk.",
            )

    def version(self) -> str:
        return quietly_version("picsl-greedy")

    def register(
        self, fixed: Prepared, moving: Prepared, start: np.ndarray, affine: bool = False, coarse: bool = False
    ) -> np.ndarray:
        from picsl_greedy import Greedy3D

        rounds = _ROUNDS["coarse" if coarse else "fine"]
        metric = _COARSE_METRIC if coarse else _METRIC
        # The start goes into the place where the moving image lies: greedy takes no matrix from memory.
        placed = moved(moving.image, np.linalg.inv(start))
        program = Greedy3D()
        with _silence():
            program.execute(
                f"-a -dof {12 if affine else 6} -i fixed moving -gm mask -ia-identity -m {metric} -n {rounds} -o found"
                # No random first step, and one thread (sums in one order): the same scans give the same answer.
                " -V 0 -jitter 0 -threads 1", fixed=fixed.image, moving=placed, mask=fixed.mask, found=None,
            )  # fmt: skip
        found = start @ to_ras(np.array(program["found"]))
        return found if affine else nearest_rigid(found)


def deform(fixed: sitk.Image, moving: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Displacements (mm, LPS) on the grid of ``fixed``: what lies at x there lies at x + u in ``moving``.

    Args:
        fixed, moving: float images on one grid. mask: where they are compared.
    """
    from picsl_greedy import Greedy3D

    program = Greedy3D()
    with _silence():
        program.execute(
            # A stationary velocity: what it makes does not fold. Local correlation, from 4 voxels down to 2: single
            # ones would follow the noise. Displacements are not rounded (by default to a tenth of a voxel): their
            # derivatives are what is wanted.
            "-i fixed moving -gm mask -m NCC 2x2x2 -sv -n 100x60x0 -s 3.0vox 1.0vox -o found"
            " -wp 0 -V 0 -threads 1", fixed=fixed, moving=moving, mask=sitk.Cast(mask, sitk.sitkFloat32),
            found=None,
        )  # fmt: skip
    return program["found"]


@contextmanager
def _silence():
    """Nothing of what the program writes past Python's streams (its optimizer does) reaches the output of ours."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, AttributeError, ValueError):  # no such stream, as in a windowed application
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
