"""Segmenting with a network whose answer is known: geometry, regions, probabilities, memory, cancelling."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_files import Bands, bands_model, block_image, card_content, expected_bands, write_card

from MRISegSuiteLib.errors import BadArguments, BadInput, Cancelled, NoDevice, OutOfMemory, WrongContent
from MRISegSuiteLib.images.canonical import nearest_axes, to_canonical
from MRISegSuiteLib.models import Card, InvalidCard, inference, label_assembly
from MRISegSuiteLib.models.exporting import write_torch_export
from MRISegSuiteLib.models.inference import segment
from MRISegSuiteLib.models.windows import WindowSettings, slabs


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    return bands_model(tmp_path_factory.mktemp("bands") / "bands")


def changed(card: Card, **changes) -> Card:
    """The same model with other entries in its card."""
    return Card({**card.content, **changes}, card.folder)


def array(image):
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "ASL", "PIR", "SLA", "LIP"])
def test_every_stored_orientation_gives_the_same_voxels(bands, axes):
    """Bit-identical: the model's space is reached by permutation and flips only."""
    image = block_image()
    first = segment(image, bands)
    stored = to_canonical(image, axes)
    again = segment(stored, bands)
    assert nearest_axes(stored) == axes
    assert np.array_equal(array(first.labels), expected_bands(image))
    assert np.array_equal(array(again.labels), expected_bands(stored))
    assert again.labels.GetDirection() == stored.GetDirection()
    assert again.labels.GetOrigin() == stored.GetOrigin()
    assert again.labels.GetSpacing() == stored.GetSpacing()


RESAMPLED = {
    "channels": [
        {"name": "image", "modality": "MR", "normalization": {"kind": "upper_percentile", "high": 99.5}}
    ],
    "axes": "LIP",
    "spacing_mm": [{"min": 0.6, "max": 4.5}, 0.45, 0.45],
}  # fmt: skip


@pytest.mark.parametrize("axes", ["RAS", "ASL"])
def test_orientation_is_bit_identical_through_resampling_and_probabilities(bands, axes):
    card = changed(bands, input=RESAMPLED)
    image = block_image()
    first = segment(image, card, want_probabilities=True)
    again = segment(to_canonical(image, axes), card, want_probabilities=True)
    back = nearest_axes(image)
    assert np.array_equal(array(to_canonical(again.labels, back)), array(first.labels))
    for name, probability in first.probabilities.items():
        assert np.array_equal(array(to_canonical(again.probabilities[name], back)), array(probability))
    assert set(np.unique(array(first.labels))) == {0, 1, 2}


def test_resampling_brings_a_ball_back_to_its_place(bands):
    """A smooth ball, stored coarse and oblique, through a fine model grid: center and volume stay."""
    card = changed(bands, input={**RESAMPLED, "spacing_mm": [1.0, 0.5, 0.5]})
    image = block_image((24, 40, 44), (1.6, 0.8, 0.8))
    center = np.array(image.TransformContinuousIndexToPhysicalPoint((21.3, 18.2, 12.4)))
    points = np.stack(np.meshgrid(*[np.arange(n) for n in image.GetSize()], indexing="ij"), -1)
    places = points * np.array(image.GetSpacing()) @ np.array(image.GetDirection()).reshape(3, 3).T
    distance = np.linalg.norm(places + np.array(image.GetOrigin()) - center, axis=-1).transpose(2, 1, 0)
    ball = sitk.GetImageFromArray(np.clip(1.05 - 0.05 * distance, 0, 1).astype(np.float32))  # 0.6 at 9 mm
    ball.CopyInformation(image)
    card = changed(card, input={**card.content["input"], "channels": bands.channels})
    labels = segment(ball, card).labels
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels == 2)
    assert np.linalg.norm(np.array(shape.GetCentroid(1)) - center) < 0.1  # an eighth of a pixel
    assert shape.GetPhysicalSize(1) == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)


