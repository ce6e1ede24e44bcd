"""Reading the files of a finished job, before the scene is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.images.segmentation_files import read_segmentation
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.meshes.polydata import read_vtp
from MRISegSuiteLib.scene import models

from ..structures import INPUT_NAMES
from .coloring import SHOWN_THICKNESS, add_shown


@dataclass
class LoadedJob:
    """The files of a job folder, read before the scene is touched."""

    result: Result
    segmentation: tuple | None  # label image (LPS), {structure: value}
    truth: tuple | None  # the same for the known truth of a virtual knee
    layers: tuple | None  # the same for the depth layers
    t2: sitk.Image | None
    surfaces: dict  # structure -> vtkPolyData in the world, RAS, mm
    shapes: dict  # the same for what a shape model makes of a bone
    shape: str  # the record of the shape fit, JSON; empty where there is none

    @property
    def bones(self) -> dict:
        return {name: mesh for name, mesh in self.surfaces.items() if mesh.GetPointData().HasArray(SHOWN_THICKNESS)}

    @property
    def side(self) -> str:
        return str(self.result.parameters.get("side_found") or self.result.parameters.get("side") or "unknown")


def load_job(job_folder) -> LoadedJob:
    folder = Path(job_folder)
    result = Result.read(folder)
    if result.failure() is not None:
        raise result.failure()
    labels = {
        role: read_segmentation(folder / result.files[role], accepted=INPUT_NAMES)
        for role in ("segmentation", "truth") if role in result.files
    }
    surfaces, shapes = _meshes(folder, result, "surface_"), _meshes(folder, result, "shape_")
    for mesh in surfaces.values():
        add_shown(mesh)
    shape = (folder / result.files["shape"]).read_text(encoding="utf-8") if "shape" in result.files else ""
    layers = read_segmentation(folder / result.files["layers"]) if "layers" in result.files else None
    t2 = read_image_file(folder / result.files["t2"]) if "t2" in result.files else None
    return LoadedJob(result, labels.get("segmentation"), labels.get("truth"), layers, t2, surfaces, shapes, shape)


def _meshes(folder: Path, result: Result, prefix: str) -> dict:
    """The surfaces whose roles begin with ``prefix``, by the rest of the role."""
    meshes = {}
    for role, name in result.files.items():
        if role.startswith(prefix):
            try:
                meshes[role[len(prefix):]] = models.to_world_ras(read_vtp(folder / name))
            except OSError as exception:
                raise BadInput(str(exception), "Run the job again.") from exception
    return meshes
