"""Ensemble results in the MRML scene: the fusion, every expert as segments, disagreement, hot spots, table.

``nodes``: what belongs to a result, and finding it again; ``loading``: the files of a job; ``writing``: files to
nodes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.files import sha256_of
from MRISegSuiteLib.images.reading import read_image_file
from MRISegSuiteLib.jobs.result import FILE_NAME as RESULT_FILE
from MRISegSuiteLib.scene import hierarchy
from MRISegSuiteLib.scene.change import SceneChange
from MRISegSuiteLib.scene.volumes import new_volume_node
from MRISegSuiteLib.steps import all_at_once

from .loading import load_job
from .nodes import RESULT_ATTRIBUTE, EnsembleNodes, expert_segments, hot_spots_of, nodes_of, panel_of
from .writing import write_parts

__all__ = ["EnsembleNodes", "add_case_in_steps", "add_results", "add_results_in_steps", "expert_segments",
           "hot_spots_of", "nodes_of", "panel_of", "remove_nodes"]


def add_results(scene, job_folder, volumeNode=None) -> EnsembleNodes:
    """Load a finished job into the scene as new nodes, beside the volume. Nothing that is there is changed.

    Args:
        scene: the vtkMRMLScene.
        job_folder: folder with result.json.
        volumeNode: the first image that the job worked on; without it results lie in world coordinates on their own.

    Raises:
        SuiteError: the job failed, or a file is missing or damaged. The scene is unchanged.
    """
    return all_at_once(add_results_in_steps(scene, job_folder, volumeNode))


def add_results_in_steps(scene, job_folder, volumeNode=None):
    """:func:`add_results` as a generator (see MRISegSuiteLib.steps); the scene is changed in the last step alone."""
    loaded = yield from load_job(job_folder)
    yield
    with SceneChange(scene, undo_like=volumeNode):
        base = volumeNode.GetName() if volumeNode is not None else Path(job_folder).resolve().name
        return _written(scene, job_folder, base, loaded, volumeNode)


def add_case_in_steps(scene, job_folder, images):
    """Load a finished job together with its images, as :func:`add_results_in_steps` does.

    Args:
        scene: the vtkMRMLScene. job_folder: folder with result.json.
        images: name of the volume node -> file; the first one is what the results lie beside.

    Returns:
        The nodes of the result, the volume nodes, and all nodes that were added, for :func:`remove_nodes`.
    """
    loaded = yield from load_job(job_folder)
    read = []
    for name, path in images.items():
        yield
        image = read_image_file(path)
        read.append((name, image, _window(image)))
    yield
    with SceneChange(scene) as change:
        volumes = [_new_volume(scene, name, image, window) for name, image, window in read]
        nodes = _written(scene, job_folder, Path(job_folder).resolve().name, loaded, volumes[0])
    return nodes, volumes, change.added


def remove_nodes(scene, added) -> None:
    """Take the nodes of a case out of the scene again; colors stay, which other results may share."""
    # What is displayed goes before its display, so that nobody sees a node without one.
    for node in sorted(reversed(added), key=lambda node: node.IsA("vtkMRMLDisplayNode")):
        if scene.IsNodePresent(node) and not node.IsA("vtkMRMLColorNode"):
            hierarchy.forget(scene, node)
            scene.RemoveNode(node)


def _window(image: sitk.Image) -> tuple[float, float]:
    """Lowest and highest gray value to show, from every third voxel: MRML would look at all, in one step."""
    low, high = np.percentile(sitk.GetArrayViewFromImage(image)[::3, ::3, ::3], (0.1, 99.9))
    return float(low), float(max(high, low + 1e-6))


def _new_volume(scene, name: str, image: sitk.Image, window: tuple[float, float]):
    node = new_volume_node(scene, name, image, window=window)
    if scene.GetFirstNodeByName(name) is None:
        node.SetName(name)  # MRML numbers names that were in use once, and a case may be opened again
    return node


def _written(scene, job_folder, base: str, loaded, volumeNode) -> EnsembleNodes:
    nodes = write_parts(scene, base, loaded, volumeNode, hierarchy.parent_item(scene, volumeNode))
    nodes.fusion.SetAttribute(RESULT_ATTRIBUTE, sha256_of(Path(job_folder) / RESULT_FILE))
    nodes.warnings = list(loaded.result.warnings)
    nodes.jobFolder = Path(job_folder)
    return nodes
