"""Reading the files of a finished job, before the scene is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.images.segmentation_files import read_written_segmentation
from MRISegSuiteLib.jobs import Result
from MRISegSuiteLib.meshes.polydata import read_vtp
from MRISegSuiteLib.scene import models
from MRISegSuiteLib.scene.provenance import digest_of_voxels

from .coloring import SHOWN_THICKNESS, add_shown


@dataclass
class LoadedJob:
    """The files of a job folder, read before the scene is touched."""

    result: Result
    segmentation: tuple | None  # label image (LPS), {structure: value}
    truth: tuple | None  # the same for the known truth of a virtual knee
    layers: tuple | None  # the same for the depth layers
    t2: sitk.Image | None
    t2_digest: str | None  # of its voxels
    surfaces: dict  # structure -> vtkPolyData in the world, RAS, mm
    shapes: dict  # the same for what a shape model makes of a bone
    shape: str  # the record of the shape fit, JSON; empty where there is none

    @property
    def bones(self) -> dict:
        return {name: mesh for name, mesh in self.surfaces.items() if mesh.GetPointData().HasArray(SHOWN_THICKNESS)}

    @property
    def side(self) -> str:
        return str(self.result.parameters.get("side_found") or self.result.parameters.get("side") or "unknown")


def load_job(job_folder):
    """Read a job folder; a generator that yields between its files and returns a :class:`LoadedJob`."""
    folder = Path(job_folder)
    result = Result.read(folder)
    if result.failure() is not None:
        raise result.failure()
    labels = {}
    for role in ("segmentation", "truth", "layers"):
        if role in result.files:
            labels[role] = read_written_segmentation(folder / result.files[role])
            yield
    surfaces = yield from _meshes(folder, result, "surface_")
    shapes = yield from _meshes(folder, result, "shape_")
    for mesh in surfaces.values():
        add_shown(mesh)
    yield
    shape = (folder / result.files["shape"]).read_text(encoding="utf-8") if "shape" in result.files else ""
    t2 = read_image_file(folder / result.files["t2"]) if "t2" in result.files else None
    yield
    digest = digest_of_voxels(t2) if t2 is not None else None
    return LoadedJob(result, labels.get("segmentation"), labels.get("truth"), labels.get("layers"), t2,
                     digest, surfaces, shapes, shape)


def _meshes(folder: Path, result: Result, prefix: str):
    """The surfaces whose roles begin with ``prefix``, by the rest of the role; yields between the files."""
    meshes = {}
    for role, name in result.files.items():
        if role.startswith(prefix):
            try:
                meshes[role[len(prefix):]] = models.to_world_ras(read_vtp(folder / name))
            except OSError as exception:
                raise BadInput(str(exception), "Run the job again.") from exception
            yield
    return meshes
