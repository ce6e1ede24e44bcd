"""How much diameters change when the same tumor lies turned in the scanner and other planes are cut.

    python Testing/Benchmarks/bench_position.py MASK [MASK ...]

Each mask's largest component is made a smooth body, turned by 8 degrees (standard deviation about each axis) and drawn
on voxels of 1 mm and of 0.9 x 0.9 x 4 mm, fourteen times each. Printed are standard deviations of the logarithm of the
longest diameter, of the product at the slice of the longest diameter and of the largest product (the peer is the
former); the defaults of ``UncertaintySettings`` come from such a run. Exit code 1 where the largest product is not
steadier than its peer.
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("MRISegSuite", "LongitudinalCompare", "Testing/Science")]

import lesion_phantoms as phantoms  # noqa: E402

from LongitudinalCompareLib.change.lesions import find_lesions  # noqa: E402

DEGREES, REPEATS = 8.0, 14


def body_of(path):
    """Signed distance (mm) of the largest component."""
    mask = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.ReadImage(path) > 0, True)) == 1
    array = sitk.GetArrayFromImage(mask) > 0
    spacing = mask.GetSpacing()[::-1]
    away = ndimage.distance_transform_edt(~array, spacing) - ndimage.distance_transform_edt(array, spacing)
    body = sitk.GetImageFromArray(away.astype(np.float32))
    body.CopyInformation(mask)
    indices = np.argwhere(array)
    center = mask.TransformContinuousIndexToPhysicalPoint(indices.mean(axis=0)[::-1].tolist())
    return body, np.array(center), 2.2 * np.sqrt(np.cov(indices.T * np.array(spacing)[:, None]).trace())


def main(paths):
    random = np.random.default_rng(0)
    variances = []
    print(f"{'':40}{'longest':>10}{'product':>10}{'largest':>10}")
    for path in paths:
        body, center, reach = body_of(path)
        for spacing in ((1, 1, 1), (0.9, 0.9, 4)):
            rows = []
            for _ in range(REPEATS):
                turn = Rotation.from_rotvec(np.radians(random.normal(0, DEGREES, 3))).as_matrix()
                shift = random.uniform(-0.5, 0.5, 3) * spacing
                grid = phantoms.grid(np.ceil(2 * reach / np.array(spacing)), spacing, turn, center + shift)
                mask = sitk.Resample(body, grid, sitk.Transform(), sitk.sitkLinear, 1e6) <= 0
                found = find_lesions(mask).lesions[0].diameters
                rows.append((found.longest_mm, found.longest_mm * found.perpendicular_mm, found.product_mm2))
            variances.append(np.log(rows).var(axis=0, ddof=1))
            name = f"{Path(path).parent.name}, {spacing[2]} mm slices"
            print(f"{name:40}" + "".join(f"{sd:10.3f}" for sd in np.sqrt(variances[-1])), flush=True)
    together = np.sqrt(np.mean(variances, axis=0))
    print(f"{'root mean square':40}" + "".join(f"{sd:10.3f}" for sd in together))
    return 0 if together[2] < together[1] else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
