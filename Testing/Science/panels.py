"""Panels of experts for the tests: simulated raters, small masks, and the five algorithms of a real glioma."""

import numpy as np
import SimpleITK as sitk

from EnsembleReviewLib.expert_panel import ExpertPanel
from EnsembleReviewLib.opinions import Opinion, with_regions

BRATS = {"non_enhancing_core": 1, "edema": 2, "enhancing_tumour": 4}


def grid_of(shape, spacing=(1.0, 1.0, 1.0), direction=None, origin=(0.0, 0.0, 0.0)) -> sitk.Image:
    """A grid for arrays of ``shape`` (k, j, i); spacing and origin count i, j, k."""
    grid = sitk.Image([int(n) for n in shape[::-1]], sitk.sitkUInt8)
    grid.SetSpacing([float(s) for s in spacing])
    grid.SetOrigin(origin)
    if direction is not None:
        grid.SetDirection(np.asarray(direction, float).ravel().tolist())
    return grid


def panel_of(masks, structure="lesion", grid=None, vote="regions", prompted_by=None) -> ExpertPanel:
    """A panel with one structure: expert -> array (bool, or probabilities)."""
    opinions = [
        Opinion(name, name, {structure: array}, prompted_by=(prompted_by or {}).get(name, ()))
        for name, array in masks.items()
    ]
    return ExpertPanel(opinions, grid or grid_of(next(iter(masks.values())).shape), vote=vote)


def raters(truth, sensitivities, specificities, seed=0) -> dict:
    """Raters who err independently, voxel by voxel."""
    rng = np.random.default_rng(seed)
    return {
        f"rater{n}": np.where(truth, rng.random(truth.shape) < p, rng.random(truth.shape) >= q)
        for n, (p, q) in enumerate(zip(sensitivities, specificities, strict=True))
    }


def blob(shape=(20, 24, 28), radius=6.0, center=None):
    center = np.array(center if center is not None else [n / 2 for n in shape])
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), center, strict=True)) <= radius**2


def glioma(shared_data):
    """``(opinions, grid, mav)`` of the real glioma: five algorithms and the published majority (label map array)."""
    folder = shared_data / "glioma_expert_masks" / "TCGA-FG-6692"
    opinions, grid = [], None
    for path in sorted(folder.glob("segmentation_*.nii.gz")):
        grid = sitk.ReadImage(str(path))
        labels = sitk.GetArrayFromImage(grid)
        masks = {name: labels == value for name, value in BRATS.items()}
        name = path.name.removeprefix("segmentation_").removesuffix("-20.nii.gz")
        opinions.append(Opinion(name, name, with_regions(masks, True)))
    assert len(opinions) == 5
    return opinions, grid, sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fusion_mav.nii.gz")))
