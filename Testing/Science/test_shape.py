"""Shape models: distances, fits of bones whose numbers are known, scores, and the layout of published checkpoints."""

import io
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from KneeSegLib.anatomy import canonical_knee
from KneeSegLib.measure import MeasureOptions, measure_knee
from KneeSegLib.registration import Similarity
from KneeSegLib.shape.fit import fit_shape, model_surfaces, to_unit_size
from KneeSegLib.shape.linear import LinearShapeModel
from KneeSegLib.shape.score import OtherLatentSpace, ScoreVectors, bscore, shape_distance
from KneeSegLib.shape.stage import choose_model, fit_knee_shape, read_model
from KneeSegLib.shape.target import PlacedTarget, ShapeTarget, SignedDistance, Surface, shape_target
from KneeSegLib.virtual_knee.anatomy_labels import CANONICAL_DIRECTION, TARGET_NAMES
from KneeSegLib.virtual_knee.shape_model import ShapeModel as WholeKnee
from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.meshes.polydata import to_arrays
from MRISegSuiteLib.meshes.surfaces import level_surface
from MRISegSuiteLib.models import Registry
from MRISegSuiteLib.models.verified_files import file_entry

HASH, OTHER_HASH = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def linear():
    return read_model(choose_model("femur-shape-linear"))[0]


def ball(radius: float) -> Surface:
    grid = np.stack(np.meshgrid(*[np.arange(-30, 31.0)] * 3, indexing="ij"), -1)
    return Surface(*level_surface(np.linalg.norm(grid, axis=-1) - radius, 1.0, np.full(3, -30.0)))


def bone_of(model, weights, pose=lambda points: points) -> ShapeTarget:
    """A bone that the model itself made, somewhere in a knee."""
    bone, joint = (Surface(pose(s.points), s.triangles) for s in model_surfaces(model, weights))
    return ShapeTarget(bone, joint, "articular", 1e3)


def test_signed_distance_is_that_of_a_ball():
    points = np.random.default_rng(0).uniform(-28, 28, (500, 3))
    found = SignedDistance(ball(20.0))(points)
    assert found == pytest.approx(np.linalg.norm(points, axis=1) - 20, abs=0.05)


@settings(max_examples=6, deadline=None)
@given(
    weights=st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6),
    turn=st.tuples(*[st.floats(-12, 12)] * 3),
    shift=st.tuples(*[st.floats(-40, 40)] * 3),
    size=st.floats(0.85, 1.2),
)
def test_a_bone_of_the_model_is_found_again_wherever_it_lies_and_however_large_it_is(
    linear, weights, turn, shift, size
):
    wanted = np.zeros(linear.size)
    wanted[:6] = weights
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    target = bone_of(linear, wanted, lambda points: size * points @ rotation.T + shift)
    fit = fit_shape(linear, target)
    assert max(fit.assd) < 0.3
    # Part of a weight can hide in size and place (there is more than one way to be wide), never much of it.
    assert np.abs(fit.numbers[:6] - wanted[:6]).max() < 0.75
    still = fit_shape(linear, bone_of(linear, wanted))
    assert fit.numbers == pytest.approx(still.numbers, abs=0.15)
    assert fit.pose.scale == pytest.approx(size * still.pose.scale, rel=0.01)


def test_the_same_seed_gives_the_same_fit_to_the_last_bit(linear):
    target = bone_of(linear, np.eye(linear.size)[1])
    one, two = fit_shape(linear, target, seed=3), fit_shape(linear, target, seed=3)
    assert (one.numbers == two.numbers).all() and one.assd == two.assd


def test_the_error_shows_where_a_bone_reaches_beyond_the_model(linear):
    target = bone_of(linear, np.zeros(linear.size))
    points = target.bone.points.copy()
    tip = points[np.argmin(points[:, 2])]
    near = np.linalg.norm(points - tip, axis=1) < 6
    points[near] -= (0, 0, 3.0)  # an osteophyte of 3 mm
    fit = fit_shape(linear, ShapeTarget(Surface(points, target.bone.triangles), target.second, "articular", 1e3))
    error = fit.error(points)
    assert np.nanmedian(error[near]) > 1.5 and np.nanmedian(np.abs(error[~near])) < 0.3


