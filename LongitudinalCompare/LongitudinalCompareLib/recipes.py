"""What the panel did, as a script for Slicer's console and as a command line. Pure text: no Slicer, no Qt."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """One run of the panel.

    Attributes:
        volumes, masks: names of the nodes. volumeFiles, maskFiles: the files that hold the same, None where none does.
        dates, criteria, engine, anatomy, modelId, brainModelId, jacobian, experts, calibrateImage, contrasts: as
            arguments of the logic; empty for the defaults. further, furtherFiles: names and files of the further
            contrasts.
        again: name of the table where an edited result was measured again.
    """

    volumes: Sequence[str]
    volumeFiles: Sequence[str | None]
    masks: Sequence[str] = ()
    maskFiles: Sequence[str | None] = ()
    dates: Sequence[str] = ()
    criteria: str = ""
    engine: str = ""
    anatomy: str = ""
    modelId: str = ""
    brainModelId: str = ""
    jacobian: bool = False
    experts: Sequence[str] = ()
    calibrateImage: bool = False
    contrasts: Sequence[Sequence[str]] = ()
    further: Sequence[Sequence[str]] = ()
    furtherFiles: Sequence[Sequence[str | None]] = ()
    again: str = ""


def python_recipe(done: Done) -> str:
    """The script for Slicer's Python console."""
    lines = ["from LongitudinalCompare import LongitudinalCompareLogic", ""]
    if done.again:
        lines.append(f"table = slicer.util.getNode({done.again!r})")
        lines.append("nodes = LongitudinalCompareLogic().measureAgain(table)")
        return "\n".join(lines) + "\n"
    lines.append(f"volumes = [{_nodes(done.volumes)}]")
    arguments = ["volumes"]
    if done.masks:
        lines.append(f"masks = [{_nodes(done.masks)}]")
        arguments.append("masks")
    if done.dates:
        arguments.append(f"dates={list(done.dates)!r}")
    for name in ("criteria", "engine", "anatomy", "modelId", "brainModelId", "jacobian", "experts", "calibrateImage",
                 "contrasts"):  # fmt: skip
        if getattr(done, name):
            arguments.append(f"{name}={getattr(done, name)!r}")
    if done.further:
        lines.append(f"further = [{', '.join(f'[{_nodes(names)}]' for names in done.further)}]")
        arguments.append("furtherNodes=further")
    lines.append(f"nodes = LongitudinalCompareLogic().process({', '.join(arguments)})")
    return "\n".join(lines) + "\n"


def command_recipe(done: Done, command: str) -> str:
    """The command line that does the same without a window; ``command`` is how ``mriseg`` is started."""
    lines: list[str] = []
    if done.again:
        lines.append("# Diameters moved and links corrected by hand are in the scene only: the command knows neither.")
    scans = [_file(name, path, ".nrrd", lines) for name, path in zip(done.volumes, done.volumeFiles, strict=True)]
    words = [] if done.further else scans
    for n, names in enumerate(done.further):
        files = [_file(name, path, ".nrrd", lines) for name, path in zip(names, done.furtherFiles[n], strict=True)]
        named = zip(done.contrasts[n], [scans[n], *files], strict=True)
        words += ["--timepoint", *(f"{contrast}={file}" if contrast else file for contrast, file in named)]
    if done.further and done.contrasts[0][0]:
        words += ["--reference", done.contrasts[0][0]]
    words += ["--out", "compare-results"]
    if done.masks:
        files = zip(done.masks, done.maskFiles, strict=True)
        words += ["--masks", *(_file(name, path, ".seg.nrrd", lines) for name, path in files)]
    if done.dates:
        words += ["--dates", *done.dates]
    for option in ("criteria", "engine", "anatomy"):
        if getattr(done, option):
            words += [f"--{option}", getattr(done, option)]
    if done.modelId:
        words += ["--model", done.modelId]
    if done.brainModelId:
        words += ["--brain-model", done.brainModelId]
    if done.experts:
        words += ["--experts", ",".join(done.experts)]
    if done.calibrateImage:
        words.append("--calibrate")
    if done.jacobian:
        words.append("--jacobian")
    lines.append(f"{command} compare {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def _nodes(names: Sequence[str]) -> str:
    return ", ".join(f"slicer.util.getNode({name!r})" for name in names)


def _file(name: str, path: str | None, extension: str, lines: list[str]) -> str:
    if path is not None:
        return path
    path = "".join(c if c.isalnum() or c in "-_." else "_" for c in name) + extension
    lines.append(f"# First save the node {name!r} as {path}: no file on disk holds it as it is now.")
    return path
