"""Fixtures that all layers of tests share."""

import os
import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARIES = [REPOSITORY / name for name in ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare")]

# Worker processes that a test starts find the libraries the same way as those that ./mriseg starts.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(p) for p in LIBRARIES] + [p for p in [os.environ.get("PYTHONPATH")] if p]
)
for _library in reversed(LIBRARIES):
    if str(_library) not in sys.path:
        sys.path.insert(0, str(_library))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the repository; tests that need it are skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real scans are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def qdess_folder(shared_data, tmp_path_factory) -> Path:
    """The DICOM folder of the real qDESS knee, unpacked."""
    return _unpacked(shared_data / "knee_qdess", tmp_path_factory.mktemp("qdess"))


@pytest.fixture(scope="session")
def mese_folder(shared_data, tmp_path_factory) -> Path:
    """The DICOM folder of the real multi-echo spin-echo knee, unpacked."""
    return _unpacked(shared_data / "knee_mese", tmp_path_factory.mktemp("mese"))


def _unpacked(folder: Path, target: Path) -> Path:
    archives = sorted(folder.glob("*.tar.xz"))
    assert archives, f"no archive in {folder}"
    for archive in archives:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
    return target
