"""What the extension packages: the lists against the tree, and the rules of Slicer's extension index."""

import importlib.util
import re
import struct
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("cmake_lists", Path(__file__).with_name("cmake_lists.py"))
cmake_lists = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cmake_lists)


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_every_file_is_listed_once_and_every_listed_file_is_there(module):
    problems = cmake_lists.differences(REPOSITORY / module)
    assert not problems, "\n".join([*problems, "python Testing/Packaging/cmake_lists.py --write corrects the lists"])


def test_a_forgotten_and_a_vanished_file_are_noticed(tmp_path):
    module = tmp_path / "Module"
    (module / "ModuleLib").mkdir(parents=True)
    (module / "ModuleLib" / "forgotten.py").touch()
    (module / "CMakeLists.txt").write_text(
        "set(MODULE_PYTHON_SCRIPTS\n  ModuleLib/vanished.py\n  )\nset(MODULE_PYTHON_RESOURCES\n  )\n")
    problems = cmake_lists.differences(module)
    assert len(problems) == 2 and "forgotten.py is not listed" in problems[0] and "vanished.py" in problems[1]
    cmake_lists.write(module)
    assert cmake_lists.differences(module) == []


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_only_the_module_file_lies_directly_in_the_module_folder(module):
    """Slicer takes every other .py file there for a module."""
    assert [path.name for path in (REPOSITORY / module).glob("*.py")] == [f"{module}.py"]


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_helper_packages_have_names_of_their_own(module):
    """All modules of all extensions are installed into one folder."""
    packages = {name.split("/")[0] for name in cmake_lists.expected(REPOSITORY / module)[cmake_lists.SCRIPTS]
                if "/" in name}
    assert packages <= {f"{module}Lib", "Scripts"}


def test_the_extension_names_all_its_modules_and_facts():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"add_subdirectory\((\w+)\)", text) == list(cmake_lists.MODULES)
    for name in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert re.search(rf'^set\(EXTENSION_{name} "[^"\n]+"\)', text, re.MULTILINE), name
    assert "project(MRISegSuite)" in text and "## NEXT_MODULE" in text
    for variable in ("Slicer_USE_FILE", "Slicer_EXTENSION_GENERATE_CONFIG", "Slicer_EXTENSION_CPACK"):
        assert f"include(${{{variable}}})" in text


def test_icon_and_screenshots_are_pictures():
    """They wait in the repository for the day when the extension has a public address to show them from."""
    screenshots = [f"Resources/Screenshots/{module}.png" for module in cmake_lists.MODULES]
    for name in ["Resources/MRISegSuite.png", *screenshots]:
        assert _png_size(REPOSITORY / name)[0] >= 64, f"{name} is no picture"


def test_the_license_has_a_name_that_the_index_knows():
    assert (REPOSITORY / "LICENSE.txt").is_file()


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_the_module_icon_is_there(module):
    width, height = _png_size(REPOSITORY / module / "Resources" / "Icons" / f"{module}.png")
    assert width == height >= 48


def test_no_heavy_package_is_imported_when_a_module_is_loaded():
    """Slicer's index: at file scope nothing but the standard library and what Slicer bundles."""
    forbidden = re.compile(r"^(?:import|from) (torch|monai|transformers|ants|jsonschema|psutil|matplotlib|pandas)\b",
                           re.MULTILINE)
    for module in cmake_lists.MODULES:
        for name in cmake_lists.expected(REPOSITORY / module)[cmake_lists.SCRIPTS]:
            if "/training/" in name or "/reports/" in name:
                continue
            found = forbidden.search((REPOSITORY / module / name).read_text(encoding="utf-8"))
            assert not found, f"{module}/{name} imports {found.group(1)} at file scope"


def _png_size(path):
    data = path.read_bytes()[:24]
    assert data[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG file"
    return struct.unpack(">II", data[16:24])