def test_too_short_a_shaft_is_refused_and_a_short_one_told(linear):
    whole = bone_of(linear, np.zeros(linear.size))
    short = ShapeTarget(whole.bone, whole.second, "articular", linear.cut - 15)
    assert "leaves the image" in fit_shape(linear, short).warnings[0]
    with pytest.raises(ValueError, match="too little"):
        fit_shape(linear, ShapeTarget(whole.bone, whole.second, "articular", linear.cut - 40))


def test_a_model_file_is_read_as_written_and_anything_else_is_refused(linear, tmp_path):
    linear.write(tmp_path / "a.npz")
    again = LinearShapeModel.read(tmp_path / "a.npz")
    assert again.mean == pytest.approx(linear.mean, abs=1e-3) and again.modes == pytest.approx(linear.modes, abs=0.05)
    for content in (b"", b"PK\x03\x04 nothing", (tmp_path / "a.npz").read_bytes()[:5000]):
        with pytest.raises(ValueError, match="no file of arrays"):
            LinearShapeModel.read(content)
    np.savez(tmp_path / "b.npz", mean=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        LinearShapeModel.read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", mean=np.zeros(3))
    with pytest.raises(ValueError, match="no linear shape model"):
        LinearShapeModel.read(tmp_path / "c.npz")


# -- scores

def vectors(direction, sha256=None) -> bytes:
    record = {"bscore_vector": list(direction), "mean_healthy": -0.5, "std_healthy": 0.8}
    return json.dumps(record | ({"model_sha256": sha256} if sha256 else {})).encode()


def test_bscore_is_the_published_definition():
    rng = np.random.default_rng(2)
    healthy, ill = rng.normal(0, 1, (40, 8)), rng.normal(0.7, 1, (40, 8))
    direction = ill.mean(0) - healthy.mean(0)
    direction /= np.linalg.norm(direction)
    projected = healthy @ direction
    record = {
        "bscore_vector": direction.tolist(), "mean_healthy": projected.mean(), "std_healthy": projected.std(ddof=1),
    }  # fmt: skip
    read = ScoreVectors.read(json.dumps(record).encode(), HASH, "v.json")
    scores = [bscore(one, read, HASH) for one in healthy]
    assert np.mean(scores) == pytest.approx(0, abs=1e-12) and np.std(scores, ddof=1) == pytest.approx(1)
    assert np.mean([bscore(one, read, HASH) for one in ill]) > 1


def test_a_bscore_in_another_latent_space_is_refused():
    read = ScoreVectors.read(vectors([1.0, 0.0]), HASH, "v.json")
    with pytest.raises(OtherLatentSpace, match="do not belong"):
        bscore(np.zeros(2), read, OTHER_HASH)
    with pytest.raises(OtherLatentSpace, match="2 numbers.*3 numbers"):
        bscore(np.zeros(3), read, HASH)
    with pytest.raises(OtherLatentSpace, match="belong to the shape model bbbb"):
        ScoreVectors.read(vectors([1.0], OTHER_HASH), HASH, "v.json")


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{", b'{"bscore_vector": "x"}', vectors([float("nan")]),
    json.dumps({"bscore_vector": [1.0], "mean_healthy": 0, "std_healthy": 0}).encode(),
])  # fmt: skip
def test_what_holds_no_vectors_is_refused(content):
    with pytest.raises(BadInput, match="holds no BScore vectors"):
        ScoreVectors.read(content, HASH, "v.json")


