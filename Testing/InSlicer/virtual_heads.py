"""Heads for the tests: drawn from formulas in any pose on any grid, with lesions, so that everything is known and no
scan is needed."""

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

#: Half axes of the brain, mm (left-right, front-back, up-down).
BRAIN_MM = (66.0, 82.0, 62.0)


def pose(degrees=0.0, millimeters=0.0, axis=(1, 2, 3), along=(1, -1, 0.5)):
    """A rigid (4, 4) matrix about the middle of the head (LPS, mm)."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = millimeters * np.array(along) / np.linalg.norm(along)
    return matrix


def head(to_head=None, lesions=(), spacing=(3.0, 3.0, 3.0), subject=1, noise=4.0, seed=1, inverted=False):
    """A scan of a head and the mask of its lesions.

    Args:
        to_head: (4, 4), takes points of the scan to points of the head (LPS, mm): where the head lies.
        lesions: (center (LPS, mm, in the head), radius in mm), bright balls.
        spacing: mm. subject: another number is another person. inverted: another contrast.

    Returns:
        (int16 image, uint8 mask).
    """
    size = [int(np.ceil(extent / s)) for extent, s in zip((190, 220, 180), spacing)]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing(spacing)
    grid.SetOrigin([-(n - 1) * s / 2 for n, s in zip(size, spacing)])
    axes = [np.arange(n) * s + o for n, s, o in zip(size, spacing, grid.GetOrigin())]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    matrix = np.eye(4) if to_head is None else to_head
    points = points @ matrix[:3, :3].T + matrix[:3, 3]
    random = np.random.default_rng(subject)
    stretch = 1 + 0.06 * random.uniform(-1, 1, 3) * (subject != 1)
    radius = np.linalg.norm(points / (np.array(BRAIN_MM) * stretch), axis=-1)
    texture = np.zeros(radius.shape)
    for _ in range(24):
        direction = random.normal(size=3)
        wave = 2 * np.pi / random.uniform(14, 45) * direction / np.linalg.norm(direction)
        texture += np.cos(points @ wave + random.uniform(0, 2 * np.pi))
    brain = 320 + 30 * texture
    values = np.select([radius < 1, radius < 1.09, radius < 1.18], [brain, 60, 420], 15.0)
    if inverted:
        values = np.select([radius < 1, radius < 1.09, radius < 1.18], [640 - brain, 60, 300], 15.0)
    mask = np.zeros(radius.shape, bool)
    for center, size_mm in lesions:
        mask |= np.linalg.norm(points - np.array(center), axis=-1) < size_mm
    values = np.where(mask, 620.0, values) + np.random.default_rng(seed).normal(0, noise, radius.shape)
    return _image(values.astype(np.int16), grid), _image(mask.astype(np.uint8), grid)


def _image(array, grid):
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.CopyInformation(grid)
    return image


def add_heads(scene):
    """Two volume nodes and two segmentation nodes: a lesion that grows and one that is new, the head turned."""
    from MRISegSuiteLib.images.structures import TUMOR_BY_NAME
    from MRISegSuiteLib.images.terminology import terminology_entry
    from MRISegSuiteLib.scene.segmentations import SegmentLook, new_segmentation_node
    from MRISegSuiteLib.scene.volumes import new_volume_node

    old, new = ((25.0, 20.0, 15.0), 7.0), ((-30.0, -10.0, 20.0), 5.0)
    lesion = TUMOR_BY_NAME["lesion"]
    look = SegmentLook(lesion.name, lesion.title, lesion.color,
                       terminology_entry(lesion.category, lesion.code, lesion.region))
    volumes, masks = [], []
    for name, matrix, lesions in (("before", None, [old]), ("after", pose(8, 6), [(old[0], 10.0), new])):
        image, mask = head(matrix, lesions, seed=len(volumes) + 1)
        volumes.append(new_volume_node(scene, name, image))
        masks.append(new_segmentation_node(scene, f"{name} lesions", mask, {"lesion": 1}, [look], volumes[-1],
                                           algorithm="by hand", algorithm_type="MANUAL"))
    return volumes, masks
