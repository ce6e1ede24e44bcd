"""Repeatability of measuring: the same knees turned, shifted and resampled.

    python Testing/Benchmarks/bench_repeatability.py FOLDER --write

FOLDER holds ``*_seg.nii.gz`` label maps of the Osteoarthritis Initiative. Each of ten is turned by up to 5 degrees,
shifted by fractions of a voxel and resampled, and measured again. The differences are those of measuring and of the
voxels, not of another scan or another segmentation. ``--write`` renews the file that the smallest detectable change of
follow-up knees comes from.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "MRISegSuite"), str(_ROOT / "KneeSeg")]

from KneeSegLib.followup.change import OUTCOMES, REPEATABILITY_FILE  # noqa: E402
from KneeSegLib.measure import MeasureOptions, measure_knee  # noqa: E402

NAMES = {
    "femur": [1, 7], "femoral_cartilage": 2, "tibia": [3, 8], "tibial_cartilage": 4, "patella": [5, 9],
    "patellar_cartilage": 6,
}  # fmt: skip


def moved(image: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """The knee turned by up to 5 degrees about each axis and shifted, on the same kind of grid."""
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    turn = sitk.Euler3DTransform(middle, *np.radians(rng.uniform(-5, 5, 3)), tuple(rng.uniform(-0.5, 0.5, 3)))
    return sitk.Resample(image, image, turn, sitk.sitkLabelGaussian, 0)


def table(image: sitk.Image) -> dict[tuple[str, str, str], float]:
    rows = measure_knee(image, NAMES, "right", MeasureOptions(only_measure=True, layers=1)).rows
    return {(r["structure"], r["region"], r["name"]): r["value"] for r in rows if r["name"] in OUTCOMES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--maps", type=int, default=10)
    parser.add_argument("--times", type=int, default=2, help="movements of each map")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    every = sorted(given.folder.glob("*_seg.nii.gz"))
    chosen = every[:: max(1, len(every) // given.maps)][: given.maps]
    rng = np.random.default_rng(1)
    squares: dict[tuple, list[float]] = {}
    for path in chosen:
        image = sitk.ReadImage(str(path))
        first = table(image)
        for _ in range(given.times):
            again = table(moved(image, rng))
            for key, value in first.items():
                if np.isfinite(value) and np.isfinite(again.get(key, np.nan)):
                    squares.setdefault(key, []).append((again[key] - value) ** 2)
        print(path.name, "done", flush=True)
    rms = {key: float(np.sqrt(np.mean(values))) for key, values in squares.items()}
    print(f"{len(chosen)} maps, {given.times} movements each: root mean square difference of ThCtAB, mm")
    for (structure, region, name), value in rms.items():
        if name == "ThCtAB":
            print(f"  {structure:28s} {region:24s} {value:.3f}")
    if given.write:
        # The difference of two measurements has sqrt(2) times the SD of one.
        record = {
            "what": "SD of repeated measurements of label maps that were turned, shifted and resampled: measuring and "
            "voxels only, neither another scan nor another segmentation",
            "maps": len(chosen),
            "movements": given.times,
            "sd": {"/".join(key): round(value / np.sqrt(2), 5) for key, value in rms.items()},
        }
        REPEATABILITY_FILE.parent.mkdir(parents=True, exist_ok=True)
        REPEATABILITY_FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written: {REPEATABILITY_FILE}")


if __name__ == "__main__":
    main()