def test_fine_slices_are_averaged_in_groups_and_come_back(bands):
    card = changed(
        bands, input={**RESAMPLED, "channels": bands.channels, "spacing_mm": [{"min": 1.0, "max": 5.0}, None, None]}
    )
    image = sitk.GetImageFromArray(np.repeat(array(block_image((5, 20, 20), (1.5, 1, 1))), 3, 0))
    image.SetSpacing((1, 1, 0.5))
    stored = to_canonical(image, "PIL")
    stored.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))  # index k to the left, j to the feet, i to the back
    seen = []
    network = Watched(seen)
    with_network(card, network, stored)
    assert {shape[2] for shape in seen} == {4}
    labels = segment(stored, card).labels
    assert (array(labels) == expected_bands(stored)).mean() > 0.9


class Watched(Bands):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, image):
        self.seen.append(tuple(image.shape))
        return super().forward(image)


def with_network(card, network, image, **keywords):
    """Segment with a network in place of the one on disk (everything else is the real thing)."""
    network.input_size = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "load_network", lambda files: network)
        return segment(image, card, **keywords)


def test_region_of_interest_alone_is_segmented_and_nothing_else_changes(bands):
    image = block_image()
    whole = array(segment(image, bands).labels)
    index, size = (3, 5, 2), (17, 12, 8)
    inside = array(segment(image, bands, roi=(index, size)).labels)
    box = tuple(slice(i, i + s) for i, s in zip(index[::-1], size[::-1]))
    assert np.array_equal(inside[box], whole[box])
    assert inside[box].any()
    inside[box] = 0
    assert not inside.any()


@pytest.mark.parametrize(
    "roi", [((0, 0, 0), (40, 5, 5)), ((-1, 0, 0), (5, 5, 5)), ((0, 0, 0), (5, 5, 0)), ((0, 0), (5, 5))]
)
def test_a_region_outside_of_the_image_is_refused(bands, roi):
    with pytest.raises(BadInput, match="region of interest"):
        segment(block_image(), bands, roi=roi)


def test_air_around_the_body_is_not_segmented(bands):
    values = np.zeros((30, 60, 60), np.float32)
    values[8:22, 20:44, 18:40] = 0.9
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((2, 2, 2))
    seen = []
    card = changed(bands, input={**bands.content["input"], "crop": "foreground"})
    network = Watched(seen)
    prediction = with_network(card, network, image)
    assert np.array_equal(array(prediction.labels), expected_bands(image))
    everything = []
    with_network(bands, Watched(everything), image)
    assert len(seen) < 0.5 * len(everything)


def test_probabilities_sum_to_one_also_outside_of_the_region(bands):
    card = changed(bands, input=RESAMPLED)
    prediction = segment(block_image(), card, want_probabilities=True, roi=((4, 4, 3), (20, 15, 9)))
    total = sum(array(one).astype(np.float64) for one in prediction.probabilities.values())
    assert list(prediction.probabilities) == ["background", "femur", "tibia"]
    assert abs(total - 1).max() < 1e-5
    stacked = np.stack([array(one) for one in prediction.probabilities.values()])
    assert np.array_equal(stacked.argmax(0), array(prediction.labels))


def test_the_image_and_two_runs_stay_the_same(bands):
    """MONAI hands a view of the image to the network when windows go one by one."""
    image = block_image()
    before = array(image).copy()
    card = changed(bands, input=RESAMPLED, inference={"patch": [4, 16, 16], "mirror_axes": [0, 2], "batch": 1})
    runs = [segment(image, card) for _ in range(2)]
    assert np.array_equal(array(runs[0].labels), array(runs[1].labels))
    assert np.array_equal(array(image), before)


class Leans(torch.nn.Module):
    """Answers with the position along each axis: mirroring must average this away."""

    def forward(self, image):
        ramp = torch.linspace(-1, 1, image.shape[-1], device=image.device).expand_as(image)
        return torch.cat([ramp, -ramp], 1)


def test_mirrored_copies_are_averaged_along_the_declared_axes_only(bands):
    two = {"activation": "softmax", "structures": bands.structures[:2]}
    image = block_image((4, 16, 16))
    for axes, even in ([[2], True], [[0, 1], False]):
        card = changed(bands, output=two, inference={"patch": [4, 16, 16], "mirror_axes": axes})
        prediction = with_network(card, Leans(), image, want_probabilities=True)
        values = array(prediction.probabilities["femur"])
        assert (np.abs(values - 0.5).max() < 1e-6) == even


