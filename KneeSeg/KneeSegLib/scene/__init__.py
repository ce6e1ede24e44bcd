"""Knee results in the MRML scene: segmentation, bones with thickness colors, table, chart.

``nodes``: what belongs to a result, and finding it again; ``loading``: the files of a job; ``writing``: files to
nodes; ``coloring``: what the bones show.
"""

from __future__ import annotations

from pathlib import Path

from MRISegSuiteLib.scene import hierarchy, provenance, segmentations
from MRISegSuiteLib.scene.change import SceneChange
from MRISegSuiteLib.steps import all_at_once

from .coloring import color_bones_by, coloring_of, colorings_of
from .loading import LoadedJob, load_job
from .nodes import KneeNodes, base_name, inputs_of, is_sealed, nodes_of, parts_of, remember_inputs, volume_of
from .writing import new_segmentation, new_truth, write_parts

__all__ = [
    "KneeNodes", "add_results", "add_results_in_steps", "color_bones_by", "coloring_of", "colorings_of", "inputs_of",
    "nodes_of", "remember_inputs", "update_results", "update_results_in_steps", "volume_of",
]  # fmt: skip


def add_results(scene, job_folder, volumeNode=None, segmentationNode=None) -> KneeNodes:
    """Load a finished job into the scene as new nodes, beside the volume.

    Args:
        scene: the vtkMRMLScene.
        job_folder: folder with result.json.
        volumeNode: the volume that the job worked on; without it results lie in world coordinates on their own.
        segmentationNode: the segmentation that the job measured, if it was given one; no other is made then.

    Raises:
        SuiteError: the job failed, or a file is missing or damaged. The scene is unchanged.
    """
    return all_at_once(add_results_in_steps(scene, job_folder, volumeNode, segmentationNode))


def add_results_in_steps(scene, job_folder, volumeNode=None, segmentationNode=None):
    """:func:`add_results` as a generator (see MRISegSuiteLib.steps); the scene is changed in the last step alone."""
    loaded = yield from load_job(job_folder)
    yield
    anchor = volumeNode or segmentationNode
    with SceneChange(scene, undo_like=anchor):
        nodes = KneeNodes(segmentation=segmentationNode)
        base = base_name(anchor, job_folder)
        parent = hierarchy.parent_item(scene, anchor)
        if segmentationNode is None and loaded.segmentation is not None:
            nodes.segmentation = new_segmentation(scene, base, loaded, volumeNode, parent)
            if loaded.truth is not None:
                new_truth(scene, base, loaded, volumeNode, parent)
        write_parts(scene, base, loaded, nodes, volumeNode, parent, {})
        return _finished(nodes, loaded, job_folder)


def update_results(scene, job_folder, volumeNode, segmentationNode) -> KneeNodes:
    """Bring the table, models and chart that belong to a segmentation up to date with a finished job.

    Those that a person edited or removed are replaced by new ones. The segmentation stays as it is, but its segments
    that were edited are no longer called automatic (see ``segmentations.mark_edited_segments``).
    Arguments, raises: see :func:`add_results`.
    """
    return all_at_once(update_results_in_steps(scene, job_folder, volumeNode, segmentationNode))


def update_results_in_steps(scene, job_folder, volumeNode, segmentationNode):
    """:func:`update_results` as a generator, like :func:`add_results_in_steps`."""
    loaded = yield from load_job(job_folder)
    yield
    old = parts_of(scene, segmentationNode)
    keep = {key: node for key, node in old.items() if not (is_sealed(node) and provenance.was_edited(node))}
    with SceneChange(scene, changed=keep.values(), undo_like=volumeNode or segmentationNode):
        nodes = KneeNodes(segmentation=segmentationNode)
        base = base_name(volumeNode or segmentationNode, job_folder)
        parent = hierarchy.parent_item(scene, volumeNode or segmentationNode)
        write_parts(scene, base, loaded, nodes, volumeNode, parent, keep)
        segmentations.mark_edited_segments(segmentationNode)
        return _finished(nodes, loaded, job_folder)


def _finished(nodes: KneeNodes, loaded: LoadedJob, job_folder) -> KneeNodes:
    nodes.side = loaded.side
    nodes.warnings = list(loaded.result.warnings) + nodes.warnings
    nodes.jobFolder = Path(job_folder)
    return nodes
