"""The worker for clicks: answers, errors, its end; and clicks on a real FLAIR."""

import os
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from EnsembleReviewLib.refinement.client import RefinementClient
from EnsembleReviewLib.refinement.prompts import Click, Grid, Task, plan, refine, solve
from MRISegSuiteLib.errors import SuiteError, WorkerCrashed
from MRISegSuiteLib.measures.overlap import dice


@pytest.fixture
def client():
    client = RefinementClient(sys.executable, dict(os.environ))
    yield client
    client.stop()


def answer(client, seconds=60.0):
    deadline = time.monotonic() + seconds
    while (mask := client.answer()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return mask


def test_the_worker_answers_as_the_library_does_survives_errors_and_ends(client):
    gray = np.random.default_rng(0).normal(100, 5, (20, 22, 24))
    gray[5:15, 5:15, 5:15] += 60
    image = sitk.GetImageFromArray(gray)
    task = plan(Grid.of(image), Click((10, 10, 10)))
    nothing = np.zeros(gray.shape, bool)[task.box]
    client.ask(task, gray[task.box], nothing)
    assert client.isWaiting
    mask = answer(client)
    assert np.array_equal(mask, solve(task, gray[task.box], nothing))
    wrong = Task.from_record(task.to_record() | {"spacing": (1.0, 1.0)})
    client.ask(wrong, gray[task.box], nothing)
    with pytest.raises(SuiteError, match="could not be worked on"):
        answer(client)
    client.ask(task, gray[task.box], nothing)
    assert answer(client).any(), "one bad click ended the worker"
    assert not [name for name in os.listdir(client._folder) if name.endswith(".npy")]
    process, folder = client._process, client._folder
    client.stop()
    assert process.poll() is not None and not folder.exists()


def test_the_worker_ends_with_whoever_started_it(client):
    client.start()
    client._process.stdin.close()  # what the system does when the application is killed
    assert client._process.wait(60) == 0


def test_a_worker_that_is_gone_is_told_and_the_next_click_starts_another(client):
    client.start()
    client._process.kill()
    client._process.wait()
    task = plan(Grid.of(sitk.Image(9, 9, 9, sitk.sitkFloat32)), Click((4, 4, 4)))
    gray, nothing = np.zeros((9, 9, 9)), np.zeros((9, 9, 9), bool)
    client.ask(task, gray, nothing)
    assert answer(client).any()
    client.ask(task, gray, nothing)
    client._process.kill()
    with pytest.raises(WorkerCrashed, match="ended with exit code"):
        answer(client)
    with pytest.raises(WorkerCrashed, match="cannot be started"):
        RefinementClient("/nowhere/python", {}).ask(task, gray, nothing)


def test_clicks_bring_a_fused_mask_of_a_real_glioma_nearer_to_the_manual_one(shared_data):
    """Case 4 has no part in choosing the parameters. Cropped around the tumor, as the clicks are local anyway."""
    folder = shared_data / "glioma_whole_tumour" / "case_4"
    flair = sitk.ReadImage(str(folder / "FLAIR.nii.gz"), sitk.sitkFloat32)
    truth_image = sitk.ReadImage(str(folder / "GT_W.nii.gz"))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(truth_image > 0, sitk.sitkUInt8))
    x, y, z, *size = shape.GetBoundingBox(1)
    low = [max(0, start - 15) for start in (x, y, z)]
    high = [min(n, start + length + 15) for n, start, length in zip(flair.GetSize(), (x, y, z), size, strict=True)]
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    whole = sitk.GetArrayViewFromImage(flair)
    mean, deviation = whole[whole > 0].mean(), whole[whole > 0].std()
    flair, truth = flair[part], sitk.GetArrayFromImage(truth_image[part]) > 0
    gray = sitk.GetArrayFromImage(flair)
    votes = sum((gaussian_filter((gray - mean) / deviation, smooth) > limit).astype(int)
                for limit, smooth in ((1.0, 1.0), (1.5, 2.0), (2.0, 1.5)))
    mask = votes >= 2
    found, clicks = [dice(mask, truth)], []
    for _ in range(8):
        click = _worst(mask, truth, flair)
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.CopyInformation(flair)
        change = refine(flair, image, click, clicks)
        mask[change.box] = change.mask
        clicks.append(click)
        found.append(dice(mask, truth))
    print("\nDice:", " ".join(f"{value:.3f}" for value in found))
    assert found[4] > found[0] + 0.08 and found[8] > found[0] + 0.15


def _worst(mask, truth, image):
    """A click in the middle of the largest piece that is wrong."""
    pieces = []
    for positive, wrong in ((True, truth & ~mask), (False, mask & ~truth)):
        parts, _ = label(wrong)
        counts = np.bincount(parts.ravel())[1:]
        if len(counts):
            pieces.append((counts.max(), positive, parts == 1 + counts.argmax()))
    _, positive, piece = max(pieces, key=lambda one: one[0])
    depth = distance_transform_edt(np.pad(piece, 1))[1:-1, 1:-1, 1:-1]
    index = np.unravel_index(depth.argmax(), depth.shape)[::-1]
    return Click(image.TransformIndexToPhysicalPoint([int(i) for i in index]), positive)