def test_shape_distance_is_one_for_a_usual_bone():
    rng = np.random.default_rng(4)
    found = [shape_distance(rng.normal(0, 3, 32), np.full(32, 3.0)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(1, abs=0.05) and shape_distance(np.zeros(3), np.ones(3)) == 0


# -- published checkpoints

def published_state(latent=8, channels=(8, 8), features=4, hidden=(16,), surfaces=2, seed=0) -> dict:
    """A checkpoint in the published layout, small: names and shapes as their code writes them."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    nn = torch.nn
    layers = []
    for number, count in enumerate(channels):
        before = channels[max(number - 1, 0)]
        layers += [nn.ConvTranspose2d(before, count, 3, 2, 1, 1), nn.LayerNorm([count] + [2 ** (number + 2)] * 2)]
    layers.append(nn.Sequential(nn.Conv2d(channels[-1], 3 * features, 3, padding=1), nn.Tanh()))
    state = {f"vae_decoder.fc.{n}": p for n, p in nn.Linear(latent, 4 * channels[0]).named_parameters()}
    for copy in ("layers", "decoder"):
        for number, layer in enumerate(layers):
            state |= {f"vae_decoder.{copy}.{number}.{name}": p for name, p in layer.named_parameters()}
    widths = (features + 3, *hidden, surfaces)
    for number, (a, b) in enumerate(zip(widths, widths[1:])):
        layer = nn.Linear(a, b)
        state[f"sdf_decoder.layers.{number}.bias"] = layer.bias
        state[f"sdf_decoder.layers.{number}.weight_g"] = torch.rand(b, 1) + 0.5
        state[f"sdf_decoder.layers.{number}.weight_v"] = layer.weight
    return {name: tensor.detach() for name, tensor in state.items()}


def direct(state, latent, points):
    """The published decoder, written out once more without any of our code's parts."""
    torch = pytest.importorskip("torch")
    nn = torch.nn.functional
    x = (state["vae_decoder.fc.weight"] @ latent + state["vae_decoder.fc.bias"]).reshape(1, -1, 2, 2)
    for n in (0, 2):
        x = nn.conv_transpose2d(x, state[f"vae_decoder.layers.{n}.weight"], state[f"vae_decoder.layers.{n}.bias"],
                                stride=2, padding=1, output_padding=1)  # fmt: skip
        flat = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
        x = flat * state[f"vae_decoder.layers.{n + 1}.weight"] + state[f"vae_decoder.layers.{n + 1}.bias"]
    x = torch.tanh(nn.conv2d(x, state["vae_decoder.layers.4.0.weight"], state["vae_decoder.layers.4.0.bias"],
                             padding=1))[0]  # fmt: skip
    features = x.shape[0] // 3
    result = []
    for point in points:
        total = 0
        for plane, (a, b) in zip(x.split(features), ((0, 2), (1, 2), (0, 1))):
            column, row = (((point[axis] / (1.1 + 1e-5)).clamp(-1, 1) + 1) / 2 * (x.shape[2] - 1) for axis in (a, b))
            c, r = min(int(column), x.shape[2] - 2), min(int(row), x.shape[1] - 2)
            u, v = column - c, row - r
            total = total + (
                plane[:, r, c] * (1 - u) * (1 - v) + plane[:, r, c + 1] * u * (1 - v)
                + plane[:, r + 1, c] * (1 - u) * v + plane[:, r + 1, c + 1] * u * v
            )  # fmt: skip
        y = torch.cat([total, point])
        for n in range(2):
            v, g = state[f"sdf_decoder.layers.{n}.weight_v"], state[f"sdf_decoder.layers.{n}.weight_g"]
            y = (g * v / v.norm(dim=1, keepdim=True)) @ y + state[f"sdf_decoder.layers.{n}.bias"]
            y = torch.relu(y) if n == 0 else torch.tanh(y)
        result.append(y)
    return torch.stack(result)


def test_a_published_checkpoint_decodes_as_its_own_code_would():
    torch = pytest.importorskip("torch")
    from KneeSegLib.shape.triplanar import from_published

    state = published_state()
    decoder = from_published(state)
    latent, points = torch.randn(8), torch.rand(40, 3) * 2.4 - 1.2
    with torch.no_grad():
        found = decoder.distances(decoder.planes(latent[None]), points[None])[0]
        assert (found - direct(state, latent, points)).abs().max() < 1e-5


def small_published_model(linear) -> bytes:
    """A checkpoint in the published layout, trained for seconds on four of the linear model's femora."""
    torch = pytest.importorskip("torch")
    from KneeSegLib.shape.triplanar import TriplanarDecoder, from_published

    state = published_state(8, (24, 24, 16, 16), 12, (48, 48))
    names = {f"sdf_decoder.layers.{n}": f"read.{n}" for n in range(3)} | {"vae_decoder.fc": "first"}
    names |= {f"vae_decoder.layers.{2 * n + m}": f"{kind}.{n}" for n in range(4) for m, kind in enumerate(
        ("grow", "norm"))} | {"vae_decoder.layers.8.0": "last"}  # fmt: skip
    weights = {name: t.clone().requires_grad_() for name, t in from_published(state).weights.items()}
    decoder = TriplanarDecoder(weights)
    points, truth = [], []
    for mode, weight in ((0, 1.5), (0, -1.5), (1, 1.5), (1, -1.5)):
        target = bone_of(linear, weight * np.eye(linear.size)[mode])
        # Right bones in LPS axes, centered on the mean of their surface, 1 in radius.
        turned = ShapeTarget(*(Surface(s.points * (-1, -1, 1), s.triangles) for s in target.surfaces),
                             "cartilage", 1e3)  # fmt: skip
        pose, cut = to_unit_size(Similarity(np.eye(3), np.zeros(3)), turned)
        placed = PlacedTarget(turned, pose, cut)
        near = placed.sample(20000, 0).points
        far = np.random.default_rng(0).uniform(-1.1, 1.1, (5000, 3))
        where = np.random.default_rng(1).permutation(np.concatenate([near, far]))
        points.append(torch.from_numpy(where).float())
        truth.append(torch.from_numpy(placed.distances(where)).float().clamp(-0.1, 0.1))
    latents = torch.randn(4, 8).mul(0.1).requires_grad_()
    optimizer = torch.optim.Adam([*weights.values(), latents], lr=5e-3)
    for _ in range(250):
        pick = torch.randint(min(map(len, points)), (2000,))
        found = decoder.distances(decoder.planes(latents), torch.stack([p[pick] for p in points]))
        loss = (found.clamp(-0.1, 0.1) - torch.stack([t[pick] for t in truth])).abs().mean()
        loss = loss + 1e-3 * (latents**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, ours in names.items():
        state[f"{name}.bias"] = weights[f"{ours}.bias"].detach()
        if name.startswith("sdf"):
            direction = weights[f"{ours}.weight"].detach()
            state[f"{name}.weight_v"], state[f"{name}.weight_g"] = direction, direction.norm(dim=1, keepdim=True)
        else:
            state[f"{name}.weight"] = weights[f"{ours}.weight"].detach()
    stream = io.BytesIO()
    torch.save({"epoch": 250, "model": state, "optimizer": {}}, stream)
    return stream.getvalue()


def test_a_published_checkpoint_is_fitted_wherever_the_bone_lies(linear):
    pytest.importorskip("torch")
    from KneeSegLib.shape.neural import read_published

    model = read_published(small_published_model(linear))
    wanted = np.eye(linear.size)[0]
    turn = Rotation.from_euler("xyz", (8, -5, 10), degrees=True).as_matrix()
    fits = [
        fit_shape(model, bone_of(linear, wanted, lambda points, scale=scale: scale * points @ turn.T + (90, -40, 20)))
        for scale in (1.0, 1.0, 1.15)
    ]
    assert max(fits[0].assd) < 2.0  # mm; a network of seconds
    assert (fits[0].numbers == fits[1].numbers).all()
    assert fits[2].pose.scale == pytest.approx(1.15 * fits[0].pose.scale, rel=0.01)
    assert np.abs(fits[2].numbers - fits[0].numbers).max() < 0.2 * np.abs(fits[0].numbers).max() + 0.02

    for name in ("read.2.weight", "read.2.bias"):  # a model of the bone alone
        model.decoder.weights[name] = model.decoder.weights[name][:1]
    model.decoder = type(model.decoder)(model.decoder.weights)
    alone = fit_shape(model, bone_of(linear, wanted))
    assert len(alone.surfaces) == len(alone.assd) == 1 and alone.assd[0] < 2.0


def test_the_neural_model_fits_as_well_as_the_linear_one_and_the_same_each_time(linear):
    pytest.importorskip("torch")
    neural = read_model(choose_model("femur-shape-neural"))[0]
    assert neural.size == linear.size
    target = bone_of(linear, 0.7 * np.eye(linear.size)[2])
    one, two = fit_shape(neural, target, seed=5), fit_shape(neural, target, seed=5)
    assert (one.numbers == two.numbers).all() and max(one.assd) < 0.6


def test_other_layouts_and_code_in_a_checkpoint_are_refused():
    torch = pytest.importorskip("torch")
    from KneeSegLib.shape.neural import read_published

    def saved(content) -> bytes:
        stream = io.BytesIO()
        torch.save(content, stream)
        return stream.getvalue()

    state = published_state()
    with pytest.raises(ValueError, match="by batch"):
        read_published(saved({"model": state | {"vae_decoder.layers.1.running_mean": torch.zeros(8)}}))
    with pytest.raises(ValueError, match="not known here"):
        read_published(saved({"model": state | {"something.else": torch.zeros(2)}}))
    with pytest.raises(ValueError):
        read_published(saved({"model": {n: t for n, t in state.items() if "layers.0" not in n}}))
    with pytest.raises(ValueError, match="not summed"):
        read_published(saved({"model": published_state(features=3) | {
            n: t for n, t in published_state().items() if n.startswith("sdf_decoder")}}))  # fmt: skip
    with pytest.raises(ValueError, match="running code"):
        read_published(saved({"model": state, "optimizer": print}))
    with pytest.raises(ValueError, match="running code"):
        read_published(b"nothing")


# -- the stage

@pytest.fixture(scope="module")
def measured():
    """The measured mean knee of the packaged shape model of whole knees."""
    image = sitk.GetImageFromArray(WholeKnee.read().labels([0.0], (1.4, 0.8, 0.8)))
    image.SetSpacing((0.8, 0.8, 1.4))
    image.SetDirection(CANONICAL_DIRECTION)
    return measure_knee(image, TARGET_NAMES, options=MeasureOptions(only_measure=True))


def own_model(folder, content: bytes):
    """The linear model once more as a user's own, with BScore vectors beside it."""
    embedded = Registry().get("femur-shape-linear")
    card = json.loads(json.dumps(embedded.content)) | {"id": "own-shape"}
    folder.mkdir()
    shutil.copy(embedded.path_of("shape.npz"), folder / "shape.npz")
    (folder / "vectors.json").write_bytes(content)
    card["files"].append(file_entry(folder / "vectors.json", "vectors.json"))
    card["backend_options"]["bscore"] = "vectors.json"
    (folder / "model.json").write_text(json.dumps(card))
    return Registry().add(folder)


def test_a_knee_gets_its_shape_and_a_bscore_only_from_a_model_that_brings_vectors(measured, tmp_path, monkeypatch):
    monkeypatch.setenv("MRISEG_MODELS", str(tmp_path / "models"))
    plain = fit_knee_shape(measured, choose_model(None))
    names = {row["name"] for row in plain.rows}
    assert names == {"shape_ASSD", "shape_articular_ASSD", "shape_distance"}
    assert "Osteoarthritis Initiative" in next(r["method"] for r in plain.rows if r["name"] == "shape_distance")
    error = plain.point_data["femur"]["shape_error_mm"]
    assert len(error) == len(measured.bones["femur"].points) and set(plain.surfaces) == {"femur", "femur_articular"}

    direction = np.eye(32)[1]
    own_model(tmp_path / "own", vectors(direction))
    scored = fit_knee_shape(measured, choose_model("own-shape"))
    score = next(row["value"] for row in scored.rows if row["name"] == "BScore")
    assert score == pytest.approx((scored.record["numbers"][1] + 0.5) / 0.8)
    assert scored.record["numbers"] == plain.record["numbers"]


def test_vectors_of_another_model_are_refused_when_the_knee_is_scored(measured, tmp_path, monkeypatch):
    monkeypatch.setenv("MRISEG_MODELS", str(tmp_path / "models"))
    own_model(tmp_path / "own", vectors(np.eye(512)[0]))
    with pytest.raises(OtherLatentSpace, match="512 numbers.*32 numbers"):
        fit_knee_shape(measured, choose_model("own-shape"))


def test_a_left_knee_gets_the_same_shape_as_its_mirror_image(measured):
    image = sitk.GetImageFromArray(WholeKnee.read().labels([0.0], (1.4, 0.8, 0.8)))
    image.SetSpacing((0.8, 0.8, 1.4))
    direction = np.array(CANONICAL_DIRECTION).reshape(3, 3) * (1, 1, -1)  # slices run to the left now
    image.SetDirection(direction.ravel().tolist())
    left = measure_knee(image, TARGET_NAMES, options=MeasureOptions(only_measure=True))
    assert (measured.side, left.side) == ("right", "left")
    one, two = (fit_knee_shape(knee, choose_model(None)) for knee in (measured, left))
    assert one.record["numbers"] == pytest.approx(two.record["numbers"], abs=1e-6)
    points = [to_arrays(results.surfaces["femur"])[0] for results in (one, two)]
    assert points[0] * (-1, 1, 1) == pytest.approx(points[1], abs=1e-3)


def test_held_out_real_femora_are_told_to_half_a_millimeter(shared_data):
    """One femur that neither model has seen: what the cards say of twelve."""
    path = shared_data / "knee_labels" / "akoa_9282203_00m_seg.nii.gz"
    names = {"femur": [1, 7], "femoral_cartilage": 2, "tibia": [3, 8], "tibial_cartilage": 4, "patella": [5, 9]}
    target = shape_target(canonical_knee(sitk.ReadImage(str(path)), names))
    fit = fit_shape(read_model(choose_model(None))[0], target)
    assert max(fit.assd) < 0.5
