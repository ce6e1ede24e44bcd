"""Drafts of model cards, from what nnU-Net and MONAI keep beside their weights.

``python -m MRISegSuiteLib.models.drafts PATH`` prints one. What the files do not say is marked ``TO FILL``; a card
with such a mark is not valid, so nobody runs a model on a guess.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..errors import BadInput, SuiteError
from .card import CARD_NAME, TO_FILL, InvalidCard
from .nnunet_plans import Plans, label_table

_SCHEMES = {
    "ZScoreNormalization": "zscore", "CTNormalization": "ct", "NoNormalization": "none",
    "RescaleTo01Normalization": "minmax",
}  # fmt: skip
# nnU-Net's readers that reorient: to RAS, as an array with the axes S, A, R.
_READER_AXES = {"SimpleITKIOWithReorient": "SAR", "NibabelIOWithReorient": "SAR"}


class CardMissing(BadInput):
    """A model without a card."""

    code = "model_card_missing"


def explain_missing_card(path: Path) -> CardMissing:
    """The error for a model without a card: what to write, and where."""
    where = path / CARD_NAME if path.is_dir() else path.with_suffix(".json")
    try:
        draft = draft_card(path)
    except SuiteError as error:
        return CardMissing(f"{path} has no model card ({where}), and none can be drafted: {error}")
    return CardMissing(
        f"{path} has no model card: {where} is missing.",
        f"Write it as card.schema.json describes. A draft ({draft['backend']}) comes from "
        f"'python -m MRISegSuiteLib.models.drafts \"{path}\"'; in it you have to fill in: "
        f"{', '.join(_places_to_fill(draft))}.",
    )


def draft_card(path: Path | str) -> dict:
    """A card with what can be read from a model's files; the rest is ``TO FILL``.

    Args:
        path: an nnU-Net v2 trained folder, a MONAI bundle, or a .pt2, .ts or .pt file.

    Raises:
        InvalidCard: nothing that is known, or it uses what is not supported.
    """
    path = Path(path)
    if path.is_file():
        return _draft_of_file(path)
    if (path / "plans.json").is_file() and (path / "dataset.json").is_file():
        return _draft_of_nnunet(path)
    if (path / "configs").is_dir():
        return _draft_of_bundle(path)
    if len(list(path.glob("*.pth"))) == 1:
        return _draft_of_shape(path)
    raise InvalidCard(
        f"{path} is neither a trained folder of nnU-Net v2 (plans.json, dataset.json), nor a MONAI bundle (configs), "
        "nor a folder with one shape model (.pth).",
        "Give the folder that holds these files.",
    )


def _frame(path: Path, backend: str) -> dict:
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem.lower()).strip("._-")
    return {
        "schema_version": 1,
        "id": name[:60] or "model",
        "version": "1.0.0",
        "title": path.stem,
        "task": f"{TO_FILL}: the task, for example knee",
        "backend": backend,
        "files": [],
        "input": {
            "channels": [],
            "axes": f"{TO_FILL}: three letters, for example LIP",
            "spacing_mm": [None, None, None],
            "crop": "none",
        },
        "output": {"activation": "softmax", "structures": []},
        "inference": {"patch": [1, 1, 1], "overlap": [0.5, 0.5, 0.5], "blending": "gaussian"},
        "license": f"{TO_FILL}: the license of the weights",
        "terms": f"{TO_FILL}: what a user may do with it, terms of the training data included",
        "training": {"data": [], "procedure": f"{TO_FILL}: how it was trained"},
        "performance": [],
        "seen_on_real_scans": f"{TO_FILL}: what was seen, or that nothing was",
        "known_failures": [],
        "intended_use": f"{TO_FILL}: what it is for",
        "medical_device": False,
    }


def _draft_of_file(path: Path) -> dict:
    from .verified_files import file_entry

    draft = _frame(path, "torch_export" if path.suffix == ".pt2" else "torchscript")
    draft["files"] = [file_entry(path, path.name)]
    draft["input"]["channels"] = [_channel("image", {"kind": f"{TO_FILL}: how intensities are scaled"})]
    draft["input"]["spacing_mm"] = [f"{TO_FILL}: mm, or null for the image's own"] * 3
    draft["output"]["structures"] = [
        {"name": "background", "channel": 0, "value": 0},
        {"name": f"{TO_FILL}: the structures in the order of the channels", "channel": 1, "value": 1},
    ]
    draft["inference"]["patch"] = [f"{TO_FILL}: window in voxels"] * 3
    return draft


def _draft_of_nnunet(path: Path) -> dict:
    from .verified_files import file_entry

    plans_content, dataset = _json(path / "plans.json"), _json(path / "dataset.json")
    configuration = path.name.rsplit("__", 1)[-1] if "__" in path.name else "3d_fullres"
    plans = Plans(plans_content, configuration)
    folds = sorted(
        fold.name.removeprefix("fold_") for fold in path.glob("fold_*") if (fold / "checkpoint_final.pth").is_file()
    )
    if not folds:
        raise InvalidCard(f"{path} has no fold_<n>/checkpoint_final.pth.", "Give the trained folder.")
    draft = _frame(path, "nnunet_v2")
    draft["backend_options"] = {"configuration": configuration, "folds": folds, "checkpoint": "checkpoint_final.pth"}
    names = [f"fold_{fold}/checkpoint_final.pth" for fold in folds] + ["plans.json", "dataset.json"]
    draft["files"] = [file_entry(path / name, name) for name in names]
    channel_names = dataset.get("channel_names") or dataset.get("modality") or {}
    for index, (scheme, masked) in enumerate(zip(plans.schemes, plans.masked)):
        rule: dict = {"kind": _SCHEMES[scheme]}
        if rule["kind"] == "zscore":
            rule["over"] = "nonzero" if masked else "all"
        if rule["kind"] == "ct":
            known = plans.intensities[str(index)]
            rule.update(
                low=known["percentile_00_5"], high=known["percentile_99_5"], mean=known["mean"], sd=known["std"]
            )
        name = str(channel_names.get(str(index), f"channel {index}"))
        draft["input"]["channels"].append(_channel(name, rule, "CT" if rule["kind"] == "ct" else "MR"))
    if plans.reader in _READER_AXES:
        draft["input"]["axes"] = _READER_AXES[plans.reader]
    else:
        draft["input"]["axes"] = (
            f"{TO_FILL}: nnU-Net takes arrays as they are stored; write how the training images were stored (slices, "
            "rows, columns), for example LIP for sagittal slices, or 'stored'"
        )
    draft["input"]["spacing_mm"] = plans.spacing_in_axes
    draft["inference"]["patch"] = plans.patch_in_axes
    activation, structures = label_table(dataset)
    draft["output"] = {"activation": activation, "structures": structures}
    return draft


def _draft_of_shape(path: Path) -> dict:
    """A published shape model: a checkpoint, and maybe the BScore's vectors in its latent space beside it."""
    from .verified_files import file_entry

    draft = _frame(path, "published_shape")
    for name in ("input", "output", "inference"):
        del draft[name]
    weights = next(path.glob("*.pth"))
    vectors = [p for p in sorted(path.glob("*.json")) if p.name != CARD_NAME and "bscore_vector" in _json(p)]
    draft["task"] = "bone_shape"
    draft["files"] = [file_entry(p, p.name) for p in (weights, *vectors[:1])]
    draft["backend_options"] = {
        "bone": f"{TO_FILL}: femur, tibia or patella",
        "population": f"{TO_FILL}: whose bones it was trained on",
    }
    if vectors:
        draft["backend_options"]["bscore"] = vectors[0].name
    return draft


