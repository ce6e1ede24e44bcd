"""The pinned lists of the launcher against the open ranges of pyproject.toml, and the launcher itself."""

import ast
import subprocess
import sys

import pytest

tomllib = pytest.importorskip("tomllib")
from packaging.requirements import Requirement  # noqa: E402


def pinned(repository, *names):
    found = {}
    for name in names:
        for line in (repository / "requirements" / f"{name}.txt").read_text().splitlines():
            line = line.split("#")[0].strip()
            if line:
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate():
                    found[requirement.name.lower()] = requirement
    return found


def declared(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def named(entries):
        return {Requirement(entry).name.lower(): Requirement(entry) for entry in entries}

    return named(project["dependencies"]) | named(extras["worker"]), named(extras["test"])


def test_the_launcher_installs_exactly_what_the_project_declares(repository):
    run, test = declared(repository)
    ours = pinned(repository, "torch", "run")
    assert set(ours) == set(run)
    assert set(pinned(repository, "test")) == set(test)
    for name, requirement in (ours | pinned(repository, "test")).items():
        for specifier in requirement.specifier:
            assert specifier.operator in ("==", ">=")
            assert (run | test)[name].specifier.contains(specifier.version, prereleases=True), name
    assert set(pinned(repository, "without_dependencies")) == {"dynamic-network-architectures"}


def test_the_worker_folder_of_slicer_holds_what_slicer_lacks(repository):
    from MRISegSuiteLib.environment.packages import PACKAGES

    run, _ = declared(repository)
    bundled_by_slicer = {"numpy", "scipy", "simpleitk", "vtk", "pydicom", "highdicom"}
    assert {p.name.lower() for p in PACKAGES} == set(run) - bundled_by_slicer | {
        "dynamic-network-architectures"
    }


def test_every_package_that_the_code_imports_is_declared(repository):
    run, _ = declared(repository)
    known = set(run) | {"dynamic-network-architectures"}
    imported = set()
    for root in ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare"):
        for path in (repository / root).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module.split(".")[0])
    inside_slicer = {"slicer", "qt", "ctk", "mrml", "vtkAddon", "vtkmodules", "PythonQt", "SampleData"}
    ours = {"MRISegSuiteLib", "KneeSegLib", "EnsembleReviewLib", "LongitudinalCompareLib"}
    foreign = imported - set(sys.stdlib_module_names) - ours - inside_slicer
    foreign -= {"transformers", "PIL"}  # extra large-models: who uses these experts installs them
    known |= {"yaml"} if "pyyaml" in known else set()
    missing = {n for n in foreign if n.lower().replace("_", "-") not in known and not n.startswith("vtkS")}
    assert missing == set()


def test_the_launcher_is_valid_shell_and_says_so_when_python_is_missing(repository):
    subprocess.run(["bash", "-n", str(repository / "mriseg")], check=True)
    subprocess.run(["bash", "-n", str(repository / ".ci" / "run")], check=True)
    done = subprocess.run(["bash", str(repository / "mriseg"), "models"], capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "MRISEG_PYTHON": "/nowhere/python3"})
    assert done.returncode == 1 and "There is no /nowhere/python3 here" in done.stderr


def test_the_worker_can_be_found_from_any_folder_and_through_a_link(repository, tmp_path):
    link = tmp_path / "mriseg"
    link.symlink_to(repository / "mriseg")
    done = subprocess.run(["bash", str(link), "models", "list"], cwd=tmp_path, capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "MRISEG_PYTHON": sys.executable, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
