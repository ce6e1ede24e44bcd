"""What the panel did, as a script for Slicer's console and as a command line: the exact text to repeat it.

Pure text: no Slicer, no Qt.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Done:
    """One run of the panel.

    Attributes:
        volume, segmentation: names of the nodes, or None where the run had none.
        volumeFile, segmentationFile: the files that hold the same, or None where nothing on disk does.
        modelId: id of the model; empty where the segmentation was measured.
        side: "auto", "left" or "right".
        device: "auto", "cpu" or "cuda".
        again: True where an edited result was measured again.
        layers: number of depth layers, None where it is the default.
        echoes, echoFiles: names and files of the echoes from which T2 was mapped, or name of their sequence.
        frames: number of echoes in that sequence; 0 where the echoes are volumes of their own.
        t2: T2 parameters that were given by hand.
        without: stages that were left out.
        shapeModelId: id of the shape model; empty for the embedded one.
        baseline, baselineFile: segmentation of an earlier time, and the file that holds the same.
    """

    volume: str | None
    segmentation: str | None
    volumeFile: str | None = None
    segmentationFile: str | None = None
    modelId: str = ""
    side: str = "auto"
    device: str = "auto"
    again: bool = False
    layers: int | None = None
    echoes: Sequence[str] = ()
    echoFiles: Sequence[str | None] = ()
    frames: int = 0
    t2: Mapping = field(default_factory=dict)
    without: Sequence[str] = ()
    shapeModelId: str = ""
    baseline: str | None = None
    baselineFile: str | None = None


def python_recipe(done: Done) -> str:
    """The script for Slicer's Python console."""
    lines = ["from KneeSeg import KneeSegLogic", ""]
    arguments = []
    if done.volume is not None and not done.again:
        lines.append(f"volume = slicer.util.getNode({done.volume!r})")
        arguments.append("volume")
    if done.segmentation is not None:
        lines.append(f"segmentation = slicer.util.getNode({done.segmentation!r})")
        arguments.append("segmentation" if done.again else "segmentationNode=segmentation")
    elif done.modelId:
        arguments.append(f"modelId={done.modelId!r}")
    arguments.append(f"side={done.side!r}")
    if done.segmentation is None:
        arguments.append(f"device={done.device!r}")
    if done.layers is not None:
        arguments.append(f"layers={done.layers}")
    if not done.again:
        if done.without:
            arguments.append(f"without={list(done.without)!r}")
        if done.shapeModelId:
            arguments.append(f"shapeModelId={done.shapeModelId!r}")
        if done.baseline is not None:
            lines.append(f"baseline = slicer.util.getNode({done.baseline!r})")
            arguments.append("baselineNode=baseline")
    if done.echoes and not done.again:
        nodes = ", ".join(f"slicer.util.getNode({name!r})" for name in done.echoes)
        lines.append(f"echoes = [{nodes}]")
        arguments.append("echoNodes=echoes")
        if done.t2:
            arguments.append(f"t2={dict(done.t2)!r}")
    method = "measureAgain" if done.again else "process"
    lines.append(f"nodes = KneeSegLogic().{method}({', '.join(arguments)})")
    return "\n".join(lines) + "\n"


def command_recipe(done: Done, command: str) -> str:
    """The command line that does the same without a window.

    Args:
        done: what was done.
        command: how ``mriseg`` is started, e.g. ``./mriseg`` or ``Slicer --no-main-window --python-script …``.
    """
    lines, words = [], []
    if done.volume is not None:
        words.append(_file(done.volume, done.volumeFile, ".nrrd", lines))
    words += ["--out", "knee-results"]
    if done.segmentation is not None:
        words += ["--segmentation", _file(done.segmentation, done.segmentationFile, ".seg.nrrd", lines)]
    else:
        if done.modelId:
            words += ["--model", done.modelId]
        if done.device != "auto":
            words += ["--device", done.device]
    if done.side != "auto":
        words += ["--side", done.side]
    if done.layers is not None:
        words += ["--layers", str(done.layers)]
    if done.echoes:
        names, files = done.echoes, done.echoFiles
        if done.frames:  # no file format of sequences is read without a window
            names = [f"{done.echoes[0]} {n}" for n in range(1, done.frames + 1)]
            files = [None] * done.frames
        words += ["--echoes", *(_file(name, path, ".nrrd", lines) for name, path in zip(names, files, strict=True))]
    if done.t2:
        words += ["--t2", ",".join(f"{name}={_setting(value)}" for name, value in done.t2.items())]
    if done.without:
        words += ["--without", ",".join(done.without)]
    if done.shapeModelId:
        words += ["--shape-model", done.shapeModelId]
    if done.baseline is not None:
        words += ["--baseline", _file(done.baseline, done.baselineFile, ".seg.nrrd", lines)]
    lines.append(f"{command} knee {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def _setting(value) -> str:
    if value is True:
        return "yes"
    return "+".join(f"{one:g}" for one in value) if isinstance(value, list) else str(value)


def _file(name: str, path: str | None, extension: str, lines: list[str]) -> str:
    if path is not None:
        return path
    path = "".join(c if c.isalnum() or c in "-_." else "_" for c in name) + extension
    lines.append(f"# First save the node {name!r} as {path}: no file on disk holds it as it is now.")
    return path
