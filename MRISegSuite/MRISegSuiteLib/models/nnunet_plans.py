"""What plans.json and dataset.json of an nnU-Net v2 model say (formats of nnU-Net 2.0 to 2.8)."""

from __future__ import annotations

from .card import InvalidCard

_RESAMPLING = "resample_data_or_seg_to_shape"
_SCHEMES = ("ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization")


class Plans:
    """One configuration of plans.json.

    Args:
        content: plans.json.
        configuration: for example ``3d_fullres``.

    Raises:
        InvalidCard: no such configuration, or a feature that is not supported (a cascade's second stage, another
            resampling or normalization).
    """

    def __init__(self, content: dict, configuration: str):
        try:
            self.configuration = _inherited(content["configurations"], configuration)
            self.transpose = [int(axis) for axis in content["transpose_forward"]]
            self.intensities = content.get("foreground_intensity_properties_per_channel", {})
            self.schemes = list(self.configuration["normalization_schemes"])
            self.masked = [bool(value) for value in self.configuration["use_mask_for_norm"]]
            #: In the transposed order, as nnU-Net keeps them; two entries for a 2D network.
            self.spacing = [float(value) for value in self.configuration["spacing"]]
            self.patch_size = [int(value) for value in self.configuration["patch_size"]]
            self.architecture = self.configuration.get("architecture") or _old_architecture(self.configuration)
            self.reader = str(content.get("image_reader_writer", ""))
        except (KeyError, TypeError, ValueError, AttributeError) as exception:
            raise InvalidCard(
                f"plans.json lacks or garbles {exception} of {configuration!r}.", "Check it."
            ) from exception
        if sorted(self.transpose) != [0, 1, 2]:
            raise InvalidCard(f"plans.json: transpose_forward {self.transpose} is no order of three axes.")
        if self.configuration.get("previous_stage"):
            raise InvalidCard(
                f"The configuration {configuration!r} is the second stage of a cascade, which is not supported.",
                "Use 3d_fullres, 3d_lowres or 2d.",
            )
        for scheme in self.schemes:
            if scheme not in _SCHEMES:
                raise InvalidCard(
                    f"plans.json: the normalization {scheme!r} is not known; known: {', '.join(_SCHEMES)}."
                )
        for step in ("data", "probabilities"):
            function = self.configuration.get(f"resampling_fn_{step}", _RESAMPLING)
            if function != _RESAMPLING:
                raise InvalidCard(
                    f"plans.json: the resampling {function!r} is not supported.", f"Only {_RESAMPLING} is."
                )

    @property
    def channel_count(self) -> int:
        return len(self.schemes)

    @property
    def patch_in_axes(self) -> list[int]:
        """The window in the order of the stored array (before nnU-Net's transposition)."""
        return self._in_axes([1] * (3 - len(self.patch_size)) + self.patch_size)

    @property
    def spacing_in_axes(self) -> list[float | None]:
        """The spacing in the order of the stored array; None where a 2D network keeps the image's own."""
        return self._in_axes([None] * (3 - len(self.spacing)) + self.spacing)

    def resampling(self, step: str) -> tuple[int, int, bool | None]:
        """``(order, order along thick slices, slices apart?)`` for ``data`` or ``probabilities``."""
        words = self.configuration.get(f"resampling_fn_{step}_kwargs", {})
        return (
            int(words.get("order", 3 if step == "data" else 1)),
            int(words.get("order_z", 0)),
            words.get("force_separate_z"),
        )

    def _in_axes(self, transposed: list) -> list:
        back = [0, 0, 0]
        for place, axis in enumerate(self.transpose):
            back[axis] = transposed[place]
        return back


def label_table(dataset: dict) -> tuple[str, list[dict]]:
    """``(activation, structures)`` as a card has them, from dataset.json.

    Labels that exclude each other have one channel each, in the order of their values, the background first. Regions
    (lists of labels) have a channel each but the background, written in ``regions_class_order``.
    """
    try:
        labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
        if any(isinstance(value, (list, tuple)) and len(value) > 1 for value in labels.values()):
            order = [int(value) for value in dataset["regions_class_order"]]
            names = [name for name, value in labels.items() if value not in (0, [0])]
            if len(names) != len(order):
                raise InvalidCard("dataset.json: regions_class_order has another length than the regions.")
            return "sigmoid", [
                {"name": name, "channel": channel, "value": order[channel]} for channel, name in enumerate(names)
            ]
        values = {name: int(value[0] if isinstance(value, (list, tuple)) else value) for name, value in labels.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as exception:
        raise InvalidCard(f"dataset.json lacks or garbles {exception}.", "Check it.") from exception
    if sorted(values.values()) != list(range(len(values))):
        raise InvalidCard("dataset.json: labels must be 0, 1, 2 ... without a gap.")
    table = [{"name": name, "channel": value, "value": value} for name, value in values.items()]
    return "softmax", sorted(table, key=lambda entry: entry["channel"])


def _inherited(configurations: dict, name: str, depth: int = 0) -> dict:
    if name not in configurations or depth > 10:
        raise InvalidCard(
            f"plans.json has no configuration {name!r}; it has {', '.join(configurations)}.",
            "Name one of them under backend_options.configuration in the card.",
        )
    own = dict(configurations[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_inherited(configurations, parent, depth + 1), **own}


def _old_architecture(configuration: dict) -> dict:
    """nnU-Net before 2.3 kept the parts of the architecture among the other settings."""
    kernels = configuration["conv_kernel_sizes"]
    dimensions = len(kernels[0])
    stages = len(kernels)
    features = [
        min(configuration["UNet_base_num_features"] * 2**stage, configuration["unet_max_num_features"])
        for stage in range(stages)
    ]
    name = configuration["UNet_class_name"]
    blocks = "n_blocks_per_stage" if name == "ResidualEncoderUNet" else "n_conv_per_stage"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": features,
            "conv_op": f"torch.nn.Conv{dimensions}d",
            "kernel_sizes": kernels,
            "strides": configuration["pool_op_kernel_sizes"],
            blocks: configuration["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
