r"""Runs the tests of this folder in the running 3D Slicer (5.12 or later), prints ``N passed, N failed``, exits.

    Slicer --testing --additional-module-paths MRISegSuite KneeSeg EnsembleReview LongitudinalCompare \
        --python-script Testing/InSlicer/run_all.py

Exit code 0 when all passed. Pictures go to the folder that MRISEG_TEST_OUTPUT names (a temporary one by default);
MRISEG_TEST_FILES picks some of the files, e.g. ``test_knee_*.py``.
"""

import os
import sys
import traceback
import unittest


def main() -> int:
    """Run the test files here; returns the exit code."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, folder)
    files = os.environ.get("MRISEG_TEST_FILES", "test_*.py")
    suite = unittest.TestLoader().discover(folder, pattern=files, top_level_dir=folder)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{result.testsRun - failed - len(result.skipped)} passed, {failed} failed{skipped}", flush=True)
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    import slicer

    # Slicer does not leave by itself after a script, not even after an exception.
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        code = 1
    slicer.util.exit(code)
