"""Networks saved by ``torch.export.save`` (.pt2), read and run without unpickling or evaluating anything.

``torch.export.load`` is not used, because on a foreign file it runs code (read in torch 2.13, ``_export/serde`` and
``export/pt2_archive``): sample inputs are always loaded and fall back to ``torch.load(weights_only=False)``; constants
may be pickles; shape expressions go through ``sympy.sympify``, which is ``eval``; guards through ``exec``; node names
into generated Python code; and an operator may be any attribute below ``torch``, ``torch.os.system`` included.

None of that is needed to run a network. The archive is a .zip with the graph as JSON and the weights as raw bytes.
Here the graph is run node by node; a node may call an operator of ATen on tensors and numbers, or arithmetic on sizes,
and nothing else. This also starts in milliseconds and does not depend on the version of torch that reads.
"""

from __future__ import annotations

import io
import json
import math
import operator
import zipfile

from ...errors import UnsafeModel
from ..card import InvalidCard
from ..verified_files import VerifiedFiles

_SCHEMA_MAJOR = 8
_MAX_NODES = 100_000
_HINT = "Export it again with torch.export.export and torch.export.save of torch 2.8 or later, from a plain network."

# Numbers of torch's serialized schema (torch/_export/serde/schema.py, version 8).
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    12: "bool", 13: "bfloat16",
}  # fmt: skip
_MEMORY_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}

# Arithmetic on sizes of tensors.
_SIZE_FUNCTIONS = {
    "_operator.add": operator.add, "_operator.sub": operator.sub, "_operator.mul": operator.mul,
    "_operator.floordiv": operator.floordiv, "_operator.truediv": operator.truediv, "_operator.mod": operator.mod,
    "_operator.neg": operator.neg, "_operator.eq": operator.eq, "_operator.ne": operator.ne,
    "_operator.lt": operator.lt, "_operator.le": operator.le, "_operator.gt": operator.gt, "_operator.ge": operator.ge,
    "_operator.and_": operator.and_, "_operator.or_": operator.or_, "_operator.not_": operator.not_,
    "math.trunc": math.trunc, "math.ceil": math.ceil, "math.floor": math.floor,
    "torch.sym_int": int, "torch.sym_float": float, "torch.sym_max": max, "torch.sym_min": min,
    "torch.sym_not": operator.not_,
}  # fmt: skip

# Operators whose text argument is a mode. Any other operator that takes a text is refused: it may name a file
# (aten::from_file, aten::save).
_TEXT_OPERATORS = {
    "gelu", "gelu_", "div", "div_", "einsum", "conv1d", "conv2d", "conv3d", "_assert_scalar", "_assert_async", "pad",
    "meshgrid",
}  # fmt: skip
_PLAIN_TYPES = {"Tensor", "Scalar", "int", "SymInt", "float", "bool", "number", "ScalarType", "Layout", "Device",
                "MemoryFormat", "dtype", "List", "Optional", "Generator", "NoneType"}  # fmt: skip


def load(files: VerifiedFiles) -> ExportedNetwork:
    """The network of a card's first file.

    Raises:
        UnsafeModel: it could only be loaded by running code from it.
        InvalidCard: not an exported network, or one that uses something unknown.
    """
    name = files.names[0]
    return read_exported(files.read(name), name)


