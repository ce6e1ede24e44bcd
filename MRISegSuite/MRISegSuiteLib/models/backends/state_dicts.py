"""Reading weights that torch saved as a pickle, without ever executing one."""

from __future__ import annotations

import io

from ...errors import UnsafeModel


class _Discarded:
    """Stands for a value that is not needed: numpy's numbers in the training log that a checkpoint carries along."""

    def __new__(cls, *arguments, **keywords):
        return object.__new__(cls)

    def __init__(self, *arguments, **keywords):
        pass

    def __setstate__(self, state):
        pass


# torch's restricted unpickler refuses numpy's numbers. They are let through as nothing: these names call the class
# above instead of numpy, so no more is trusted than without them.
_NUMPY_NAMES = ["numpy.dtype", "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"] + [
    f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")
]


def read_checkpoint(content: bytes, name: str):
    """What ``torch.save`` wrote, as far as it is tensors and plain values; on the CPU.

    Only torch's restricted unpickler is used (``weights_only=True``); there is no other way in.

    Raises:
        UnsafeModel: it holds anything else, or cannot be read.
    """
    import torch

    # One class for each name: torch tells them apart by the object.
    stand_ins = [(type(f"_Discarded{index}", (_Discarded,), {}), full) for index, full in enumerate(_NUMPY_NAMES)]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as exception:
        reason = str(exception).strip().splitlines()[0] if str(exception).strip() else type(exception).__name__
        raise UnsafeModel(
            f"{name} cannot be read as plain weights: {reason}",
            "It holds more than tensors, or is damaged. Save the network's state_dict() alone and add that.",
        ) from exception


def load_weights(network, weights, name: str) -> None:
    """Put a state dict into a network, all of it.

    Raises:
        UnsafeModel: it is no state dict, or not of this network.
    """
    import torch

    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UnsafeModel(f"{name} holds no state dict (names and tensors).", "Save the network's state_dict().")
    # What torch.compile and parallel training put before the names.
    clean = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()}
    try:
        network.load_state_dict(clean, strict=True)
    except RuntimeError as exception:
        raise UnsafeModel(
            f"The weights in {name} are not those of the network that the model describes: "
            f"{' '.join(str(exception).split())[:300]}",
            "Use the checkpoint that was trained with this description.",
        ) from exception
