"""Rigid registration: engines side by side on known transforms, other contrasts, a real follow-up, and failures.

    python Testing/Benchmarks/bench_registration.py [--engines greedy,simpleitk,ants] [--quick | --known]

Reads ../shared/data. Prints for each pair the mean error, inverse consistency and CPU seconds of each engine (both
directions, start and diagnostic affine included; preparation apart), the gate's state, and whether the limits hold.
The contrasts of a patient are not registered to each other perfectly: their error is told against where the undegraded
scan was registered to, too. ``--quick`` leaves out what says the least, ``--known`` all but the known transforms of
the T1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in ("MRISegSuite", "LongitudinalCompare"):
    sys.path.insert(0, str(REPOSITORY / folder))

from LongitudinalCompareLib.registration.alignment import align_pair  # noqa: E402
from LongitudinalCompareLib.registration.engines import EngineMissing, find_engine  # noqa: E402
from LongitudinalCompareLib.registration.preparation import prepare  # noqa: E402
from LongitudinalCompareLib.registration.rigid import displacement_mm, matrix_of, transform_of  # noqa: E402

DATA = REPOSITORY.parent / "shared" / "data"
GLIOMA, MS = DATA / "glioma_expert_masks" / "TCGA-FG-6692", DATA / "ms_followup" / "patient01" / "raw"


def read(path: Path) -> sitk.Image:
    return sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32)


def moved_copy(image: sitk.Image, degrees: float, millimeters: float, spacing=None):
    """The scan in another pose (interpolated by cubic splines), its slices averaged over their thickness.

    Returns:
        The image, and the (4, 4) matrix from the original to it.
    """
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array((1, 2, 3)) / np.sqrt(14)).as_matrix()
    shift = millimeters * np.array((1, -1, 0.5)) / 1.5
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([n / 2 for n in image.GetSize()]))
    back = np.eye(4)
    back[:3, :3], back[:3, 3] = turn, middle + shift - turn @ middle
    result = sitk.Resample(image, image, transform_of(back), sitk.sitkBSpline, 0.0)
    if spacing is not None:
        factors = [max(1, round(wanted / own)) for wanted, own in zip(spacing, image.GetSpacing(), strict=True)]
        result = sitk.BinShrink(result, factors)
    return result, np.linalg.inv(back)


def cpu_seconds() -> float:
    """Of this process and of those that it waited for (an engine in a Python of its own)."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Bench:
    """Runs pairs on engines and keeps what missed its limit."""

    def __init__(self, engines):
        self.engines = engines
        self.missed: list[str] = []
        self._prepared: dict = {}

    def prepared(self, name: str, image: sitk.Image):
        if name not in self._prepared:
            begin = cpu_seconds()
            made = prepare(image)
            print(f"  prepared {name}: {made.found.kind}, {made.found.volume_ml:.0f} ml, "
                  f"{cpu_seconds() - begin:.1f} CPU-s", flush=True)  # fmt: skip
            self._prepared[name] = made
        return self._prepared[name]

    def pair(self, name, first, second, truth=None, error_mm=None, inverse_mm=None, cpu_s=None, fails=False):
        """One pair on all engines; the limits are held for the first engine. Returns that engine's matrix."""
        result = None
        for number, engine in enumerate(self.engines):
            begin = cpu_seconds()
            found = align_pair(first, second, engine)
            cpu = cpu_seconds() - begin
            error = displacement_mm(found.matrix, truth, first.points).mean() if truth is not None else float("nan")
            apart = found.gate.numbers["inverse_consistency_mm"]
            print(f"{name:44} {engine.name:10} error {error:7.3f} mm  inverse {apart:6.3f} mm  {cpu:5.1f} CPU-s  "
                  f"sharpness {found.gate.numbers['sharpness']:.2f}  r {found.gate.numbers['pearson']:.2f}  "
                  f"{found.gate.state}", flush=True)  # fmt: skip
            held = ((error, error_mm, "error"), (apart, inverse_mm, "inverse"), (cpu, cpu_s, "CPU"))
            for value, limit, what in held:
                if number == 0 and limit is not None and not value <= limit:
                    self.missed.append(f"{name}: {what} {value:.3f} > {limit}")
            if fails and found.gate.state != "failed":
                self.missed.append(f"{name}, {engine.name}: {found.gate.state}, but must fail")
            if fails is None and found.gate.state == "failed":
                self.missed.append(f"{name}, {engine.name}: failed: {found.gate.reasons}")
            result = found.matrix if number == 0 else result
        return result

    def result(self) -> int:
        """Tell whether the limits hold; the exit code."""
        print("\n".join(["Missed:", *self.missed]) if self.missed else "All limits hold.")
        return 1 if self.missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="greedy,simpleitk,ants")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--known", action="store_true")
    arguments = parser.parse_args()
    engines = []
    for name in arguments.engines.split(","):
        try:
            engines.append(find_engine(name))
        except EngineMissing as error:
            print(error)
    bench = Bench(engines)
    t1 = read(GLIOMA / "t1.nii.gz")
    original = bench.prepared("T1, 1 mm", t1)
    known = {"error_mm": 0.03, "inverse_mm": 0.03, "cpu_s": 15.0, "fails": None}
    image, truth = moved_copy(t1, 11, 9)
    bench.pair("T1, 11 deg, 9 mm", original, bench.prepared("T1 moved", image), truth, **known)
    image, truth = moved_copy(t1, 33, 25, (1, 1, 3))
    bench.pair("T1, 33 deg, 25 mm, 1 x 1 x 3 mm", original, bench.prepared("T1 moved, 3 mm", image), truth, **known)
    if arguments.known:
        return bench.result()

    contrast, flair = read(GLIOMA / "t1c.nii.gz"), read(GLIOMA / "fla.nii.gz")
    image, truth = moved_copy(flair, 11, 9, (1, 1, 4))
    fixed, thick = bench.prepared("T1c", contrast), bench.prepared("FLAIR moved, 4 mm", image)
    bench.pair("FLAIR 1 mm to T1c, as they lie", fixed, bench.prepared("FLAIR", flair), np.eye(4), fails=None)
    copy, way = moved_copy(flair, 11, 9)
    offset = bench.pair("FLAIR 1 mm moved to T1c", fixed, bench.prepared("FLAIR moved", copy), way, fails=None)
    bench.pair("FLAIR 4 mm to T1c, against the truth", fixed, thick, truth, None, 0.2, 15.0, None)
    bench.pair("FLAIR 4 mm to T1c, against the 1 mm scan", fixed, thick, offset, 0.4, 0.2, 15.0, None)

    ways = [matrix_of(sitk.ReadTransform(str(MS / f"study{n}_FLAIR_to_common_space.txt"))) for n in (1, 2)]
    scans = [bench.prepared(f"MS FLAIR {n}", read(MS / f"study{n}_FLAIR.nii.gz")) for n in (1, 2)]
    published = ways[1] @ np.linalg.inv(ways[0])
    bench.pair("real follow-up, FLAIR, against the published", *scans, published, 0.35, 0.2, 15.0, None)

    bench.engines = engines[:1]
    other = bench.prepared("FLAIR of another", read(DATA / "glioma_whole_tumour" / "case_1" / "FLAIR.nii.gz"))
    bench.pair("another patient (FLAIR, skull off both)", bench.prepared("FLAIR", flair), other, fails=True)
    bench.pair("another patient (FLAIR, with and without skull)", scans[0], other, fails=True)
    image, truth = moved_copy(t1, 60, 5)
    bench.pair("T1, 60 deg", original, bench.prepared("T1, 60 deg", image), truth, fails=True)
    bench.pair("upper half of the T1", original, bench.prepared("half", t1[:, :, t1.GetSize()[2] // 2 :]), fails=True)
    if not arguments.quick:
        t1s = [bench.prepared(f"MS T1 {n}", read(MS / f"study{n}_T1W.nii.gz")) for n in (1, 2)]
        bench.pair("real follow-up, T1", *t1s, fails=None)
        bench.pair("same patient, T1 and FLAIR", t1s[0], scans[0], fails=None)
        head = bench.prepared("T1 head of another", read(DATA / "brain_t1" / "t1_crop.nii.gz"))
        bench.pair("another patient (T1, with skull)", t1s[0], head, fails=True)
        third = bench.prepared("FLAIR of a third", read(DATA / "glioma_whole_tumour" / "case_2" / "FLAIR.nii.gz"))
        bench.pair("two others (FLAIR)", other, third, fails=True)
    return bench.result()


if __name__ == "__main__":
    sys.exit(main())
