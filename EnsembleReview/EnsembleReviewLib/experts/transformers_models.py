"""Loading checkpoints for transformers: from a local folder only, as data only.

transformers is not part of the worker environment but of one beside it (MRISegSuiteLib.environment.large_models).
Without it, or without a checkpoint, the expert abstains. Pictures are prepared here, with the numbers of the
checkpoint's own files: the processors of transformers need torchvision, whose builds have to fit torch to the letter.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np

from MRISegSuiteLib.environment.large_models import HOW_TO_INSTALL
from MRISegSuiteLib.files import sha256_of

from .interface import Abstains

_LEAST_VERSION = 5
_CARD_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")


def require_checkpoint(folder, what: str) -> Path:
    """The folder of a checkpoint.

    Raises:
        Abstains: transformers is missing or too old, or the folder is not there or holds no safetensors.
    """
    if importlib.util.find_spec("transformers") is None:
        raise Abstains(f"{what} needs the Python package transformers, which is not installed. {HOW_TO_INSTALL}")
    import transformers

    if int(transformers.__version__.split(".")[0]) < _LEAST_VERSION:
        raise Abstains(f"{what} needs transformers 5 or later; {transformers.__version__} is installed. "
                       f"{HOW_TO_INSTALL}")
    path = Path(folder or "").expanduser()
    if not folder or not (path / "config.json").is_file():
        raise Abstains(f"There is no checkpoint of {what} in {folder or 'any folder that was named'}. Its license has "
                       "to be accepted by you: download it yourself and name the folder.")
    if not list(path.glob("*.safetensors")):
        raise Abstains(f"{path} holds no .safetensors file; other weights would be loaded by running code from them.")
    return path


def load(kind, folder: Path, device: str, **options):
    """A model of a class of transformers, ready to answer; offline, no code from the folder, safetensors only.

    Raises:
        Abstains: weights are missing in the checkpoint or do not fit.
    """
    try:
        model, info = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
            **options)  # fmt: skip
    except (OSError, ValueError, RuntimeError) as exception:
        first = (str(exception).strip().splitlines() or [""])[0][:200]
        raise Abstains(f"The checkpoint {folder} cannot be loaded as {kind.__name__}: {first}.") from exception
    missing = sorted(info.get("missing_keys") or []) + sorted(str(key) for key in info.get("mismatched_keys") or [])
    if missing:
        raise Abstains(f"The checkpoint {folder} lacks {len(missing)} weights of {kind.__name__}, such as "
                       f"{missing[0]}; it would answer with random numbers.")
    return model.eval().to(device)


def record_of(folder: Path, name: str) -> dict:
    """Provenance of a checkpoint: its name, and a hash over config and weights."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    files = sorted(folder.glob("*.safetensors"))
    hashes = [sha256_of(folder / "config.json"), *(sha256_of(file) for file in files)]
    return {"id": name, "version": str(config.get("transformers_version", "")),
            "architecture": (config.get("architectures") or [config.get("model_type")])[0],
            "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest()}


def picture_settings(folder: Path, mean=0.5, sd=0.5) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD (three channels each) that the checkpoint's files give for its pictures; else those given."""
    for name in _CARD_FILES:
        path = folder / name
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            content = content.get("image_processor") or content
            if "image_mean" in content:
                mean, sd = content["image_mean"], content["image_std"]
                break
    return np.broadcast_to(np.float32(mean), 3), np.broadcast_to(np.float32(sd), 3)


def as_pixels(picture: np.ndarray, size: int, mean: np.ndarray, sd: np.ndarray):
    """A gray picture (rows, columns), 0..1, as a tensor (3, size, size), resized and normalized."""
    import torch

    gray = torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32))[None, None]
    resized = torch.nn.functional.interpolate(gray, (size, size), mode="bilinear", antialias=True, align_corners=False)
    color = resized[0].clamp(0, 1).expand(3, -1, -1)
    return (color - torch.from_numpy(mean.copy())[:, None, None]) / torch.from_numpy(sd.copy())[:, None, None]
