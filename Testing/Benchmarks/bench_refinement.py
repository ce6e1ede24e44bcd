"""Clicks on a real FLAIR: Dice with the manual whole tumor before and after each simulated click, and the time of one.

    python Testing/Benchmarks/bench_refinement.py FLAIR TRUTH [FUSED]      (FUSED: a mask; crude ones otherwise)
    python Testing/Benchmarks/bench_refinement.py --cube                   (time only, a 240 x 240 x 240 volume)

A simulated click is where a person would click: in the middle of the largest piece that is wrong. Without FUSED the
start is the majority of three thresholds of the FLAIR (largest piece of each), which is what simple methods give.
The peer of the time is SimpleITK's ConfidenceConnected from the same place over the whole image, the usual click tool.
Limit: 1 s a click, wall-clock, worker and crop included.
"""

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

_FOLDERS = [str(Path(__file__).resolve().parents[2] / name) for name in ("MRISegSuite", "EnsembleReview")]
sys.path[:0] = _FOLDERS

from EnsembleReviewLib.refinement.client import RefinementClient  # noqa: E402
from EnsembleReviewLib.refinement.prompts import Click, Grid, plan  # noqa: E402
from MRISegSuiteLib.measures.overlap import dice  # noqa: E402
from MRISegSuiteLib.measures.surface_distance import bounding_box  # noqa: E402

LIMIT_S, CLICKS = 1.0, 15


def crude_fusion(flair):
    gray = sitk.GetArrayFromImage(flair).astype(float)
    brain = gray > 0
    scaled = (gray - gray[brain].mean()) / gray[brain].std()
    votes = np.zeros(gray.shape, int)
    for limit, smooth in ((1.0, 1.0), (1.5, 2.0), (2.0, 1.5)):
        parts, count = label((gaussian_filter(scaled, smooth) > limit) & brain)
        if count:
            votes += parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return votes >= 2


def next_click(mask, truth, image):
    box = bounding_box(mask | truth, 1)
    pieces = []
    for positive, wrong in ((True, truth[box] & ~mask[box]), (False, mask[box] & ~truth[box])):
        parts, count = label(wrong)
        if count:
            piece = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
            pieces.append((int(piece.sum()), positive, piece))
    if not pieces:
        return None
    _, positive, piece = max(pieces, key=lambda one: one[0])
    depth = distance_transform_edt(np.pad(piece, 1), sampling=image.GetSpacing()[::-1])[1:-1, 1:-1, 1:-1]
    index = np.array(np.unravel_index(depth.argmax(), depth.shape)) + [side.start for side in box]
    return Click(image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]), positive)


def ask(client, image, gray, mask, click, earlier):
    """Click to mask, in place, as the panel does it; returns seconds."""
    started = time.perf_counter()
    task = plan(Grid.of(image), click, earlier)
    client.ask(task, gray[task.box], mask[task.box])
    while (after := client.answer()) is None:
        time.sleep(0.002)
    mask[task.box] = after.mask
    return time.perf_counter() - started


def peer_seconds(image, click):
    started = time.perf_counter()
    sitk.ConfidenceConnected(image, [image.TransformPhysicalPointToIndex(click.point)], 2, 2.5, 2)
    return time.perf_counter() - started


def main(arguments):
    client = RefinementClient(sys.executable, os.environ | {"PYTHONPATH": os.pathsep.join(_FOLDERS)})
    client.start()
    while not (client._folder / "ready").exists():
        time.sleep(0.02)
    start_cpu = sum(psutil.Process(client._process.pid).cpu_times()[:2])
    if arguments[0] == "--cube":
        size = (240, 240, 240)
        k, j, i = np.ogrid[:240, :240, :240]
        body = (k - 120) ** 2 + (j - 120) ** 2 + (i - 120) ** 2 <= 25**2
        noise = np.random.default_rng(0).normal(100, 12, size)
        image = sitk.GetImageFromArray((noise + 60 * body).astype(np.float32))
        truth, mask = body, body & (i < 120)
    else:
        image = sitk.ReadImage(arguments[0], sitk.sitkFloat32)
        truth = sitk.GetArrayFromImage(sitk.ReadImage(arguments[1])) > 0
        mask = sitk.GetArrayFromImage(sitk.ReadImage(arguments[2])) > 0 if arguments[2:] else crude_fusion(image)
    gray = sitk.GetArrayFromImage(image)
    found, times, peers, clicks = [dice(mask, truth)], [], [], []
    for _ in range(CLICKS):
        click = next_click(mask, truth, image)
        if click is None:
            break
        times.append(ask(client, image, gray, mask, click, clicks))
        if len(peers) < 3:
            peers.append(peer_seconds(image, click))
        clicks.append(click)
        found.append(dice(mask, truth))
    client.stop()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the worker
    cpu = (usage.ru_utime + usage.ru_stime - start_cpu) / max(1, len(times))
    print("Dice before and after each click:", " ".join(f"{value:.3f}" for value in found))
    print("clicks:", "".join("+" if click.positive else "-" for click in clicks))
    print(f"seconds a click: median {np.median(times):.2f}, longest {max(times):.2f}, CPU of the worker {cpu:.2f} "
          f"(limit {LIMIT_S}); ConfidenceConnected {np.median(peers):.2f}, "
          f"ratio {np.median(times) / np.median(peers):.2f}")
    return 0 if np.median(times) <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
