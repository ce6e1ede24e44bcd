"""Runs a script in the stand-in as ``Slicer --testing --additional-module-paths … --python-script`` would.

    python Testing/SlicerStandIn/run_script.py Testing/InSlicer/run_all.py
"""

import runpy
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in ("LongitudinalCompare", "EnsembleReview", "KneeSeg", "MRISegSuite", "Testing/SlicerStandIn"):
    sys.path.insert(0, str(REPOSITORY / folder))

import slicer_stand_in  # noqa: E402

if __name__ == "__main__":
    slicer_stand_in.install()
    names = ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare")
    slicer_stand_in.load_modules(*(REPOSITORY / name / f"{name}.py" for name in names))
    window = slicer_stand_in.open_main_window()
    runpy.run_path(sys.argv[1], run_name="__main__")
