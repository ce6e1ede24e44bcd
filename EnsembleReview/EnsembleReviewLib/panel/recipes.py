"""What the panel did, as a script for Slicer's console and as a command line. Pure text: no Slicer, no Qt."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Done:
    """One run of the panel.

    Attributes:
        volumes, masks: names of the nodes. volumeFiles, maskFiles: the files that hold the same, None where none does.
        experts: ids of models.
        fusion, device: as in the panel.
        large: ``sam3`` and ``medgemma`` as in EnsembleLogic.process, where they were asked.
    """

    volumes: Sequence[str]
    masks: Sequence[str]
    volumeFiles: Sequence[str | None]
    maskFiles: Sequence[str | None]
    experts: Sequence[str]
    fusion: str
    device: str
    large: Mapping = field(default_factory=dict)


def python_recipe(done: Done) -> str:
    """The script for Slicer's Python console."""
    lines = ["from EnsembleReview import EnsembleReviewLogic", ""]
    arguments = []
    for word, names, argument in (("volumes", done.volumes, "{}"), ("masks", done.masks, "maskNodes={}")):
        if names:
            nodes = ", ".join(f"slicer.util.getNode({name!r})" for name in names)
            lines.append(f"{word} = [{nodes}]")
            arguments.append(argument.format(word))
    arguments += [f"experts={list(done.experts)!r}", f"fusion={done.fusion!r}", f"device={done.device!r}"]
    arguments += [f"{name}={given!r}" for name, given in done.large.items()]
    lines.append(f"nodes = EnsembleReviewLogic().process({', '.join(arguments)})")
    return "\n".join(lines) + "\n"


def command_recipe(done: Done, command: str) -> str:
    """The command line that does the same without a window; ``command`` is how ``mriseg`` is started."""
    lines: list[str] = []
    words = [_file(name, path, ".nrrd", lines) for name, path in zip(done.volumes, done.volumeFiles, strict=True)]
    words += ["--out", "ensemble-results", "--fusion", done.fusion]
    if done.experts:
        words += ["--experts", ",".join(done.experts)]
    if done.masks:
        files = zip(done.masks, done.maskFiles, strict=True)
        words += ["--masks", *(_file(name, path, ".seg.nrrd", lines) for name, path in files)]
    sam3 = done.large.get("sam3", {})
    for name, given in done.large.items():
        words += [f"--{name}", given["checkpoint"]]
    for prompt in sam3.get("prompts", []):
        if prompt.get("text"):
            words += ["--prompt", f"{prompt['structure']}={prompt['text']}"]
        else:
            lines.append("# Boxes for SAM 3 cannot be given on the command line; a job file can hold them.")
    if done.device != "auto":
        words += ["--device", done.device]
    lines.append(f"{command} ensemble {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def _file(name: str, path: str | None, extension: str, lines: list[str]) -> str:
    if path is not None:
        return path
    path = "".join(c if c.isalnum() or c in "-_." else "_" for c in name) + extension
    lines.append(f"# First save the node {name!r} as {path}: no file on disk holds it as it is now.")
    return path
