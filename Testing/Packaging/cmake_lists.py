"""The CMake lists of a module against its files: what is missing, what is listed too much, and the lists as they
should be.

    python Testing/Packaging/cmake_lists.py          tells the differences (exit code 1 when there are any)
    python Testing/Packaging/cmake_lists.py --write  writes the lists
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare")
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
#: Only ever used from a source checkout: making the model, not using it.
NOT_PACKAGED = ("KneeSegLib/training/",)


def expected(module: Path) -> dict[str, list[str]]:
    """Every file of a module folder that must be packaged, by the list it belongs to."""
    files = [path.relative_to(module).as_posix() for path in sorted(module.rglob("*")) if path.is_file()]
    files = [name for name in files if not _is_left_out(name)]
    return {SCRIPTS: [name for name in files if name.endswith(".py") and not name.startswith("Resources/")],
            RESOURCES: [name for name in files if not name.endswith(".py") or name.startswith("Resources/")]}


def listed(module: Path) -> dict[str, list[str]]:
    """What the CMakeLists.txt of the module lists."""
    text = (module / "CMakeLists.txt").read_text(encoding="utf-8")
    lists = {}
    for name in (SCRIPTS, RESOURCES):
        found = re.search(rf"set\({name}\n(.*?)\n  \)", text, re.DOTALL)
        lines = found.group(1).splitlines() if found else []
        lists[name] = [line.strip().replace("${MODULE_NAME}", module.name) for line in lines]
    return lists


def differences(module: Path) -> list[str]:
    """One sentence for each file that is listed and not there, or there and not listed."""
    problems = []
    want, have = expected(module), listed(module)
    for name in (SCRIPTS, RESOURCES):
        problems += [f"{module.name}: {file} is not listed under {name}"
                     for file in want[name] if file not in have[name]]
        problems += [f"{module.name}: {file} is listed under {name} but not there"
                     for file in have[name] if file not in want[name]]
        problems += [f"{module.name}: {file} is listed twice"
                     for file in set(have[name]) if have[name].count(file) > 1]
    return problems


def write(module: Path) -> None:
    """Write the lists into the CMakeLists.txt; the rest of the file stays."""
    path = module / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    for name, files in expected(module).items():
        lines = "".join(f"  {file}\n" for file in files)
        text = re.sub(rf"set\({name}\n.*?  \)", lambda _, n=name, block=lines: f"set({n}\n{block}  )", text,
                      flags=re.DOTALL)
    path.write_text(text, encoding="utf-8")


def _is_left_out(name: str) -> bool:
    parts = name.split("/")
    return (name == "CMakeLists.txt" or "__pycache__" in parts or any(part.startswith(".") for part in parts)
            or any(part.endswith(".egg-info") for part in parts) or name.startswith(NOT_PACKAGED))


if __name__ == "__main__":
    if "--write" in sys.argv:
        for module_name in MODULES:
            write(REPOSITORY / module_name)
    found_problems = [problem for module_name in MODULES for problem in differences(REPOSITORY / module_name)]
    print("\n".join(found_problems) or "The CMake lists name every file.")
    sys.exit(bool(found_problems))
