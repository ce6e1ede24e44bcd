"""Small real models for the tests: networks whose answer is known, written to disk as each backend keeps them."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from MRISegSuiteLib.models import Card
from MRISegSuiteLib.models.exporting import write_torch_export
from MRISegSuiteLib.models.verified_files import file_entry

NAMES = ["background", "femur", "tibia"]


class Bands(torch.nn.Module):
    """Voxels below 0.3 are background, from 0.3 to 0.6 femur, above tibia: the answer of a network that is known."""

    def forward(self, image):
        return torch.cat([0.3 - image, 0.15 - (image - 0.45).abs(), image - 0.6], 1) * 200


def card_content(backend: str, folder: Path, files: list[str], **changes) -> dict:
    """A valid card for the files in a folder; ``changes`` replace top-level entries."""
    content = {
        "schema_version": 1,
        "id": "bands",
        "version": "1.0.0",
        "title": "Intensity bands",
        "task": "knee",
        "backend": backend,
        "files": [file_entry(folder / name, name) for name in files],
        "input": {
            "channels": [{"name": "image", "modality": "MR", "normalization": {"kind": "none"}}],
            "axes": "LIP",
            "spacing_mm": [None, None, None],
        },
        "output": {
            "activation": "softmax",
            "structures": [{"name": name, "channel": i, "value": i} for i, name in enumerate(NAMES)],
        },
        "inference": {"patch": [4, 16, 16], "overlap": [0.25, 0.25, 0.25]},
        "license": "Apache-2.0",
        "terms": "made by a test",
        "training": {"data": [], "procedure": "none"},
        "performance": [],
        "seen_on_real_scans": "nothing",
        "known_failures": [],
        "intended_use": "tests",
        "medical_device": False,
    }
    return {**content, **changes}


def write_card(folder: Path, content: dict) -> Card:
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
    return Card.read(folder)


def bands_model(folder: Path, network=None, free_axes=(0, 2, 3, 4), **changes) -> Card:
    """A .pt2 model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_torch_export((network or Bands()).eval(), torch.rand(2, 1, 4, 16, 16), folder / "model.pt2", free_axes)
    return write_card(folder, card_content("torch_export", folder, ["model.pt2"], **changes))


def block_image(size=(14, 26, 34), spacing=(2.0, 0.7, 0.7), seed=3) -> sitk.Image:
    """A sagittal, oblique volume of random blocks with the values 0.1, 0.45 and 0.9; array ``size`` (slices first)."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0.1, 0.45, 0.9], np.float32), [-(-count // 5) for count in size])
    array = np.kron(coarse, np.ones((5, 5, 5), np.float32))[tuple(slice(count) for count in size)]
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing[::-1])
    image.SetOrigin((-31.5, 12.25, 80.0))
    turn = np.array(sitk.VersorTransform((0.2, 0.9, -0.3), 0.25).GetMatrix()).reshape(3, 3)
    sagittal = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]])  # i to the back, j to the feet, k to the left
    image.SetDirection((turn @ sagittal).ravel().tolist())
    return image


def expected_bands(image: sitk.Image) -> np.ndarray:
    array = sitk.GetArrayFromImage(image)
    return (array > 0.3).astype(np.uint8) + (array > 0.6)
