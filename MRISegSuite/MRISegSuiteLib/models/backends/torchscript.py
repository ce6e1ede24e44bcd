"""TorchScript files (.ts, .pt).

What is safe about them: ``torch.jit.load`` runs no Python and unpickles in C++ only tensors, plain values and the
archive's own classes. What is not: the archive is a program, parts of which may run while it is loaded
(``__setstate__``), and ATen has operators that read and write files. So the source in the archive is searched before
it is loaded, with torch's own archive reader, and the graph once more afterwards. A program may still be slow or
wrong.
"""

from __future__ import annotations

import io
import re
import warnings

from ...errors import UnsafeModel
from ..card import InvalidCard
from ..verified_files import VerifiedFiles

# Serialized calls of operators read torch.<name>( for aten and ops.<namespace>.<name>( for any other namespace.
_FILE_OPERATORS = re.compile(r"\b(?:torch|ops\s*\.\s*aten)\s*\.\s*(from_file|save|load\w*|_from_file)\b")
_NAMESPACES = re.compile(r"\bops\s*\.\s*(\w+)\s*\.")
_FOREIGN_CLASSES = re.compile(r"\b__torch__\s*\.\s*torch\s*\.\s*classes\b")
_ALLOWED_NAMESPACES = {"aten", "prim"}
_FORBIDDEN_NODES = {"aten::from_file", "aten::save", "prim::PythonOp"}


def load(files: VerifiedFiles) -> ScriptedNetwork:
    """The program of a card's first file.

    Raises:
        UnsafeModel: it reads or writes files, or calls operators or classes from elsewhere.
        InvalidCard: no TorchScript file.
    """
    name = files.names[0]
    return read_scripted(files.read(name), name)


def read_scripted(content: bytes, name: str) -> ScriptedNetwork:
    """The program in the bytes of a TorchScript file called ``name`` (for messages). Raises as :func:`load`."""
    import torch

    try:
        reader = torch._C.PyTorchFileReader(io.BytesIO(content))
        records = reader.get_all_records()
        sources = [record for record in records if record.startswith("code/") and record.endswith(".py")]
        text = {record: reader.get_record(record).decode("utf-8", "replace") for record in sources}
    except RuntimeError as exception:
        raise InvalidCard(f"{name} is not a TorchScript file.", "Save it with torch.jit.save.") from exception
    if not sources or len(set(records)) != len(records):
        raise InvalidCard(f"{name} is not a TorchScript file: it holds no code.", "Save it with torch.jit.save.")
    for record, source in text.items():
        _refuse_file_access(source, f"{name} ({record})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except RuntimeError as exception:
        raise InvalidCard(
            f"{name} cannot be loaded as TorchScript: {str(exception).strip().splitlines()[0]}",
            "It may be damaged or need a newer torch.",
        ) from exception
    _refuse_nodes(module.inlined_graph, name)
    return ScriptedNetwork(module)


class ScriptedNetwork:
    """A TorchScript program. Call it with a tensor (B, C, D, H, W)."""

    input_size = None

    def __init__(self, module):
        self._module = module

    def to(self, device) -> ScriptedNetwork:
        self._module.to(device)
        return self

    def __call__(self, batch):
        return self._module(batch)


def _refuse_file_access(source: str, where: str) -> None:
    found = _FILE_OPERATORS.search(source)
    if found:
        raise UnsafeModel(f"{where} calls {found.group(0)}, which reads or writes files; it is not loaded.")
    foreign = set(_NAMESPACES.findall(source)) - _ALLOWED_NAMESPACES
    if foreign or _FOREIGN_CLASSES.search(source):
        raise UnsafeModel(
            f"{where} uses operators or classes from outside of torch ({', '.join(sorted(foreign)) or 'classes'}); "
            "it is not loaded."
        )


def _refuse_nodes(graph, name: str) -> None:
    for node in graph.nodes():
        kind = node.kind()
        if kind in _FORBIDDEN_NODES or kind.split("::")[0] not in _ALLOWED_NAMESPACES:
            raise UnsafeModel(f"{name} calls {kind}, which is not run here.")
        for block in node.blocks():
            _refuse_nodes(block, name)