def test_several_structures_may_overlap_where_each_has_its_own_yes_or_no(bands):
    output = {
        "activation": "sigmoid",
        "structures": [{"name": "all", "channel": 0, "value": 1}, {"name": "core", "channel": 1, "value": 2}],
    }

    class Nested(torch.nn.Module):
        def forward(self, image):
            return torch.cat([image - 0.3, image - 0.6], 1) * 100

    image = block_image()
    prediction = with_network(changed(bands, output=output), Nested(), image, want_probabilities=True)
    assert np.array_equal(array(prediction.labels), expected_bands(image))
    assert prediction.names == {"all": 1, "core": 2}
    assert (array(prediction.probabilities["all"])[expected_bands(image) == 2] > 0.5).all()


def test_slabs_give_the_answer_of_one_piece(bands, monkeypatch):
    image = block_image((23, 30, 28))
    card = changed(bands, input={**RESAMPLED, "spacing_mm": [1.1, 0.5, 0.5]})
    whole = segment(image, card, want_probabilities=True)
    small = partial(WindowSettings, slab_bytes=400_000)
    monkeypatch.setattr(inference, "WindowSettings", small)
    monkeypatch.setattr(label_assembly, "_CHUNK_VOXELS", 3000)
    parts = segment(image, card, want_probabilities=True)
    settings = small(card.patch, card.overlap, "gaussian", 1, (), "cpu", "softmax", 3)
    assert len(slabs((42, 42, 40), settings)) > 3
    assert np.array_equal(array(parts.labels), array(whole.labels))
    for name in whole.probabilities:
        assert np.allclose(array(parts.probabilities[name]), array(whole.probabilities[name]), atol=1e-6)


class HungryFor(Bands):
    """Runs out of memory, with torch's own error, for windows of more than so many voxels."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, image):
        if image.numel() > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return super().forward(image)


def test_smaller_windows_are_tried_when_memory_runs_out_and_said_so(bands):
    card = changed(bands, inference={"patch": [8, 32, 32], "batch": 2, "smaller_patches": [[4, 16, 16]]})
    image = block_image()
    prediction = with_network(card, HungryFor(4 * 16 * 16), image)
    assert np.array_equal(array(prediction.labels), expected_bands(image))
    assert len(prediction.warnings) == 2
    assert "8 x 32 x 32 on cpu, 2 at a time" in prediction.warnings[0]


def test_when_nothing_fits_the_error_names_sizes_and_a_way_out(bands):
    card = changed(bands, inference={"patch": [8, 32, 32], "smaller_patches": [[4, 16, 16]]})
    with pytest.raises(OutOfMemory) as caught:
        with_network(card, HungryFor(10), block_image())
    assert "34 x 26 x 14" in str(caught.value) or "8 x 32 x 32" in str(caught.value)
    assert "4 x 16 x 16" in str(caught.value)
    assert "region of interest" in caught.value.hint


LIMITED = """
import json, resource, sys
import numpy as np, SimpleITK as sitk, torch
sys.path[:0] = sys.argv[2:]
from MRISegSuiteLib.models import Card
from MRISegSuiteLib.models.inference import segment
import monai.inferers.inferer
card = Card.read(sys.argv[1])
torch.set_num_threads(1)
image = sitk.GetImageFromArray(np.full((8, 64, 64), 0.9, np.float32))
segment(image, Card({**card.content, "inference": {"patch": [2, 16, 16]}}, card.folder))
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), used + (200 << 20)))
prediction = segment(image, card)
labels = np.unique(sitk.GetArrayFromImage(prediction.labels)).tolist()
print(json.dumps({"warnings": prediction.warnings, "labels": labels}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS")
def test_a_real_limit_on_memory_leads_to_smaller_windows(tmp_path, repository):
    """The operating system refuses the memory: torch's allocator fails for real, smaller windows succeed."""

    class Wide(Bands):
        def forward(self, image):
            wide = image.repeat(1, 2000, 1, 1, 1).mean(1, keepdim=True)
            return super().forward(wide)

    card = bands_model(tmp_path / "wide", Wide(), inference={"patch": [8, 64, 64], "smaller_patches": [[2, 16, 16]]})
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(card.folder), str(repository / "MRISegSuite")],
        capture_output=True, text=True, timeout=280, env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["labels"] == [2]
    assert len(answer["warnings"]) == 1 and "8 x 64 x 64" in answer["warnings"][0]


def test_cancelling_stops_at_the_next_window(bands):
    seen, stages = [], []

    def progress(stage, fraction):
        stages.append((stage, fraction))
        if stage == "Segmenting" and len(seen) >= 3:
            raise Cancelled("The user stopped the job.")

    with pytest.raises(Cancelled):
        with_network(bands, Watched(seen), block_image(), progress=progress)
    assert len(seen) == 3


def test_progress_grows_to_one(bands):
    fractions = []
    segment(block_image(), bands, progress=lambda stage, fraction: fractions.append(fraction))
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) > 20


