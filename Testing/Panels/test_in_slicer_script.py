"""Testing/InSlicer, which is written for a real Slicer, run on the stand-in: each file in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted(path.name for path in (REPOSITORY / "Testing" / "InSlicer").glob("test_*.py"))
_LONGEST_S = 1200  # inference on a slow or busy computer


@pytest.mark.timeout(_LONGEST_S + 60)
@pytest.mark.parametrize("name", FILES)
def test_the_in_slicer_tests_pass_on_the_stand_in(tmp_path, name):
    environment = dict(os.environ, MRISEG_MODELS=str(tmp_path / "models"),
                       MRISEG_WORKER_FOLDER=str(tmp_path / "worker"), MRISEG_TEST_FILES=name,
                       MRISEG_TEST_OUTPUT=str(REPOSITORY / "build" / "test-output" / "in-slicer"))
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "Testing" / "SlicerStandIn" / "run_script.py"),
         str(REPOSITORY / "Testing" / "InSlicer" / "run_all.py")],
        env=environment, capture_output=True, text=True, timeout=_LONGEST_S)
    last = [line for line in done.stdout.splitlines() if line.strip()][-1:]
    assert done.returncode == 0 and last and last[0].endswith("passed, 0 failed"), done.stdout + done.stderr
