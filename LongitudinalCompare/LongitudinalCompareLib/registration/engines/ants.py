"""ANTsPy, in a Python of its own: antspyx needs an older numpy and scipy than Slicer brings.

The variable MRISEG_ANTS_PYTHON names a Python that has antspyx (``python -m venv …; pip install antspyx``). Images go
there and the transform comes back as files; nothing of ANTs is ever loaded into the worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.errors import SuiteError

from ..preparation import Prepared
from ..rigid import matrix_of, moved, nearest_rigid
from . import EngineMissing

PYTHON_VARIABLE = "MRISEG_ANTS_PYTHON"
_LONGEST_S = 900

_SCRIPT = """
import json, sys, ants
folder, kind, coarse = sys.argv[1], sys.argv[2], sys.argv[3] == "1"
fixed, moving, mask = (ants.image_read(folder + "/" + name + ".nii.gz") for name in ("fixed", "moving", "mask"))
found = ants.registration(
    fixed, moving, type_of_transform=kind, mask=mask, initial_transform=["Identity"], random_seed=1,
    aff_iterations=(200,) if coarse else (100, 60), aff_shrink_factors=(1,) if coarse else (2, 1),
    aff_smoothing_sigmas=(0,) if coarse else (1, 0), aff_random_sampling_rate=1.0, outprefix=folder + "/out")
print(json.dumps({"file": found["fwdtransforms"][0], "version": ants.__version__}))
"""


class Ants:
    """See :class:`~LongitudinalCompareLib.registration.engines.Engine`."""

    name = "ants"

    def __init__(self):
        self._python = os.environ.get(PYTHON_VARIABLE, "")
        if not self._python or not Path(self._python).is_file():
            raise EngineMissing(
                "The registration engine ants has no environment on this computer.",
                f"Make a Python environment of its own with antspyx in it and name its Python in {PYTHON_VARIABLE}, "
                "or choose the engine greedy or simpleitk.",
            )
        self._version = "antspyx"

    def version(self) -> str:
        return self._version

    def register(
        self, fixed: Prepared, moving: Prepared, start: np.ndarray, affine: bool = False, coarse: bool = False
    ) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="mriseg-ants-") as folder:
            images = {"fixed": fixed.image, "moving": moved(moving.image, np.linalg.inv(start)), "mask": fixed.mask}
            for name, image in images.items():
                sitk.WriteImage(image, f"{folder}/{name}.nii.gz")
            kind = "Affine" if affine else "Rigid"
            arguments = [self._python, "-c", _SCRIPT, folder, kind, str(int(coarse))]
            # The worker's own libraries must not reach the other Python.
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=_LONGEST_S, env=environment)
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise SuiteError(f"ANTs could not register: {last}", f"Check {self._python}, or take another engine.")
            answer = json.loads(done.stdout.strip().splitlines()[-1])
            self._version = f"antspyx {answer['version']}"
            found = start @ matrix_of(sitk.ReadTransform(answer["file"]))
        return found if affine else nearest_rigid(found)