def test_a_gpu_that_was_asked_for_and_is_not_there(bands):
    if torch.cuda.is_available():
        pytest.skip("this computer has a GPU")
    with pytest.raises(NoDevice, match="CUDA"):
        segment(block_image(), bands, device="cuda")
    assert segment(block_image(), bands, device="auto").device == "cpu"
    with pytest.raises(BadArguments):
        segment(block_image(), bands, device="tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_answer_of_the_cpu(bands):
    card = changed(bands, input=RESAMPLED)
    on_gpu, on_cpu = (segment(block_image(), card, device=device) for device in ("cuda", "cpu"))
    assert on_gpu.device == "cuda"
    assert (array(on_gpu.labels) == array(on_cpu.labels)).mean() > 0.999


def test_images_that_do_not_fit_are_refused(bands):
    with pytest.raises(WrongContent, match="3D"):
        segment(sitk.Image(5, 5, sitk.sitkFloat32), bands)
    with pytest.raises(BadInput, match="1 channels"):
        segment([block_image(), block_image()], bands)
    broken = array(block_image()).copy()
    broken[3, 4, 5] = np.nan
    with pytest.raises(WrongContent, match="NaN"):
        segment(sitk.GetImageFromArray(broken), bands)
    with pytest.raises(WrongContent, match="same value"):
        zscore = {"name": "image", "modality": "MR", "normalization": {"kind": "zscore"}}
        card = changed(bands, input={**RESAMPLED, "channels": [zscore]})
        segment(sitk.GetImageFromArray(np.ones((8, 8, 8), np.float32)), card)


def test_a_card_that_does_not_fit_its_network_is_refused(bands, tmp_path):
    more = bands.structures + [{"name": "patella", "channel": 3, "value": 3}]
    with pytest.raises(InvalidCard, match="3 channels"):
        segment(block_image(), changed(bands, output={"activation": "softmax", "structures": more}))
    fixed = bands_model(tmp_path / "fixed", free_axes=(0,), inference={"patch": [4, 24, 24]})
    with pytest.raises(InvalidCard, match="any, 1, 4, 16, 16"):
        segment(block_image(), fixed)
    fits = {"patch": [4, 16, 16], "smaller_patches": [[2, 16, 16]]}
    with pytest.raises(InvalidCard, match="any, 1, 4, 16, 16"):
        segment(block_image(), changed(fixed, inference=fits))
    assert segment(block_image(), changed(fixed, inference={"patch": [4, 16, 16]})).names == fixed.names


def test_two_channels_in_the_order_of_the_card(tmp_path):
    class Second(Bands):
        def forward(self, image):
            return super().forward(image[:, 1:2])

    write_torch_export(Second().eval(), torch.rand(2, 2, 4, 16, 16), tmp_path / "model.pt2", (0,))
    content = card_content("torch_export", tmp_path, ["model.pt2"])
    rule = {"kind": "none"}
    content["input"]["channels"] = [
        {"name": name, "modality": "MR", "normalization": rule} for name in ("echo 1", "echo 2")
    ]
    card = write_card(tmp_path, content)
    first, second = block_image(seed=1), block_image(seed=2)
    assert np.array_equal(array(segment([first, second], card).labels), expected_bands(second))
    assert np.array_equal(array(segment(sitk.Compose(first, second), card).labels), expected_bands(second))
