"""Trained folders of nnU-Net v2: plans.json, dataset.json, fold_<n>/checkpoint_final.pth, without nnU-Net itself.

The network is built from the plans with dynamic-network-architectures (the package that nnU-Net uses, too), from a
list of allowed class names. Preprocessing follows nnU-Net 2.8: see :mod:`..nnunet_preprocessing`.
"""

from __future__ import annotations

import json

from ...errors import UnsafeModel
from ..card import Card, InvalidCard
from ..nnunet_plans import Plans, label_table
from ..verified_files import VerifiedFiles
from .state_dicts import load_weights, read_checkpoint

_ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")
_LAYERS = (
    "Conv2d", "Conv3d", "InstanceNorm2d", "InstanceNorm3d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "Dropout2d",
    "Dropout3d", "LeakyReLU", "ReLU", "PReLU", "GELU", "SiLU", "ELU",
)  # fmt: skip


def load(files: VerifiedFiles) -> NnunetNetwork:
    """The networks of a card's folds, averaged.

    Raises:
        UnsafeModel: a class that is not on the list, or a checkpoint that holds more than plain values.
        InvalidCard: the card contradicts plans.json or dataset.json, or a feature that is not supported.
    """
    card = files.card
    plans = read_plans(files)
    _compare(card, plans, json.loads(files.read("dataset.json")))
    networks = []
    for fold in card.options.get("folds", ["0"]):
        name = f"fold_{fold}/{card.options.get('checkpoint', 'checkpoint_final.pth')}"
        checkpoint = read_checkpoint(files.read(name), name)
        if not isinstance(checkpoint, dict) or "network_weights" not in checkpoint:
            raise UnsafeModel(f"{name} is no checkpoint of nnU-Net v2 (it has no network_weights).")
        network = build_network(plans, len(card.channels), len(card.structures))
        load_weights(network, checkpoint["network_weights"], name)
        networks.append(network.eval())
    return NnunetNetwork(networks, plans)


def read_plans(files: VerifiedFiles) -> Plans:
    """The plans of a card's configuration."""
    options = files.card.options
    return Plans(json.loads(files.read("plans.json")), options.get("configuration", "3d_fullres"))


class NnunetNetwork:
    """The mean of the folds' logits. Windows are (B, C, D, H, W) also for a 2D network (then D is 1)."""

    def __init__(self, networks: list, plans: Plans):
        self.networks, self.plans = networks, plans
        self.input_size = None

    def to(self, device) -> NnunetNetwork:
        for network in self.networks:
            network.to(device)
        return self

    def __call__(self, batch):
        flat = len(self.plans.patch_size) == 2
        total = None
        for network in self.networks:
            logits = network(batch.squeeze(2)).unsqueeze(2) if flat else network(batch)
            total = logits if total is None else total + logits
        return total / len(self.networks)

    def case(self, images, card, region, warn):
        """The image prepared as nnU-Net does it (instead of as the card says)."""
        from ..nnunet_preprocessing import NnunetCase

        return NnunetCase(images, card, self.plans, region)


def build_network(plans: Plans, channels: int, classes: int):
    """The network that the plans describe, with random weights.

    Raises:
        UnsafeModel: a class that is not on the list.
    """
    try:
        from dynamic_network_architectures.architectures import unet
    except ImportError as exception:
        raise InvalidCard(
            f"nnU-Net models need the package dynamic-network-architectures, which is not there ({exception}).",
            "Install it into the worker environment: pip install --no-deps dynamic-network-architectures einops.",
        ) from exception
    class_name = plans.architecture["network_class_name"].rsplit(".", 1)[-1]
    if class_name not in _ARCHITECTURES or plans.architecture["network_class_name"] not in (
        class_name, f"dynamic_network_architectures.architectures.unet.{class_name}"
    ):  # fmt: skip
        raise UnsafeModel(
            f"plans.json names the network {plans.architecture['network_class_name']!r}, which is not known here.",
            f"Known: {', '.join(_ARCHITECTURES)}.",
        )
    arguments = dict(plans.architecture["arch_kwargs"])
    for key in plans.architecture.get("_kw_requires_import", []):
        if arguments.get(key) is not None:
            arguments[key] = _layer(arguments[key])
    arguments.pop("deep_supervision", None)
    try:
        return getattr(unet, class_name)(
            input_channels=channels, num_classes=classes, deep_supervision=False, **arguments
        )
    except (TypeError, ValueError, AssertionError, KeyError) as exception:
        raise InvalidCard(f"plans.json does not describe a network: {exception}.", "Check plans.json.") from exception


def _layer(name: str):
    import torch

    short = str(name).rsplit(".", 1)[-1]
    if short not in _LAYERS or not str(name).startswith("torch.nn."):
        raise UnsafeModel(f"plans.json names {name!r}, which is no layer that is known here.")
    return getattr(torch.nn, short)


def _compare(card: Card, plans: Plans, dataset: dict) -> None:
    activation, structures = label_table(dataset)
    mine = sorted((entry["name"], int(entry["channel"]), int(entry["value"])) for entry in card.structures)
    theirs = sorted((entry["name"], entry["channel"], entry["value"]) for entry in structures)
    problems = []
    if card.activation != activation:
        problems.append(f"output.activation is {card.activation}, dataset.json makes it {activation}")
    if [entry[1:] for entry in sorted(mine, key=lambda e: e[1])] != [
        entry[1:] for entry in sorted(theirs, key=lambda e: e[1])
    ]:
        problems.append(f"output.structures has the channels and values {mine}, dataset.json {theirs}")
    if len(card.channels) != plans.channel_count:
        problems.append(f"input.channels has {len(card.channels)} entries, plans.json {plans.channel_count}")
    if list(card.patch) != plans.patch_in_axes:
        problems.append(f"inference.patch is {list(card.patch)}, plans.json has {plans.patch_in_axes}")
    spacing = plans.spacing_in_axes
    if any(b is not None and (not isinstance(a, (int, float)) or abs(a - b) > 1e-3 * b)
           for a, b in zip(card.spacing_mm, spacing)):  # fmt: skip
        problems.append(f"input.spacing_mm is {card.spacing_mm}, plans.json has {spacing}")
    if problems:
        raise InvalidCard(
            f"The card of {card.id} contradicts the files of nnU-Net: {'; '.join(problems)}.",
            "Correct the card (names may differ from those of dataset.json, numbers may not).",
        )
