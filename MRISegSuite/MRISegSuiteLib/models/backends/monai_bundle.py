"""MONAI bundles: the network's definition from the configuration, the weights as a state dict; or models/model.ts.

A bundle's configuration is a program: ``$`` begins Python that MONAI evaluates, ``_target_`` may name any class.
Nothing of it is run here. Of the network's definition the class must be on a list and the arguments plain values
(``@`` may refer to other plain values). Pre- and postprocessing come from our card, which
:mod:`..bundle_transforms` helps to draft.
"""

from __future__ import annotations

import json

from ...errors import UnsafeModel
from ..card import InvalidCard
from ..verified_files import VerifiedFiles
from .state_dicts import load_weights, read_checkpoint
from .torchscript import read_scripted

_NETWORKS = (
    "UNet", "Unet", "BasicUNet", "BasicUnet", "Basicunet", "BasicUNetPlusPlus", "DynUNet", "DynUnet", "SegResNet",
    "SegResNetVAE", "SegResNetDS", "SegResNetDS2", "UNETR", "SwinUNETR", "AttentionUnet", "VNet", "HighResNet",
    "FlexibleUNet", "MedNeXt",
)  # fmt: skip
_WEIGHT_KEYS = ("state_dict", "model", "network", "net", "model_state_dict")


def load(files: VerifiedFiles):
    """The network of a bundle.

    Raises:
        UnsafeModel: the definition holds Python or an unknown class, or the weights are more than tensors.
        InvalidCard: files or entries are missing.
    """
    options = files.card.options
    weights = options.get("weights", files.names[0])
    content = files.read(weights)
    if weights.endswith(".ts"):
        return read_scripted(content, weights)
    configuration_file = options.get("config_file", "configs/inference.json")
    configuration = read_configuration(files.read(configuration_file), configuration_file)
    network = build_network(configuration, options.get("network", "network_def"), configuration_file)
    state = read_checkpoint(content, weights)
    for key in _WEIGHT_KEYS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    load_weights(network, state, weights)
    return BundleNetwork(network.eval())


class BundleNetwork:
    """A network of MONAI. Call it with a tensor (B, C, D, H, W)."""

    input_size = None

    def __init__(self, network):
        self._network = network

    def to(self, device) -> BundleNetwork:
        self._network.to(device)
        return self

    def __call__(self, batch):
        result = self._network(batch)
        # With deep supervision DynUNet stacks its outputs, the full resolution first.
        return result[:, 0] if hasattr(result, "ndim") and result.ndim == batch.ndim + 1 else result


def read_configuration(content: bytes, name: str) -> dict:
    """A configuration as plain values; expressions in it stay text."""
    try:
        if name.endswith((".yaml", ".yml")):
            import yaml

            configuration = yaml.safe_load(content)
        else:
            configuration = json.loads(content)
    except ImportError as exception:
        raise InvalidCard(f"{name} is YAML, and PyYAML is not installed.", "Convert it to JSON.") from exception
    except Exception as exception:  # PyYAML's errors have no common base with json's
        raise InvalidCard(f"{name} cannot be read: {exception}.", "Check the file.") from exception
    if not isinstance(configuration, dict):
        raise InvalidCard(f"{name} is no configuration of a MONAI bundle.")
    return configuration


def build_network(configuration: dict, key: str, name: str):
    """The network of the entry ``key`` (parts separated by ``#`` or ``::``), with random weights.

    Raises:
        UnsafeModel, InvalidCard
    """
    definition = look_up(configuration, key, name)
    if not isinstance(definition, dict) or "_target_" not in definition:
        raise InvalidCard(
            f"{name} has no network under {key!r} (an object with _target_).",
            "Name the right key under backend_options.network in the card.",
        )
    target = definition["_target_"]
    short = str(target).rsplit(".", 1)[-1]
    if short not in _NETWORKS or not (target == short or str(target).startswith("monai.networks.nets.")):
        raise UnsafeModel(
            f"{name} names the network {target!r}, which is not on the list.", f"Allowed: {', '.join(_NETWORKS)}."
        )
    arguments = {
        word: plain_value(value, configuration, f"{name}: {key}.{word}")
        for word, value in definition.items()
        if word not in ("_target_", "_desc_", "_disabled_", "_requires_", "_mode_")
    }
    if arguments.get("pretrained"):
        raise UnsafeModel(f"{name}: 'pretrained' would download weights.", "Set it to false; the bundle has its own.")
    import monai.networks.nets as nets

    try:
        return getattr(nets, short)(**arguments)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, ImportError) as exception:
        raise InvalidCard(f"{name}: {short} cannot be built: {exception}", "Check its arguments.") from exception


def plain_value(value, configuration: dict, where: str, depth: int = 0):
    """``value`` with references replaced by the plain values they name.

    Raises:
        UnsafeModel: an expression, a class, or a reference to one.
    """
    if depth > 20:
        raise InvalidCard(f"{where}: references go round in a circle.")
    if isinstance(value, dict):
        if "_target_" in value:
            raise UnsafeModel(f"{where} builds {value['_target_']!r}; only plain values are read here.")
        return {word: plain_value(one, configuration, where, depth + 1) for word, one in value.items()}
    if isinstance(value, list):
        return [plain_value(one, configuration, where, depth + 1) for one in value]
    if isinstance(value, str):
        if value.startswith("$") or value.startswith("%"):
            raise UnsafeModel(
                f"{where} is an expression or a macro ({value[:60]!r}), which is not evaluated here.",
                "Write the value itself into the configuration.",
            )
        if value.startswith("@"):
            return plain_value(look_up(configuration, value[1:], where), configuration, where, depth + 1)
    return value


def look_up(configuration: dict, key: str, where: str):
    """The entry of a configuration under a key such as ``network_def`` or ``a#b#0``."""
    value = configuration
    for part in key.replace("::", "#").split("#"):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise InvalidCard(f"{where}: there is no entry {key!r}.", "Check the configuration.") from None
    return value
