"""Shape models: distances, fits of bones whose numbers are known, scores, and the layout of published checkpoints."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from KneeSegLib.shape.fit import fit_shape, model_surfaces
from KneeSegLib.shape.linear import LinearShapeModel
from KneeSegLib.shape.score import OtherLatentSpace, ScoreVectors, bscore, shape_distance
from KneeSegLib.shape.stage import choose_model, read_model
from KneeSegLib.shape.target import ShapeTarget, SignedDistance, Surface
from MRISegSuiteLib.errors import BadInput
from MRISegSuiteLib.meshes.surfaces import level_surface

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
