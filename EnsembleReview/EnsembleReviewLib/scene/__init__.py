"""Ensemble results in the MRML scene: the fusion, every expert as segments, disagreement, hot spots, table.

``nodes``: what belongs to a result, and finding it again; ``loading``: the files of a job; ``writing``: files to
nodes.
"""

from __future__ import annotations

from pathlib import Path

from MRISegSuiteLib.scene import hierarchy
from MRISegSuiteLib.scene.change import SceneChange
from MRISegSuiteLib.steps import all_at_once

from .loading import load_job
from .nodes import EnsembleNodes, expert_segments, hot_spots_of, nodes_of, panel_of
from .writing import write_parts

__all__ = ["EnsembleNodes", "add_results", "add_results_in_steps", "expert_segments", "hot_spots_of", "nodes_of",
           "panel_of"]


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
        nodes = write_parts(scene, base, loaded, volumeNode, hierarchy.parent_item(scene, volumeNode))
    nodes.warnings = list(loaded.result.warnings)
    nodes.jobFolder = Path(job_folder)
    return nodes
