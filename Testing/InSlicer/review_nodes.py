"""A small case for review: a bright ball in noise, and three readers' segmentations of it that differ."""

import numpy as np
import SimpleITK as sitk

from MRISegSuiteLib.images.structures import structure_of
from MRISegSuiteLib.images.terminology import terminology_entry
from MRISegSuiteLib.scene.geometry import volume_ijk_to_ras
from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node
from MRISegSuiteLib.scene.volumes import new_volume_node

SHAPE = (28, 48, 44)
_SPACING = (1.0, 1.1, 1.6)
_DIRECTION = (0.8, -0.6, 0.0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8)
#: Center and radius (mm along i, j, k) of the lesion, of a second one that only reader C has seen, and of a third that
#: nobody has.
LESION, SECOND, UNSEEN = ((20, 24, 20), 11), ((34, 38, 32), 5), ((33, 12, 28), 5)


def ball(place, radius=None):
    """A bool array (k, j, i) with a ball."""
    center, own = place
    k, j, i = np.indices(SHAPE)
    millimeters = np.stack([i, j, k]) * np.reshape(_SPACING, (3, 1, 1, 1))
    offset = millimeters - np.reshape(center, (3, 1, 1, 1))
    return (offset**2).sum(axis=0) <= (radius or own) ** 2


def image_of(voxels):
    """An image of ``voxels`` on the oblique grid of the case."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(_SPACING)
    image.SetOrigin((-12.0, 30.0, 4.0))
    image.SetDirection(_DIRECTION)
    return image


def case_images(seed=0):
    """The image of the case, and reader -> mask (uint8)."""
    bright = ball(LESION) | ball(SECOND) | ball(UNSEEN)
    gray = np.random.default_rng(seed).normal(100, 8, SHAPE) + 70 * bright
    bump = ball(((30, 24, 20), 6))
    masks = {"A": ball(LESION), "B": ball(LESION) | bump, "C": ball(LESION, 10) | ball(SECOND)}
    return image_of(gray.astype(np.float32)), {r: image_of(mask.astype(np.uint8)) for r, mask in masks.items()}


def add_case(scene, name="case FLAIR", seed=0):
    """Add a volume and the segmentations of three readers; returns the volume and a list of the three."""
    image, masks = case_images(seed)
    volume = new_volume_node(scene, name, image)
    whole = structure_of("whole_tumour", 1)
    look = SegmentLook("Segment_1", whole.title, whole.color,
                       terminology_entry(whole.category, whole.code, whole.region))
    readers = [new_segmentation_node(scene, f"{name} reader {reader}", mask, {"Segment_1": 1}, [look], volume,
                                     algorithm_type="MANUAL") for reader, mask in masks.items()]
    return volume, readers


def world_of(volumeNode, place):
    """The middle of a ball in the world (RAS, mm)."""
    index = [center / spacing for center, spacing in zip(place[0], _SPACING, strict=True)]
    return tuple(volume_ijk_to_ras(volumeNode) @ [*index, 1.0])[:3]
