"""Save a trained network as a torch export (.pt2) that can be shipped: for training scripts."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ..files import replace
from .backends.torch_export import read_exported


def write_torch_export(network, example, path: Path | str, free_axes: Iterable[int] = (0,)) -> None:
    """Export ``network`` to ``path`` and prove that what was written gives the same answer.

    ``torch.export.save`` writes the call stack of every operation, with the paths of the computer it ran on, and the
    whole example; neither is needed to run the network, and both are left out here. ``torch.export.load`` still reads
    the file.

    Args:
        network: a module in evaluation mode: (B, C, D, H, W) -> logits (B, K, D, H, W).
        example: float32 tensor (B, C, D, H, W), at least 2 long along each free axis.
        path: the .pt2 file.
        free_axes: axes of the example whose size may differ later (0 is the batch).

    Raises:
        AssertionError: the written file computes something else.
    """
    import torch

    path, free_axes = Path(path), list(free_axes)
    shapes = {axis: torch.export.Dim.AUTO for axis in free_axes}
    with torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=(shapes,))
    saved = io.BytesIO()
    torch.export.save(program, saved)
    content = _without_private_parts(saved.getvalue(), example)
    again = read_exported(content, path.name)
    with torch.no_grad():
        difference = (again(example) - network(example)).abs().max().item()
    assert difference == 0, f"{path} gives another answer than the network (by {difference})"
    fixed = [axis for axis in free_axes if again.input_size[axis] is not None]
    assert not fixed, f"the network does not allow other sizes along axes {fixed}"
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_bytes(content)
    replace(aside, path)


def _without_private_parts(content: bytes, example) -> bytes:
    import torch

    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("models/model.json"):
                program = json.loads(data)
                for node in program["graph_module"]["graph"]["nodes"]:
                    node["metadata"] = {}
                data = json.dumps(program).encode()
            elif entry.filename.endswith("data/sample_inputs/model.pt"):
                # One stored number that stands for the whole example.
                sample = io.BytesIO()
                torch.save(((torch.zeros(1).expand(example.shape),), {}), sample)
                data = sample.getvalue()
            # A fixed date: the same network gives the same file.
            target.writestr(zipfile.ZipInfo(entry.filename, (2000, 1, 1, 0, 0, 0)), data)
    return written.getvalue()
