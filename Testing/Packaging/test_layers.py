"""The layers of the design, held against the source: imports downwards only, heavy packages in the worker only."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "monai", "transformers", "ants", "nibabel", "dynamic_network_architectures", "einops"}
UNSAFE = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def sources(repository):
    for root in ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare"):
        yield from sorted((repository / root).rglob("*.py"))


def imports_when_loaded(tree):
    """Names that importing this module imports: not those inside functions or under TYPE_CHECKING."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))


def test_the_checker_sees_what_it_should():
    tree = ast.parse("class A:\n import torch.nn\ntry:\n from monai import x\nexcept E: pass\ndef f():\n import a\n")
    assert sorted(imports_when_loaded(tree)) == ["monai", "torch.nn"]


def test_no_heavy_package_is_imported_when_a_module_is_loaded(repository):
    found = [
        f"{path.relative_to(repository)}: {name}"
        for path in sources(repository)
        for name in imports_when_loaded(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] in HEAVY
    ]
    assert found == []


def test_nothing_unsafe_is_imported_and_weights_are_loaded_as_data_only(repository):
    found = []
    for path in sources(repository):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [f"{path}: {a.name}" for a in node.names if a.name.split(".")[0] in UNSAFE]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNSAFE:
                found.append(f"{path}: {node.module}")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = [k for k in node.keywords if k.arg == "weights_only" and getattr(k.value, "value", 0) is True]
                if not safe:
                    found.append(f"{path}:{node.lineno}: torch.load without weights_only=True")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("eval", "exec", "os.system"):
                found.append(f"{path}:{node.lineno}: {ast.unparse(node.func)}")
    assert found == []


@pytest.mark.parametrize("module", [
    "MRISegSuiteLib.jobs", "MRISegSuiteLib.models", "MRISegSuiteLib.environment", "MRISegSuiteLib.images",
    "MRISegSuiteLib.measures", "MRISegSuiteLib.meshes", "MRISegSuiteLib.reports", "MRISegSuiteLib.cli.main",
    "KneeSegLib.measure", "KneeSegLib.pipeline", "EnsembleReviewLib.pipeline", "LongitudinalCompareLib.pipeline",
])
def test_importing_what_the_gui_imports_brings_no_torch(module):
    code = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["KneeSegLib.knee_logic", "EnsembleReviewLib.ensemble_logic"])
def test_a_logic_brings_nothing_that_slicer_lacks(module):
    """Not even through what it imports: reports are drawn by the worker, which has matplotlib."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    lacking = HEAVY | {"matplotlib", "PIL", "yaml", "jsonschema"}
    code = f"import sys, slicer, {module}; print({lacking!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "set()"


def test_the_layers_of_imports_hold(repository):
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=repository, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "0 broken" in done.stdout


def test_what_the_gui_process_runs_needs_nothing_that_slicer_lacks(repository):
    """Everything but the standard library, Slicer's own packages and ours is imported inside functions."""
    bundled = set(sys.stdlib_module_names) | {
        "numpy", "scipy", "SimpleITK", "vtk", "vtkmodules", "pydicom", "slicer", "qt", "ctk", "mrml", "vtkAddon",
        "vtkSegmentationCore", "vtkSegmentationCorePython", "MRISegSuiteLib", "KneeSegLib", "EnsembleReviewLib",
        "LongitudinalCompareLib",
        "PythonQt", "SampleData",
        "vtkSlicerSegmentationsModuleMRMLPython",
    }
    # reports run in the worker, which has matplotlib
    found = [
        f"{path.relative_to(repository)}: {name}"
        for path in sources(repository)
        if "MRISegSuiteLib/reports/" not in path.as_posix()
        for name in imports_when_loaded(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] not in bundled
    ]
    assert found == []


def test_nothing_names_the_place_where_it_was_made(repository):
    words = ["/" + "work/", "/" + "farm/", "/" + "root/", "/" + "opt/v"]
    kinds = (".py", ".toml", ".md", ".json", ".txt", ".ui", ".cmake", "", ".sh")
    found = []
    for folder, below, names in os.walk(repository):
        below[:] = [name for name in below if name[0] != "." and name not in ("__pycache__", "build", "demo")]
        for path in (Path(folder) / name for name in names):
            # In a worktree .git is a file that says where the repository is.
            if path.suffix in kinds and path.is_file() and path.name != ".git":
                text = path.read_text(encoding="utf-8", errors="replace")
                found += [f"{path.relative_to(repository)}: {word}" for word in words if word in text]
    assert found == []


def test_python_sources_are_no_longer_than_a_screenful_of_purpose(repository):
    long = {str(p.relative_to(repository)): n for p in sources(repository)
            if (n := len(Path(p).read_text(encoding="utf-8").splitlines())) > 600}
    assert long == {}
