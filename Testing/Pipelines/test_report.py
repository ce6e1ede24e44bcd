"""The report: pictures are the right way round in every geometry, the page stands alone and says what was found."""

import base64
import io
import os
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from matplotlib.image import imread
from vtk.util.numpy_support import vtk_to_numpy

from KneeSegLib.report import write_knee_report
from MRISegSuiteLib.errors import UnwritableOutput
from MRISegSuiteLib.images.canonical import to_canonical
from MRISegSuiteLib.meshes.polydata import set_point_data
from MRISegSuiteLib.reports.html_report import Report, Table, write_report
from MRISegSuiteLib.reports.slice_pictures import PLANES, slice_montage
from MRISegSuiteLib.reports.surface_pictures import (
    OUTSIDE_COLOR,
    ZERO_COLOR,
    Surface,
    direction_of,
    mapped_surface,
    plain_surface,
    render,
)

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


# --- slices ---------------------------------------------------------------------------------------------------------


def marked_volume() -> tuple[sitk.Image, dict]:
    """LPS, 1 mm: a body with one ball right (1), one anterior (2), one superior (3) of its middle; a plain scan."""
    k, j, i = np.mgrid[:60, :60, :60] - 30
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[np.abs(i) + np.abs(j) + np.abs(k) < 4] = 4
    for value, center in ((1, (-20, 0, 0)), (2, (0, -20, 0)), (3, (0, 0, 20))):
        labels[(i - center[0]) ** 2 + (j - center[1]) ** 2 + (k - center[2]) ** 2 < 36] = value
    return sitk.GetImageFromArray(labels), {"right": 1, "anterior": 2, "superior": 3, "middle": 4}


MARKS = {"right": RED, "anterior": GREEN, "superior": BLUE, "middle": (1.0, 1.0, 0.0)}


