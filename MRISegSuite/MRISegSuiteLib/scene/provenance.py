"""Where a node came from, written on the node itself; and whether someone has edited it since."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .. import __version__

JOB, MODEL, MODEL_HASH, VERSION = (f"MRISegSuite.{name}" for name in ("Job", "Model", "ModelHash", "Version"))
_DIGEST = "MRISegSuite.Digest"


def provenance_of(result) -> dict[str, str]:
    """The provenance attributes of all nodes that are made from a ``jobs.Result``.

    ``MRISegSuite.Job`` is JSON: task, parameters, and the hashes of the inputs. No paths: they say nothing on another
    machine, and a folder may be named after a patient.
    """
    model = result.model or {}
    job = {
        "task": result.task,
        "parameters": result.parameters,
        "inputs": [{key: item[key] for key in ("role", "sha256") if key in item} for item in result.inputs],
    }
    attributes = {
        JOB: json.dumps(job, sort_keys=True),
        MODEL: " ".join(str(model[key]) for key in ("id", "version") if model.get(key)),
        MODEL_HASH: model.get("sha256") or "",
        VERSION: (result.software or {}).get("MRISegSuite") or __version__,
    }
    return {name: str(value) for name, value in attributes.items() if value}


def mark(node, attributes: dict[str, str]) -> None:
    """Write provenance attributes on a node; those that do not apply any more are removed."""
    for name in (JOB, MODEL, MODEL_HASH, VERSION):
        if name in attributes:
            node.SetAttribute(name, attributes[name])
        else:
            node.RemoveAttribute(name)


def seal(node, digest: str | None = None) -> None:
    """Remember the content of a table, model or volume node as we wrote it (see :func:`was_edited`).

    ``digest`` is that of :func:`digest_of_voxels`, where it was made before: of millions of voxels it takes a while.
    """
    node.SetAttribute(_DIGEST, digest or _digest(node))


def digest_of_voxels(image: sitk.Image) -> str:
    """What :func:`seal` remembers of a volume node with the voxels of ``image`` (one number each)."""
    return _hexdigest(hashlib.sha256(_as_kept(sitk.GetArrayViewFromImage(image))))


def was_edited(node) -> bool:
    """True if someone changed cells, mesh or voxels of a node since :func:`seal`, or it was never sealed."""
    return node.GetAttribute(_DIGEST) != _digest(node)


def _digest(node) -> str:
    digest = hashlib.sha256()
    if node.IsA("vtkMRMLTableNode"):
        table = node.GetTable()
        for index in range(table.GetNumberOfColumns()):
            column = table.GetColumn(index)
            cells = [_cell(column, row) for row in range(table.GetNumberOfRows())]
            digest.update(json.dumps([column.GetName(), cells]).encode())
    elif node.IsA("vtkMRMLVolumeNode"):
        image = node.GetImageData()
        if image is not None:
            digest.update(_bytes(image.GetPointData().GetScalars()))
    else:
        mesh = node.GetPolyData()
        if mesh is not None and mesh.GetPoints() is not None:
            digest.update(_bytes(mesh.GetPoints().GetData()))
            digest.update(_bytes(mesh.GetPolys().GetConnectivityArray()))
    return _hexdigest(digest)


def _hexdigest(digest) -> str:
    return digest.hexdigest()[:32]


def _bytes(array):
    return _as_kept(vtk_to_numpy(array))


def _as_kept(values: np.ndarray) -> np.ndarray:
    """As numbers that survive a file: float32 and int64 whatever the array in memory."""
    return np.ascontiguousarray(values, "<f4" if values.dtype.kind == "f" else "<i8")  # no copy where it is that


def _cell(column, row: int) -> str:
    value = column.GetVariantValue(row)
    if isinstance(column, vtk.vtkDataArray):
        return f"{value.ToDouble():.6g}"
    return value.ToString()
