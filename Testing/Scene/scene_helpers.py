"""What several scene tests need."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import vtk

from KneeSegLib.structures import STRUCTURES
from MRISegSuiteLib.images.segmentation_files import write_segmentation
from MRISegSuiteLib.jobs import Job, Measurement, Result
from MRISegSuiteLib.meshes.polydata import write_vtp


def rotation(degrees_x, degrees_y, degrees_z) -> np.ndarray:
    transform = sitk.Euler3DTransform((0, 0, 0), *np.radians([degrees_x, degrees_y, degrees_z]))
    return np.array(transform.GetMatrix()).reshape(3, 3)


DIRECTIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": rotation(12, -7, 33),
    "oblique sagittal, left-handed": rotation(5, 17, -9) @ np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
}


def put_under(scene, node, matrix: np.ndarray):
    """Put a node under a linear transform (RAS)."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    vtk_matrix = vtk.vtkMatrix4x4()
    vtk_matrix.DeepCopy(matrix.ravel())
    transform.SetMatrixTransformToParent(vtk_matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def write_job(folder, image_path, labels, measurement, **overrides) -> Path:
    """Write a job folder with job.json, products and result.json."""
    folder.mkdir(parents=True)
    job = Job("knee", {"image": str(image_path)}, {"side": "auto"}, {"id": "test_model"})
    job.write(folder)
    files = {"segmentation": "segmentation.seg.nrrd"}
    write_segmentation(labels, STRUCTURES, folder / files["segmentation"], measurement.side, "test_model 1")
    for name, mesh in measurement.surfaces.items():
        files[f"surface_{name}"] = f"{name}.vtp"
        write_vtp(mesh, folder / f"{name}.vtp")
    measurements = []
    for row in measurement.rows:
        row = dict(row)
        sd = row.pop("sd", None)
        measurements.append(Measurement(**row))
        if sd is not None:
            measurements.append(Measurement(**{**row, "name": row["name"] + "_SD", "value": sd}))
    fields = dict(
        files=files, measurements=measurements, warnings=list(measurement.warnings), task="knee",
        model={"id": "test_model", "version": "1", "sha256": "ab" * 32},
        parameters={"side": "auto", "side_found": measurement.side},
        inputs=[{"role": "image", "file": str(image_path), "sha256": "cd" * 32}],
    )
    Result(**(fields | overrides)).write(folder)
    return folder