def pixels_of(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(float) / 255


def where(picture, color) -> np.ndarray:
    """Center of the pixels of a color: (column, row) as parts of the picture's width and height, NaN when absent."""
    there = np.argwhere((np.abs(picture - color) < 0.25).all(axis=2))
    if len(there) < 20:
        return np.array([np.nan, np.nan])
    return there.mean(axis=0)[::-1] / np.array(picture.shape[1::-1])


@pytest.mark.parametrize(
    ("plane", "mark", "column", "row"),
    [
        ("axial", "right", 0, None),
        ("axial", "anterior", None, 0),
        ("coronal", "right", 0, None),
        ("coronal", "superior", None, 0),
        ("sagittal", "anterior", 0, None),
        ("sagittal", "superior", None, 0),
    ],
)
@pytest.mark.parametrize("stored", ["LPS", "RAS", "PIR", "SAL", "oblique", "mirrored"])
def test_radiological_convention_in_every_geometry(stored, plane, mark, column, row):
    labels, names = marked_volume()
    if stored == "oblique":  # turned by 20 degrees: the nearest anatomical axes are drawn
        c, s = np.cos(0.35), np.sin(0.35)
        labels.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    elif stored == "mirrored":
        labels = to_canonical(labels, "RPS")  # left-handed
    else:
        labels = to_canonical(labels, stored)
    picture = pixels_of(slice_montage(None, labels, names, MARKS, plane, 1, show=["middle"]))
    across, down = where(picture, MARKS[mark]) - where(picture, MARKS["middle"])
    assert np.isfinite([across, down]).all()
    if column is not None:
        assert across < -0.2
    if row is not None:
        assert down < -0.2


@pytest.mark.parametrize("plane", PLANES)
def test_letters_name_what_lies_there(plane):
    opposite = dict(zip("LRAPSI", "RLPAIS", strict=True))
    columns, rows, _ = PLANES[plane].axes
    assert PLANES[plane].letters == (opposite[columns], columns, opposite[rows], rows)


def test_voxels_are_drawn_with_their_true_proportions():
    k, j, i = np.mgrid[:20, :100, :100]
    ball = ((k - 10) * 4.0) ** 2 + (j - 50) ** 2 + (i - 50) ** 2 < 30**2
    labels = sitk.GetImageFromArray(ball.astype(np.uint8))
    labels.SetSpacing((1, 1, 4))
    for plane in ("axial", "coronal", "sagittal"):
        picture = pixels_of(slice_montage(None, labels, {"ball": 1}, {"ball": RED}, plane, 1))
        there = np.argwhere((np.abs(picture - RED) < 0.3).all(axis=2))
        height, width = np.ptp(there, axis=0)
        assert width / height == pytest.approx(1, abs=0.12)


def test_the_same_knee_stored_otherwise_gives_the_same_picture(shared_data):
    path = sorted((shared_data / "knee_labels").glob("*.nii.gz"))[0]
    labels = sitk.ReadImage(str(path))
    names, colors = {"femur": 1, "cartilage": 2, "tibia": 3}, {"femur": RED, "cartilage": GREEN, "tibia": BLUE}
    first = pixels_of(slice_montage(None, labels, names, colors, "sagittal", 4))
    second = pixels_of(slice_montage(None, to_canonical(labels, "SRA"), names, colors, "sagittal", 4))
    assert first.shape == second.shape and np.abs(first - second).mean() < 1e-4
    assert (first > 0.5).any()


def test_labels_on_another_grid_are_drawn_in_place():
    scan = sitk.GetImageFromArray(np.random.default_rng(0).random((40, 50, 60)).astype(np.float32))
    scan.SetOrigin((-30, -25, -20))
    fine = sitk.Resample(
        sitk.Image(10, 10, 10, sitk.sitkUInt8), (120, 100, 80), sitk.Transform(), sitk.sitkNearestNeighbor,
        (-30.0, -25.0, -20.0), (0.5, 0.5, 0.5),
    )  # fmt: skip
    array = sitk.GetArrayFromImage(fine)
    array[30:50, 40:60, 20:30] = 1  # x from -20 to -15: towards the patient's right
    labels = sitk.GetImageFromArray(array)
    labels.CopyInformation(fine)
    picture = pixels_of(slice_montage(scan, labels, {"a": 1}, {"a": RED}, "coronal", 1))
    reddish = np.argwhere(picture[..., 0] - picture[..., 1:].max(axis=2) > 0.3)
    assert len(reddish) and reddish[:, 1].mean() / picture.shape[1] < 0.55


def test_nothing_labeled_still_gives_a_picture():
    scan = sitk.GetImageFromArray(np.random.default_rng(0).random((20, 30, 30)).astype(np.float32))
    picture = pixels_of(slice_montage(scan, scan > 2, {"a": 1}, {"a": RED}, "sagittal", 4))
    assert picture.std() > 0.05


# --- surfaces -------------------------------------------------------------------------------------------------------


def ball(center=(0, 0, 0), radius=10.0) -> vtk.vtkPolyData:
    source = vtk.vtkSphereSource()
    source.SetCenter(*center)
    source.SetRadius(radius)
    source.SetThetaResolution(60)
    source.SetPhiResolution(60)
    source.Update()
    return source.GetOutput()


def axis_balls() -> list[Surface]:
    """A gray ball with a red one to the patient's left, a green one behind it and a blue one above it (LPS)."""
    marks = (((0, 0, 0), (0.6, 0.6, 0.6), 10), ((20, 0, 0), RED, 5), ((0, 20, 0), GREEN, 5), ((0, 0, 20), BLUE, 5))
    return [plain_surface(ball(center, radius), color) for center, color, radius in marks]


def hue_center(picture, channel) -> np.ndarray | None:
    values = picture.astype(int)
    others = values[..., [c for c in range(3) if c != channel]].max(axis=2)
    there = np.argwhere(values[..., channel] - others > 60)
    return None if len(there) < 30 else there.mean(axis=0)[::-1] / np.array(picture.shape[1::-1])


@pytest.mark.parametrize(
    ("seen_from", "red", "green", "blue"),
    [  # where the ball to the left, the one behind and the one above appear; front: on the ball in the middle
        ("anterior", "right", "hidden", "up"),
        ("posterior", "left", "front", "up"),
        ("left", "front", "right", "up"),
        ("right", "hidden", "left", "up"),
        ("superior", "left", "down", "front"),
        ("inferior", "right", "down", "hidden"),
    ],
)
def test_views_show_what_a_person_standing_there_sees(seen_from, red, green, blue):
    picture = render(axis_balls(), seen_from)
    middle = np.array([0.5, 0.5])
    shown = {channel: hue_center(picture, channel) for channel in range(3)}
    for channel, place in enumerate((red, green, blue)):
        center = shown[channel]
        if place == "hidden":
            assert center is None
            continue
        assert center is not None
        across, down = center - middle
        if place == "left":
            assert across < -0.1
        elif place == "right":
            assert across > 0.1
        elif place == "up":
            assert down < -0.1
        elif place == "down":
            assert down > 0.1


def test_medial_and_lateral_follow_the_side():
    assert np.array_equal(direction_of("lateral", "right")[0], (-1, 0, 0))  # LPS: the right side is at negative x
    assert np.array_equal(direction_of("medial", "right")[0], (1, 0, 0))
    assert np.array_equal(direction_of("lateral", "left")[0], (1, 0, 0))
    with pytest.raises(ValueError, match="side"):
        direction_of("medial", None)
    with pytest.raises(ValueError, match="a view is one of"):
        direction_of("above", None)


def test_a_closed_surface_has_no_holes_and_is_drawn_the_same_twice():
    picture = render([plain_surface(ball(), RED)], "anterior", width=300)
    inside = (picture != 255).any(axis=2)
    rows = np.flatnonzero(inside.any(axis=1))
    for row in rows:
        columns = np.flatnonzero(inside[row])
        assert len(columns) == np.ptp(columns) + 1
    scale = np.ptp(rows) / 20
    assert inside.sum() == pytest.approx(np.pi * 100 * scale**2, rel=0.03)
    assert np.array_equal(picture, render([plain_surface(ball(), RED)], "anterior", width=300))


def test_values_become_colors():
    mesh = ball()
    y = vtk_to_numpy(mesh.GetPoints().GetData())[:, 2]
    set_point_data(mesh, "thickness_mm", np.where(y > 0, 4.0, 0.0))
    set_point_data(mesh, "subchondral", (y > -5).astype(np.uint8))
    colors = mapped_surface(mesh, "thickness_mm", 4.0, "subchondral").colors
    assert np.allclose(colors[y < -5.5], OUTSIDE_COLOR)
    assert np.allclose(colors[(y > -4.5) & (y < -0.5)], ZERO_COLOR)
    assert np.allclose(colors[y > 0.5], (0.993, 0.906, 0.144), atol=0.01)  # the ramp's end


# --- the page -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.tags, self.text, self.opened = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for key, value in attributes if key in ("src", "href", "data", "action")]
        if tag not in ("meta", "img", "br"):
            self.opened.append(tag)

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag

    def handle_data(self, data):
        self.text += data


def record(**more):
    def row(structure, region, name, value, unit, **rest):
        same = {"structure": structure, "region": region, "name": name, "value": value, "unit": unit}
        return same | {"method": "m"} | rest

    return {
        "inputs": [{"role": "image", "file": "/home/someone/Doe_Jane/scan.nii.gz", "sha256": "12" * 32}],
        "model": {"id": "knee-test", "version": "3.1", "sha256": "abcdef" * 10},
        "software": {"numpy": "2.0"},
        "parameters": {"side": "auto"},
        "warnings": ["Slices <b>are</b> thick & few"],
        "measurements": [
            row("femoral_cartilage", "whole", "ThCtAB", 2.145, "mm", sd=0.68),
            row("femoral_cartilage", "whole", "VC", 11845.6, "mm3"),
            row("femoral_cartilage", "anterior", "ThCtAB", None, "mm"),
            row("patellar_cartilage", "whole", "ThCtAB", float("nan"), "mm"),
            row("patellar_cartilage", "whole", "dABp", 10.93, "%"),
        ],
    } | more


@pytest.fixture(scope="module")
def knee(tmp_path_factory):
    """The report of a small knee made of balls, and its folder."""
    folder = tmp_path_factory.mktemp("report")
    k, j, i = np.mgrid[:50, :60, :60]
    labels = np.zeros((50, 60, 60), np.uint8)
    for value, (z, r) in {1: (35, 14), 2: (8, 12), 4: (20, 5)}.items():
        labels[(k - z) ** 2 + (j - 30) ** 2 + (i - 30) ** 2 < r * r] = value
    image = sitk.GetImageFromArray(labels)
    scan = sitk.Cast(image, sitk.sitkFloat32) + sitk.GetImageFromArray(
        np.random.default_rng(0).random(labels.shape).astype(np.float32)
    )
    femur = ball((30, 30, 35), 14)
    set_point_data(femur, "thickness_mm", np.linspace(0, 4, femur.GetNumberOfPoints()).astype(np.float32))
    set_point_data(femur, "subchondral", np.ones(femur.GetNumberOfPoints(), np.uint8))
    truth = Table("Against the truth", ["Structure", "Dice"], [["Femur <1>", 0.981], ["Tibia", None]], "a note")
    files = write_knee_report(
        folder, record(), scan, image, {"femur": 1, "tibia": 2, "femoral_cartilage": 4},
        {"femur": femur, "tibia": ball((30, 30, 8), 12)}, "left", {"Scan": "qDESS"}, [truth],
    )  # fmt: skip
    return folder, files


def test_all_files_are_there_and_are_pictures(knee):
    folder, files = knee
    assert set(files) == {
        "report", "picture_sagittal", "picture_axial", "picture_coronal", "picture_thickness_chart",
        "picture_thickness", "picture_surfaces",
    }  # fmt: skip
    assert sorted(file.name for file in folder.iterdir()) == sorted(files.values())
    for role, name in files.items():
        if role != "report":
            picture = imread(folder / name)
            assert min(picture.shape[:2]) > 100 and picture.std() > 0.05


def test_the_page_stands_alone(knee):
    folder, files = knee
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.opened[2:]  # every tag is closed
    assert len(page.sources) == len(files) - 1
    for source in page.sources:
        head, data = source.split(",", 1)
        assert head == "data:image/png;base64"
        assert imread(io.BytesIO(base64.b64decode(data))).ndim == 3
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text


def test_what_the_page_says(knee):
    folder, _ = knee
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    for words in (
        "Not a medical device", "Slices <b>are</b> thick & few", "left knee", "qDESS", "scan.nii.gz",
        "knee-test 3.1", "abcdefabcdef…", "2.15 ± 0.68", "11\u202f846", "mm³", "10.9", "Femoral cartilage, anterior",
        "Against the truth", "Femur <1>", "0.981", "a note", "MRI Seg Suite",
    ):  # fmt: skip
        assert words in page.text, words
    assert "b" not in page.tags  # the warning was escaped
    assert "nan" not in page.text.lower().replace("nanometer", "")
    head = page.text.split("How this was made")[0]
    assert head.index("Please note") < head.index("ThCtABmm")
    assert "Doe_Jane" not in head


def test_a_report_of_very_little(tmp_path):
    files = write_report(tmp_path, {}, Report("Nothing yet"))
    assert files == {"report": "report.html"}
    assert "Nothing yet" in Page((tmp_path / "report.html").read_text(encoding="utf-8")).text


def test_side_unknown_and_no_surfaces(tmp_path):
    labels, _ = marked_volume()
    files = write_knee_report(tmp_path, {}, None, labels, {"femur": 1, "tibia": 3}, {"femur": ball()}, "unknown")
    assert "not known" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "picture_thickness" not in files and "picture_surfaces" in files
    files = write_knee_report(tmp_path, {}, None, labels, {"femur": 1}, {}, None)
    assert "picture_surfaces" not in files


def test_a_missing_folder_is_a_typed_error(tmp_path):
    with pytest.raises(UnwritableOutput):
        write_report(tmp_path / "nowhere", {}, Report("x"))


def test_surfaces_are_drawn_where_there_is_no_display_and_no_opengl(tmp_path):
    """In a process of its own in which every OpenGL library fails to load and the display is broken."""
    code = """
import builtins, sys
import vtk
def no_window(*_):
    raise RuntimeError("a render window was made")
vtk.vtkRenderWindow = vtk.vtkRenderer = no_window
from MRISegSuiteLib.reports.surface_pictures import View, plain_surface, surface_figure
source = vtk.vtkSphereSource()
source.Update()
figure = surface_figure([View("ball", [plain_surface(source.GetOutput(), (1, 0, 0))], "anterior")])
figure.savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    broken = {"DISPLAY": ":987", "WAYLAND_DISPLAY": "nowhere", "LIBGL_DRIVERS_PATH": "/nowhere",
              "VTK_DEFAULT_OPENGL_WINDOW": "vtkNoSuchWindow", "MPLBACKEND": "TkAgg"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], env=os.environ | broken, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert imread(tmp_path / "a.png").std() > 0.05