def read_exported(content: bytes, name: str) -> ExportedNetwork:
    """The network in the bytes of a .pt2 file called ``name`` (for messages). Raises as :func:`load`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = _Records(archive, name)
            program = records.json("models/model.json")
            weights = _tensors(records, "data/weights/", "model_weights_config.json")
            constants = _tensors(records, "data/constants/", "model_constants_config.json")
        return ExportedNetwork(program, weights | constants, name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as exception:
        raise InvalidCard(f"{name} is not a torch export (.pt2): {exception}.", _HINT) from exception
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exception:
        raise InvalidCard(f"{name} is not a torch export that can be read here: {exception!r}.", _HINT) from exception


class ExportedNetwork:
    """A network as the nodes of its graph. Call it with a tensor (B, C, D, H, W)."""

    def __init__(self, program: dict, tensors: dict, name: str):
        major = program["schema_version"]["major"]
        if major != _SCHEMA_MAJOR:
            raise InvalidCard(f"{name} was written in version {major} of torch's format, not {_SCHEMA_MAJOR}.", _HINT)
        graph, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
        if len(graph["nodes"]) > _MAX_NODES:
            raise InvalidCard(f"{name} has {len(graph['nodes'])} operations; at most {_MAX_NODES} are taken.")
        self.device = "cpu"
        self._fixed: dict = {}
        self._input = None
        self._bind_inputs(signature["input_specs"], tensors, name)
        self._steps = [_step(node, name) for node in graph["nodes"]]
        self._output = _user_output(signature["output_specs"], name)
        self._forget_after = self._last_uses()
        self.input_size = tuple(size.get("as_int") for size in graph["tensor_values"][self._input]["sizes"])

    def to(self, device) -> ExportedNetwork:
        """Move the weights."""
        self._fixed = {
            name: value.to(device) if hasattr(value, "to") else value for name, value in self._fixed.items()
        }
        self.device = device
        return self

    def __call__(self, batch):
        import torch

        values = dict(self._fixed)
        values[self._input] = batch
        with torch.inference_mode():
            for index, (function, arguments, keywords, outputs) in enumerate(self._steps):
                result = function(
                    *[_value(argument, values, self.device) for argument in arguments],
                    **{key: _value(argument, values, self.device) for key, argument in keywords.items()},
                )
                _assign(outputs, result, values)
                for gone in self._forget_after[index]:
                    del values[gone]
        return values[self._output]

    def _bind_inputs(self, specifications, tensors, name):
        for specification in specifications:
            ((kind, entry),) = specification.items()
            if kind == "user_input":
                if self._input is not None or "as_tensor" not in entry["arg"]:
                    raise InvalidCard(f"{name} takes something else than one tensor.", _HINT)
                self._input = entry["arg"]["as_tensor"]["name"]
            elif kind in ("parameter", "buffer", "tensor_constant"):
                self._fixed[entry["arg"]["name"]] = tensors[
                    entry[f"{kind}_name" if kind != "buffer" else "buffer_name"]
                ]
            else:
                raise UnsafeModel(f"{name} holds an object ({kind}) that only unpickling could load.", _HINT)
        if self._input is None:
            raise InvalidCard(f"{name} takes no tensor.", _HINT)

    def _last_uses(self):
        last = {}
        for index, (_, arguments, keywords, outputs) in enumerate(self._steps):
            for name in _names([*arguments, *keywords.values(), *outputs]):
                last[name] = index
        kept = {*self._fixed, self._output}
        forget = [[] for _ in self._steps]
        for name, index in last.items():
            if name not in kept:
                forget[index].append(name)
        return forget


class _Records:
    """The entries of a .pt2 archive, without the name of its root folder."""

    def __init__(self, archive, name):
        self._archive, self._name = archive, name
        names = archive.namelist()
        roots = {entry.split("/", 1)[0] for entry in names}
        if len(roots) != 1 or len(set(names)) != len(names):
            raise InvalidCard(f"{name} is not laid out as torch.export.save does it.", _HINT)
        self._root = roots.pop()
        inside = {entry.removeprefix(self._root + "/") for entry in names}
        if any(entry.startswith("data/aotinductor/") for entry in inside):
            raise UnsafeModel(f"{name} holds compiled code (AOTInductor), which is not run here.", _HINT)
        if "data/weights/model.pt" in inside or "data/constants/model.pt" in inside:
            raise UnsafeModel(f"{name} keeps its weights as a pickle, as older versions of torch wrote them.", _HINT)
        if "models/model.json" not in inside:
            raise InvalidCard(f"{name} holds no exported program called 'model'.", _HINT)
        if "byteorder" in inside and self.bytes("byteorder").strip() != b"little":
            raise InvalidCard(f"{name} was written on a big-endian computer.", _HINT)

    def bytes(self, record: str) -> bytes:
        return self._archive.read(f"{self._root}/{record}")

    def json(self, record: str):
        return json.loads(self.bytes(record))


def _tensors(records: _Records, folder: str, configuration: str) -> dict:
    """The weights or constants: raw bytes, with type, sizes and strides in a JSON file."""
    import torch

    storages, tensors = {}, {}
    for name, entry in records.json(folder + configuration)["config"].items():
        if entry["use_pickle"] or entry["tensor_meta"] is None:
            raise UnsafeModel(f"{records._name} keeps {name} as a pickle, which is not loaded here.", _HINT)
        meta = entry["tensor_meta"]
        dtype = getattr(torch, _DTYPES[meta["dtype"]])
        path = entry["path_name"]
        if path not in storages:
            content = records.bytes(folder + path)
            storages[path] = (
                torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
        sizes = [size["as_int"] for size in meta["sizes"]]
        strides = [stride["as_int"] for stride in meta["strides"]]
        try:
            tensors[name] = storages[path].view(dtype).as_strided(sizes, strides, meta["storage_offset"]["as_int"])
        except RuntimeError as exception:
            raise InvalidCard(f"{records._name}: the sizes of {name} do not fit its bytes.", _HINT) from exception
    return tensors


def _step(node: dict, name: str):
    """``(function, arguments, keywords, outputs)`` of a node; values are still JSON."""
    target = node["target"]
    if target in _SIZE_FUNCTIONS:
        function = _SIZE_FUNCTIONS[target]
        arguments, keywords = [entry["arg"] for entry in node["inputs"]], {}
    else:
        function = _operator(target, name)
        arguments, keywords = _arrange(function, {entry["name"]: entry["arg"] for entry in node["inputs"]})
    return function, arguments, keywords, node["outputs"]


def _operator(target: str, name: str):
    import torch

    parts = target.split(".")
    if len(parts) != 5 or parts[:3] != ["torch", "ops", "aten"]:
        raise UnsafeModel(f"{name} calls {target}, which is no operator on tensors; it is not run here.", _HINT)
    packet, overload = parts[3], parts[4]
    try:
        function = getattr(getattr(torch.ops.aten, packet), overload)
        schema = function._schema
    except AttributeError as exception:
        raise InvalidCard(f"{name} calls {target}, which torch {torch.__version__} does not have.",
                          "Use a newer torch, or export the network again.") from exception  # fmt: skip
    for argument in schema.arguments:
        words = _type_words(str(argument.type))
        if "str" in words and packet in _TEXT_OPERATORS:
            words.discard("str")
        if words - _PLAIN_TYPES:
            raise UnsafeModel(
                f"{name} calls {target}, which takes more than tensors and numbers; it is not run here.", _HINT
            )
    return function


def _type_words(text: str) -> set[str]:
    return {word for word in "".join(c if c.isalnum() or c == "_" else " " for c in text).split() if word}


def _arrange(function, given: dict):
    arguments, keywords, in_order = [], {}, True
    for argument in function._schema.arguments:
        if argument.name not in given:
            in_order = False
        elif in_order and not argument.kwarg_only:
            arguments.append(given.pop(argument.name))
        else:
            keywords[argument.name] = given.pop(argument.name)
    if given:
        raise InvalidCard(f"{function} does not take {sorted(given)}.", _HINT)
    return arguments, keywords


def _value(argument: dict, values: dict, device):
    """The value of an argument in torch's JSON: a one-entry object that names its kind."""
    import torch

    ((kind, content),) = argument.items()
    if kind == "as_tensor":
        return values[content["name"]]
    if kind in ("as_tensors",):
        return [values[entry["name"]] for entry in content]
    if kind in ("as_int", "as_float", "as_bool", "as_ints", "as_floats", "as_bools", "as_string"):
        return content
    if kind == "as_none":
        return None
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _number(content, values)
    if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return [_number(entry, values) for entry in content]
    if kind == "as_optional_tensor":
        return _value(content, values, device)
    if kind == "as_optional_tensors":
        return [_value(entry, values, device) for entry in content]
    if kind == "as_scalar_type":
        return getattr(torch, _DTYPES[content])
    if kind == "as_memory_format":
        return getattr(torch, _MEMORY_FORMATS[content])
    if kind == "as_layout":
        return torch.strided
    if kind == "as_device":
        # The graph names the device it was exported on; it runs on the one chosen now.
        return torch.device(device)
    raise InvalidCard(f"The exported network uses an argument of kind {kind}, which is not known here.", _HINT)


