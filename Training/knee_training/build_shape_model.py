"""Build the shape model of the demo's virtual knees from the HELD-OUT subjects' label maps.

The network never saw these subjects, so a knee drawn from this model is a fair test of it.

    PYTHONPATH=MRISegSuite:KneeSeg:Training python -m knee_training.build_shape_model --labels FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from KneeSegLib.virtual_knee import anatomy_labels as al
from KneeSegLib.virtual_knee.shape_model import FAR_MM, PAIRS, RESOURCE, ShapeModel

from .label_maps import read_labels
from .subjects import split

SPACING_MM = 2.5
#: Half-widths of the model's box about the tibial cartilage, mm (slices, rows, columns).
HALF_BOX_MM = (56.0, 68.0, 70.0)


def fields_of(path: Path) -> np.ndarray:
    """Six signed distance fields of a label map, float32 (6, D, H, W), centered on the tibial cartilage."""
    labels, spacing = read_labels(path)
    # Half the pixels are plenty for a 2.5 mm grid, and about isotropic.
    labels = al.trim_shafts(labels)[:, ::2, ::2]
    spacing = (spacing[0], 2 * spacing[1], 2 * spacing[2])
    joint = np.argwhere(labels == al.TIBIAL_CARTILAGE).mean(0) * spacing
    # Bones continue past the field of view, as they do in the leg.
    margin = [int(m / s) for m, s in zip((10, 30, 5), spacing)]
    labels = np.pad(labels, [(margin[0],) * 2, (margin[1],) * 2, (margin[2],) * 2], mode="edge")
    labels[: margin[0]], labels[-margin[0] :] = 0, 0
    joint = joint + np.array(margin) * spacing
    size = [int(2 * h / SPACING_MM) for h in HALF_BOX_MM]
    grid = sitk.Image(size[::-1], sitk.sitkFloat32)
    grid.SetSpacing([SPACING_MM] * 3)
    grid.SetOrigin([float(j - h + SPACING_MM / 2) for j, h in zip(joint[::-1], HALF_BOX_MM[::-1])])
    result = []
    for bone, cartilage in PAIRS:
        for values in ((bone,), (bone, cartilage)):
            mask = sitk.GetImageFromArray(np.isin(labels, values).astype(np.uint8))
            mask.SetSpacing([float(s) for s in spacing[::-1]])
            distance = sitk.SignedMaurerDistanceMap(mask, False, False, True)
            distance = sitk.SmoothingRecursiveGaussian(distance, 0.5)
            result.append(
                sitk.GetArrayFromImage(sitk.Resample(distance, grid, sitk.Transform(), sitk.sitkLinear, FAR_MM))
            )
    return np.clip(np.stack(result), -FAR_MM, FAR_MM)


def build(folder: Path, modes: int = 6) -> ShapeModel:
    """Shape model of one label map (the first timepoint) of each held-out subject."""
    first = {}
    for path in split(folder)[1]:
        first.setdefault(path.name.split("_")[1], path)
    knees = np.stack([fields_of(path) for path in first.values()])
    mean = knees.mean(0)
    rows = (knees - mean).reshape(len(knees), -1)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    modes = min(modes, len(knees) - 1)
    scaled = directions[:modes] * (sizes[:modes, None] / np.sqrt(len(knees) - 1))
    print(
        f"{len(knees)} knees; {modes} modes hold "
        f"{100 * (sizes[:modes] ** 2).sum() / (sizes**2).sum():.0f} % of the variance"
    )
    return ShapeModel(mean.astype(np.float32), scaled.reshape(modes, *mean.shape).astype(np.float32), SPACING_MM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESOURCE)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    build(given.labels).write(given.out)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
