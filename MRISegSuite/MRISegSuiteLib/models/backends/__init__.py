"""The kinds of model files, each loaded without running code from them.

Each module has ``load(files: VerifiedFiles) -> Network``: a callable that takes a float32 tensor (B, C, D, H, W) and
gives the logits (B, K, D, H, W), with ``to(device)`` and ``input_size``: the (B, C, D, H, W) it accepts, None where
free. They import torch inside functions: the GUI process may import this package, only the worker calls it.
"""

from __future__ import annotations

from importlib import import_module

from ..verified_files import VerifiedFiles


def load_network(files: VerifiedFiles):
    """The network of a model, on the CPU.

    Raises:
        UnsafeModel: it could only be loaded by running code from its files.
        InvalidCard, ModelMissing, ModelHashMismatch
    """
    return import_module(f"{__name__}.{files.card.backend}").load(files)
