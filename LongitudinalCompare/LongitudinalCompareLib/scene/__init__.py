"""Comparisons in the MRML scene: transforms, change maps, lesions, diameters, table, chart.

``nodes``: what belongs to a result, and finding it again; ``loading``: the files of a job; ``writing``: files to
nodes; ``views``: the layout side by side and what its views show.
"""

from __future__ import annotations

from pathlib import Path

from MRISegSuiteLib.scene import hierarchy, provenance
from MRISegSuiteLib.scene.change import SceneChange
from MRISegSuiteLib.steps import all_at_once

from .loading import load_job
from .nodes import (
    CompareNodes,
    align,
    are_links_measured,
    corrections_of,
    diameters_of,
    inputs_of,
    is_aligned,
    links_of,
    nodes_of,
    record_of,
    remember_inputs,
    set_corrections,
)
from .writing import new_inputs, write_parts

__all__ = [
    "CompareNodes", "add_results", "add_results_in_steps", "align", "are_links_measured", "corrections_of",
    "diameters_of", "inputs_of", "is_aligned", "links_of", "nodes_of", "record_of", "remember_inputs",
    "set_corrections", "update_results_in_steps",
]  # fmt: skip


def add_results(scene, job_folder, volumeNodes=None, maskNodes=()) -> CompareNodes:
    """Load a finished job into the scene as new nodes, beside the baseline.

    Args:
        scene: the vtkMRMLScene.
        job_folder: folder with result.json.
        volumeNodes: the scans that the job worked on, in order; they are put under the transforms that align them,
            their voxels and their own geometry stay. Without them (a job from elsewhere) the images of the common
            space are shown. A single node is taken for the baseline of such a job and not moved.
        maskNodes: the segmentations that were measured, in order; without them those of the job are loaded.

    Raises:
        SuiteError: the job failed, or a file is missing or damaged. The scene is unchanged.
    """
    return all_at_once(add_results_in_steps(scene, job_folder, volumeNodes, maskNodes))


def add_results_in_steps(scene, job_folder, volumeNodes=None, maskNodes=(), further=None, masksOf=()):
    """:func:`add_results` as a generator (see MRISegSuiteLib.steps); the scene is changed in the last step alone.

    ``further`` and ``masksOf``: see :class:`CompareNodes`.
    """
    loaded = yield from load_job(job_folder)
    yield
    volumeNodes = list(volumeNodes) if isinstance(volumeNodes, (list, tuple)) else []
    anchor = volumeNodes[0] if volumeNodes else None
    with SceneChange(scene, undo_like=anchor):
        base = anchor.GetName() if anchor is not None else Path(job_folder).resolve().name
        parent = hierarchy.parent_item(scene, anchor)
        nodes = CompareNodes(
            volumes=volumeNodes, masks=list(maskNodes), further=dict(further or {}), masksOf=list(masksOf))
        new_inputs(scene, base, loaded, nodes, parent)
        write_parts(scene, base, loaded, nodes, parent, {})
        align(nodes, True)
    return _finished(nodes, loaded, job_folder)


def update_results_in_steps(scene, job_folder, old: CompareNodes):
    """Bring a result up to date after a mask was edited or a diameter moved: the same nodes, new numbers.

    Parts that a person edited (a table, a map) are left alone and new ones made beside them. A generator that
    returns the nodes, as :func:`add_results_in_steps`.
    """
    loaded = yield from load_job(job_folder)
    yield
    keep = {}
    for name, node in old.parts().items():
        if not _was_edited(node):  # looks at every voxel of a map
            keep[name] = node
        if node.IsA("vtkMRMLVolumeNode"):
            yield
    with SceneChange(scene, changed=keep.values(), undo_like=old.volumes[0] if old.volumes else None):
        base = old.volumes[0].GetName() if old.volumes else Path(job_folder).resolve().name
        parent = hierarchy.parent_item(scene, old.volumes[0] if old.volumes else old.table)
        nodes = CompareNodes(volumes=old.volumes, masks=old.masks, further=old.further, masksOf=old.masksOf)
        write_parts(scene, base, loaded, nodes, parent, keep)
        align(nodes, True)
    return _finished(nodes, loaded, job_folder)


def _was_edited(node) -> bool:
    sealed = node.IsA("vtkMRMLTableNode") or node.IsA("vtkMRMLVolumeNode")
    return sealed and provenance.was_edited(node)


def _finished(nodes: CompareNodes, loaded, job_folder) -> CompareNodes:
    nodes.warnings = list(loaded.result.warnings)
    nodes.jobFolder = Path(job_folder)
    return nodes
