"""``scene.mrb``: a finished job as a scene that opens in Slicer with everything in place."""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import slicer

from ..errors import SuiteError, UnwritableOutput, error_from_write
from ..images.reading import read_volume
from ..jobs import Job, Result
from . import hierarchy
from .results import add_results
from .views import arrange_views
from .volumes import new_volume_node

FILE_NAME = "scene.mrb"


def save_bundle(job_folder) -> Path:
    """Write ``scene.mrb`` into the folder of a finished job, list it in result.json, and return its path.

    The scene holds the input image, the results beside it, and views that show them. It is built apart from the user's
    (``slicer.mrmlScene``), which stays as it is; so it works the same in plain Python and inside Slicer.
    The file is written aside and renamed; result.json names it only when it is whole.

    Raises:
        SuiteError: the job has not finished or failed, its input is gone, the folder cannot be written.
    """
    folder = Path(job_folder).resolve()
    result = Result.read(folder)
    if result.failure() is not None:
        raise result.failure()
    with _apart_scene() as scene:
        volumeNode = _input_volume(scene, folder, result)
        nodes = add_results(scene, folder, result.task, volumeNode)
        arrange_views(scene, volumeNode, nodes)
        _name_files(scene)
        path = write_scene(scene, folder / FILE_NAME)
    result.files["scene"] = FILE_NAME
    result.write(folder)
    return path


def write_scene(scene, path) -> Path:
    """Write a scene as ``.mrb`` (whole or not at all) and return the path.

    Raises:
        UnwritableOutput, DiskFull
    """
    path = Path(path).resolve()
    # The name of the file becomes the name of the folder inside the archive, so the file is made in a folder aside.
    aside = path.parent / f".{path.stem}-{os.getpid()}"
    try:
        aside.mkdir(parents=True, exist_ok=True)
        messages = slicer.vtkMRMLMessageCollection()
        if not scene.WriteToMRB(str(aside / path.name), None, messages):
            raise UnwritableOutput(f"{path} cannot be written: {messages.GetAllMessagesAsString().strip()}",
                                   "Check the free space and the rights of the folder.")
        os.replace(aside / path.name, path)
    except OSError as exception:
        raise error_from_write(exception, path) from exception
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return path


@contextmanager
def _apart_scene():
    """A scene of its own, with the node classes that the results need."""
    if getattr(slicer, "app", None) is not None:
        scene = slicer.vtkMRMLScene()
        slicer.mrmlScene.CopyRegisteredNodesToScene(scene)
    else:
        from .headless import HeadlessSlicer

        headless = HeadlessSlicer()  # keeps the logics alive as long as this function runs
        scene = headless.scene
    try:
        yield scene
    finally:
        scene.Clear(1)


def _name_files(scene) -> None:
    """Give every node a plain file name in the archive: Slicer writes what is not ASCII as unreadable codes."""
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and not node.GetHideFromEditors():
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
            if storage is not None:
                words = re.findall(r"[A-Za-z0-9]+", node.GetName())
                storage.SetFileName("_".join(words) + "." + storage.GetDefaultWriteFileExtension())


def _input_volume(scene, folder, result):
    """The image that the job worked on (or made), as a volume node; None for a job without an image."""
    job = Job.read(folder)
    if "image" in result.files:
        path = folder / result.files["image"]
    elif "image" in job.inputs:
        path = Path(job.inputs["image"])
    else:
        return None
    volume = read_volume(path, job.parameters.get("echo"))
    name = path.name if path.is_dir() else path.name.split(".")[0]
    node = new_volume_node(scene, name or "image", volume.image)
    hierarchy.place(scene, node, hierarchy.hierarchy_of(scene).GetSceneItemID())
    return node


def main(arguments) -> int:
    """``python -m MRISegSuiteLib.scene.bundle FOLDER``: in a process of its own, so that a crash costs no result."""
    try:
        save_bundle(arguments[0])
    except SuiteError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
