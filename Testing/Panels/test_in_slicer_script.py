"""Testing/InSlicer, which is written for a real Slicer, run on the stand-in in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_all_in_slicer_tests_pass_on_the_stand_in(tmp_path):
    environment = dict(os.environ, MRISEG_MODELS=str(tmp_path / "models"),
                       MRISEG_WORKER_FOLDER=str(tmp_path / "worker"),
                       MRISEG_TEST_OUTPUT=str(REPOSITORY / "build" / "test-output" / "in-slicer"))
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "Testing" / "SlicerStandIn" / "run_script.py"),
         str(REPOSITORY / "Testing" / "InSlicer" / "run_all.py")],
        env=environment, capture_output=True, text=True, timeout=280)
    last = [line for line in done.stdout.splitlines() if line.strip()][-1:]
    assert done.returncode == 0 and last and last[0].endswith("passed, 0 failed"), done.stdout + done.stderr