def _number(entry: dict, values: dict):
    ((kind, content),) = entry.items()
    return values[content] if kind == "as_name" else content


def _assign(outputs: list, result, values: dict) -> None:
    if len(outputs) == 1:
        _assign_one(outputs[0], result, values)
        return
    for output, one in zip(outputs, result):
        _assign_one(output, one, values)


def _assign_one(output: dict, result, values: dict) -> None:
    ((kind, content),) = output.items()
    if kind == "as_tensors":
        for entry, one in zip(content, result):
            values[entry["name"]] = one
    elif kind != "as_none":
        (name,) = _names([output])
        values[name] = result


def _names(arguments: list) -> list[str]:
    """The names of values that arguments refer to."""
    found = []
    for argument in arguments:
        ((kind, content),) = argument.items()
        if kind == "as_tensor":
            found.append(content["name"])
        elif kind == "as_tensors":
            found += [entry["name"] for entry in content]
        elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            found += [content["as_name"]] if "as_name" in content else []
        elif kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            found += [entry["as_name"] for entry in content if "as_name" in entry]
        elif kind == "as_optional_tensor":
            found += _names([content])
        elif kind == "as_optional_tensors":
            found += _names(content)
    return found


def _user_output(specifications: list, name: str) -> str:
    for specification in specifications:
        if "user_output" in specification and "as_tensor" in specification["user_output"]["arg"]:
            return specification["user_output"]["arg"]["as_tensor"]["name"]
    raise InvalidCard(f"{name} gives no tensor.", _HINT)
