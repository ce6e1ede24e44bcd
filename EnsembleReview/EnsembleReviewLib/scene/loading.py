"""Reading the files of a finished job, before the scene is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.images.segmentation_files import segments_of
from MRISegSuiteLib.images.structures import tumor_name
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.scene.segmentations import closed_surface

from ..hot_spots import HotSpot


@dataclass
class LoadedJob:
    """The files of a job folder.

    Attributes:
        result: its result.json.
        panel: its panel.json.
        fusion, majority: (label image, structure -> value); majority None where it is the fusion.
        surfaces: structure -> closed surface of the fusion (vtkPolyData; world, RAS, mm).
        experts: expert id -> (label image, structure -> value).
        maps: "disagreement", "mutual_information" -> image, as far as they are there.
        hot_spots, spots: the image with their numbers, and what is known of each.
    """

    result: Result
    panel: dict
    fusion: tuple
    majority: tuple | None
    surfaces: dict
    experts: dict[str, tuple]
    maps: dict[str, sitk.Image]
    hot_spots: sitk.Image
    spots: list[HotSpot]


def load_job(job_folder) -> LoadedJob:
    """Read a job folder; a generator that yields between its files and returns a :class:`LoadedJob`.

    Raises:
        SuiteError: the job failed, or a file is missing or damaged.
    """
    folder = Path(job_folder)
    result = Result.read(folder)
    if result.failure() is not None:
        raise result.failure()
    missing = {"fusion", "panel", "hot_spots", "hot_spot_list", "disagreement"} - set(result.files)
    if missing:
        raise BadInput(f"{folder} holds no result of an ensemble.", "Choose the folder of an ensemble job.")
    panel = _json(folder / result.files["panel"])
    spots = [HotSpot.from_record(record) for record in _json(folder / result.files["hot_spot_list"])]
    yield
    fusion = _labels(folder / result.files["fusion"])
    surfaces = {}
    for structure, value in fusion[1].items():
        surfaces[structure] = closed_surface(fusion[0], value)
        yield
    majority = _labels(folder / result.files["majority"]) if "majority" in result.files else None
    experts, maps = {}, {}
    for expert in panel["experts"]:
        yield
        experts[expert["id"]] = _labels(folder / result.files[expert["role"]])
    for role in ("disagreement", "mutual_information"):
        if role in result.files:
            yield
            maps[role] = read_image_file(folder / result.files[role])
    yield
    hot_spots = read_image_file(folder / result.files["hot_spots"])
    return LoadedJob(result, panel, fusion, majority, surfaces, experts, maps, hot_spots, spots)


def _labels(path: Path) -> tuple:
    """The label image of a file that we wrote, and its names; a structure of which nothing is there has no name."""
    image = read_image_file(path)
    return image, {tumor_name(one["Name"]): int(one["LabelValue"]) for one in segments_of(image)}


def _json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exception:
        raise BadInput(f"{path} is missing or damaged: {exception}.", "Run the job again.") from exception
