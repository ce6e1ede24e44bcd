"""Repeatability of measuring: the same knees turned, shifted and resampled.

    python Testing/Benchmarks/bench_repeatability.py FOLDER --write

FOLDER holds ``*_seg.nii.gz`` label maps of the Osteoarthritis Initiative. Each of ten is turned by up to 5 degrees,
shifted by fractions of a voxel and resampled, and measured again: alone, and as the follow-up of the first, which lays
the first one's regions on both. The differences are those of measuring and of the voxels, not of another scan or
another segmentation. ``--write`` renews the file that the smallest detectable change of
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

from KneeSegLib.followup.change import OUTCOMES, REPEATABILITY_FILE, compare_knees  # noqa: E402
from KneeSegLib.measure import KneeMeasurement, MeasureOptions, measure_knee  # noqa: E402

NAMES = {
    "femur": [1, 7], "femoral_cartilage": 2, "tibia": [3, 8], "tibial_cartilage": 4, "patella": [5, 9],
    "patellar_cartilage": 6,
}  # fmt: skip
BONES = (("femur", "femoral_cartilage"), ("tibia", "tibial_cartilage"), ("patella", "patellar_cartilage"))


def moved(image: sitk.Image, rng: np.random.Generator) -> sitk.Image:
    """The knee turned by up to 5 degrees about each axis and shifted, on the same kind of grid.

    Each bone alone, and with its cartilage, is resampled as the part of a voxel that it fills, and cut at a half: so
    bone and cartilage stay in touch, and thin cartilage is not eaten by its neighbors.
    """
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    turn = sitk.Euler3DTransform(middle, *np.radians(rng.uniform(-5, 5, 3)), tuple(rng.uniform(-0.5, 0.5, 3)))
    array = sitk.GetArrayViewFromImage(image)

    def filled(values) -> np.ndarray:
        mask = sitk.GetImageFromArray(np.isin(array, values).astype(np.float32))
        mask.CopyInformation(image)
        return sitk.GetArrayFromImage(sitk.Resample(mask, image, turn, sitk.sitkLinear, 0.0)) > 0.5

    result = np.zeros(array.shape, np.uint8)
    for bone, cartilage in BONES:
        values = np.atleast_1d(NAMES[bone])
        result[filled([*values, NAMES[cartilage]]) & (result == 0)] = NAMES[cartilage]
        result[filled(values)] = values[0]
    turned = sitk.GetImageFromArray(result)
    turned.CopyInformation(image)
    return turned


def measured(image: sitk.Image) -> KneeMeasurement:
    return measure_knee(image, NAMES, "right", MeasureOptions(only_measure=True, layers=1))


def table(rows) -> dict[tuple[str, str, str], float]:
    return {(r["structure"], r["region"], r["name"]): r["value"] for r in rows if r["name"] in OUTCOMES}


def changes(first: KneeMeasurement, again: KneeMeasurement) -> dict[tuple[str, str, str], float]:
    """What a follow-up would tell: regions and joint surface of the first measurement on both."""
    names = {f"{outcome}_change": outcome for outcome in OUTCOMES}
    rows = [r for r in compare_knees(first, again).rows if r["name"] in names]
    return {(r["structure"], r["region"], names[r["name"]]): r["value"] for r in rows}


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
    alone: dict[tuple, list[float]] = {}
    together: dict[tuple, list[float]] = {}
    for path in chosen:
        image = sitk.ReadImage(str(path))
        first = measured(image)
        values = table(first.rows)
        for _ in range(given.times):
            again = measured(moved(image, rng))
            other = table(again.rows)
            for key, value in values.items():
                if np.isfinite(value) and np.isfinite(other.get(key, np.nan)):
                    alone.setdefault(key, []).append((other[key] - value) ** 2)
            for key, change in changes(first, again).items():
                if np.isfinite(change):
                    together.setdefault(key, []).append(change**2)
        print(path.name, "done", flush=True)
    print(f"{len(chosen)} maps, {given.times} movements each: root mean square difference of ThCtAB, mm")
    print(f"  {'':53s} regions matched   each measured alone")
    for structure, region, name in together:
        if name == "ThCtAB":
            key = (structure, region, name)
            print(f"  {structure:28s} {region:24s} {_rms(together[key]):8.3f} {_rms(alone[key]):17.3f}")
    if given.write:
        # The difference of two measurements has sqrt(2) times the SD of one.
        record = {
            "what": "SD of repeated measurements, regions matched as in follow-up, of label maps turned, shifted "
            "and resampled: measuring and voxels only, neither another scan nor another segmentation",
            "maps": len(chosen),
            "movements": given.times,
            "sd": {"/".join(key): round(_rms(values) / np.sqrt(2), 5) for key, values in together.items()},
        }
        REPEATABILITY_FILE.parent.mkdir(parents=True, exist_ok=True)
        REPEATABILITY_FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written: {REPEATABILITY_FILE}")


def _rms(squares: list[float]) -> float:
    return float(np.sqrt(np.mean(squares)))


if __name__ == "__main__":
    main()
