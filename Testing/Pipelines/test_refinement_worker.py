"""The worker for clicks: answers, errors, its end; and clicks on a real FLAIR."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from EnsembleReviewLib.experts.interface import Abstains
from EnsembleReviewLib.refinement.client import RefinementClient
from EnsembleReviewLib.refinement.prompts import Box, Click, Grid, Task, plan, refine, solve
from EnsembleReviewLib.refinement.sam3_clicks import Sam3Clicks
from MRISegSuiteLib.errors import SuiteError, WorkerCrashed
from MRISegSuiteLib.measures.overlap import dice


@pytest.fixture
def client():
    client = RefinementClient(sys.executable, dict(os.environ))
    yield client
    client.stop()


def answer(client, seconds=60.0):
    deadline = time.monotonic() + seconds
    while (found := client.answer()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_the_worker_answers_as_the_library_does_survives_errors_and_ends(client):
    gray = np.random.default_rng(0).normal(100, 5, (20, 22, 24))
    gray[5:15, 5:15, 5:15] += 60
    image = sitk.GetImageFromArray(gray)
    task = plan(Grid.of(image), Click((10, 10, 10)))
    nothing = np.zeros(gray.shape, bool)[task.box]
    client.ask(task, gray[task.box], nothing)
    assert client.isWaiting
    found = answer(client)
    assert found.note == "" and np.array_equal(found.mask, solve(task, gray[task.box], nothing))
    wrong = Task.from_record(task.to_record() | {"spacing": (1.0, 1.0)})
    client.ask(wrong, gray[task.box], nothing)
    with pytest.raises(SuiteError, match="could not be worked on"):
        answer(client)
    client.ask(task, gray[task.box], nothing)
    assert answer(client).mask.any(), "one bad click ended the worker"
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
    assert answer(client).mask.any()
    client.ask(task, gray, nothing)
    client._process.kill()
    with pytest.raises(WorkerCrashed, match="ended with exit code"):
        answer(client)
    with pytest.raises(WorkerCrashed, match="cannot be started"):
        RefinementClient("/nowhere/python", {}).ask(task, gray, nothing)


@pytest.fixture(scope="module")
def sam3(tmp_path_factory):
    pytest.importorskip("torch")
    pytest.importorskip("transformers", minversion="5")
    from tiny_checkpoints import write_sam3

    return write_sam3(tmp_path_factory.mktemp("checkpoints") / "sam3")


def oblique_scan():
    """A bright ball in noise: oblique, anisotropic."""
    rng = np.random.default_rng(3)
    k, j, i = np.indices((14, 44, 48))
    inside = (3.5 * (k - 7)) ** 2 + (0.9 * (j - 22)) ** 2 + (0.7 * (i - 24)) ** 2 <= 9**2
    image = sitk.GetImageFromArray((rng.normal(50, 5, inside.shape) + 40 * inside).astype(np.float32))
    image.SetSpacing((0.7, 0.9, 3.5))
    image.SetOrigin((-12.0, 30.0, 4.0))
    image.SetDirection((0.8, -0.6, 0.0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8))
    return image


def by_sam3(clicks, image, mask, prompt, earlier=()):
    """The whole mask (bool) after a prompt that SAM 3 answers, and its part."""
    task = plan(Grid.of(image), prompt, earlier, wide=True)
    after = mask.copy()
    after[task.box] = clicks.solve(task, sitk.GetArrayFromImage(image)[task.box], mask[task.box])
    return after, task


def places_that_sam3_finds(clicks, image):
    """With random weights what is found means nothing, and not every place is part of what it finds."""
    for index in np.ndindex(6, 6):
        point = image.TransformIndexToPhysicalPoint((4 + 7 * index[0], 4 + 7 * index[1], 7))
        try:
            yield point, by_sam3(clicks, image, np.zeros(image.GetSize()[::-1], bool), Click(point))[0]
        except Abstains:
            continue


def test_sam3_answers_clicks_and_boxes_where_they_are_and_the_worker_keeps_it(sam3, client):
    image = oblique_scan()
    nothing = np.zeros(image.GetSize()[::-1], bool)
    clicks = Sam3Clicks(sam3, "cpu")
    point, added = next(places_that_sam3_finds(clicks, image))
    index = Grid.of(image).index(point).round().astype(int)
    assert added[tuple(index)], "the place that was clicked is not part of the answer"
    slices = np.flatnonzero(added.any(axis=(1, 2)))
    assert index[0] in slices and slices[0] >= index[0] - 3 and slices[-1] <= index[0] + 3, "10 mm either way"

    # The same places in the world, however the volume is stored.
    def stored(this):
        return sitk.Flip(sitk.PermuteAxes(this, (2, 0, 1)), (True, False, True))

    turned = stored(image)
    elsewhere, _ = by_sam3(clicks, turned, np.zeros(turned.GetSize()[::-1], bool), Click(point))
    there = sitk.GetImageFromArray(added.astype(np.uint8))
    there.CopyInformation(image)
    assert (sitk.GetArrayFromImage(stored(there)) != elsewhere).mean() < 1e-4

    # A negative click takes the same away from a mask that is everywhere; an earlier click of the other kind stays.
    removed, _ = by_sam3(clicks, image, ~nothing, Click(point, positive=False))
    assert np.array_equal(~removed, added)
    other = image.TransformIndexToPhysicalPoint([int(i) for i in np.argwhere(added)[0][::-1]])
    try:
        again, _ = by_sam3(clicks, image, nothing, Click(point), [Click(other, positive=False)])
    except Abstains:
        again = nothing
    assert not again[tuple(np.argwhere(added)[0])]

    # A box changes nothing outside of it.
    corners = [image.TransformIndexToPhysicalPoint(index) for index in ((8, 8, 5), (40, 36, 9))]
    boxed, _ = by_sam3(clicks, image, nothing, Box(tuple(corners)))
    k, j, i = np.nonzero(boxed)
    assert len(k) and k.min() >= 5 and k.max() <= 9 and j.min() >= 8 and j.max() <= 36 and i.min() >= 8

    # The worker says the same, and has loaded the checkpoint once.
    _, task = by_sam3(clicks, image, nothing, Click(point))
    gray, asked = sitk.GetArrayFromImage(image)[task.box], {"checkpoint": str(sam3), "device": "cpu"}
    for _ in range(2):
        client.ask(task, gray, nothing[task.box], asked)
        found = answer(client)
        assert found.note == "" and np.array_equal(found.mask, added[task.box])
        hidden = sam3.rename(sam3.with_name("hidden")) if sam3.exists() else sam3.with_name("hidden")
    hidden.rename(sam3)


def test_where_sam3_has_no_answer_the_random_walker_has_and_says_why(client, tmp_path):
    image = oblique_scan()
    gray, nothing = sitk.GetArrayFromImage(image), np.zeros(image.GetSize()[::-1], bool)
    middle = image.TransformIndexToPhysicalPoint((24, 22, 7))
    for prompt in (Click(middle), Box((middle, image.TransformIndexToPhysicalPoint((34, 30, 9))))):
        task = plan(Grid.of(image), prompt, wide=True)
        client.ask(task, gray[task.box], nothing[task.box], {"checkpoint": str(tmp_path), "device": "cpu"})
        found = answer(client)
        assert "no checkpoint" in found.note or "transformers" in found.note
        near = plan(Grid.of(image), prompt)
        expected = nothing.copy()
        expected[near.box] = solve(near, gray[near.box], nothing[near.box])
        assert expected.any() and np.array_equal(found.mask, expected[task.box])


def test_whoever_asks_never_loads_a_network():
    code = ("import sys, EnsembleReviewLib.refinement.client\n"
            "sys.exit(bool({'torch', 'transformers', 'monai'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


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