def _draft_of_bundle(path: Path) -> dict:
    from .backends.monai_bundle import read_configuration
    from .bundle_transforms import card_entries
    from .verified_files import file_entry

    draft = _frame(path, "monai_bundle")
    metadata = _json(path / "configs" / "metadata.json") if (path / "configs" / "metadata.json").is_file() else {}
    weights = next((w for w in ("models/model.pt", "models/model.ts") if (path / w).is_file()), None)
    if weights is None:
        raise InvalidCard(f"{path} has neither models/model.pt nor models/model.ts.", "Add the weights.")
    config = next((c for c in ("configs/inference.json", "configs/inference.yaml") if (path / c).is_file()), None)
    draft["files"] = [file_entry(path / weights, weights)]
    draft["backend_options"] = {"weights": weights}
    entries: dict = {}
    if config is not None:
        draft["files"].append(file_entry(path / config, config))
        configuration = read_configuration((path / config).read_bytes(), config)
        draft["backend_options"].update(
            config_file=config, network="network_def" if "network_def" in configuration else "network"
        )
        entries = card_entries(configuration, config)
    draft["version"] = str(metadata.get("version", "1.0.0"))
    draft["title"] = str(metadata.get("name") or path.name)
    draft["description"] = str(metadata.get("description", ""))
    draft["intended_use"] = str(metadata.get("intended_use") or draft["intended_use"])
    network = metadata.get("network_data_format", {})
    inputs = next(iter(network.get("inputs", {}).values()), {})
    outputs = next(iter(network.get("outputs", {}).values()), {})
    rule = entries.get("normalization", {"kind": f"{TO_FILL}: how intensities are scaled"})
    modality = {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT"}.get(str(inputs.get("modality", "")).upper(), "MR")
    names = inputs.get("channel_def") or {"0": "image"}
    draft["input"]["channels"] = [_channel(str(name), rule, modality) for name in names.values()]
    draft["input"]["axes"] = entries.get("axes", draft["input"]["axes"])
    draft["input"]["spacing_mm"] = entries.get("spacing_mm", [f"{TO_FILL}: mm, or null for the image's own"] * 3)
    shape = inputs.get("spatial_shape")
    patch = entries.get("patch") or (shape if shape and all(isinstance(size, int) for size in shape) else None)
    draft["inference"] = {
        "patch": patch or [f"{TO_FILL}: window in voxels"] * 3,
        "overlap": entries.get("overlap", [0.25] * 3),
        "blending": entries.get("blending", "constant"),
    }
    draft["output"]["activation"] = entries.get("activation", "softmax")
    draft["output"]["structures"] = [
        {
            "name": str(name),
            "channel": int(channel),
            "value": int(channel) + (draft["output"]["activation"] == "sigmoid"),
        }
        for channel, name in (outputs.get("channel_def") or {}).items()
    ] or [{"name": f"{TO_FILL}: the structures in the order of the channels", "channel": 1, "value": 1}]
    return draft


def _channel(name: str, rule: dict, modality: str = "MR") -> dict:
    return {"name": name, "modality": modality, "normalization": rule}


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exception:
        raise InvalidCard(f"{path} cannot be read: {exception}.", "Check the file.") from exception
    if not isinstance(content, dict):
        raise InvalidCard(f"{path} is no JSON object.", "Check the file.")
    return content


def _places_to_fill(value, place: str = "") -> list[str]:
    if isinstance(value, dict):
        return [
            found for name, item in value.items() for found in _places_to_fill(item, f"{place}.{name}".lstrip("."))
        ]
    if isinstance(value, list):
        found = [one for item in value for one in _places_to_fill(item, place)]
        return list(dict.fromkeys(found))
    return [place] if isinstance(value, str) and value.startswith(TO_FILL) else []


if __name__ == "__main__":
    try:
        print(json.dumps(draft_card(sys.argv[1]), indent=2, ensure_ascii=False))
    except SuiteError as error:
        sys.exit(str(error))
