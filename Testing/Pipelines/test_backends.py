"""Each kind of model file end to end: real files, a known answer, and files that try to run code."""

import io
import json
import os
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_files import NAMES, Bands, bands_model, block_image, card_content, expected_bands, write_card

from MRISegSuiteLib.errors import ModelMissing, UnsafeModel
from MRISegSuiteLib.images.canonical import to_canonical
from MRISegSuiteLib.models import Card, InvalidCard, Registry
from MRISegSuiteLib.models.backends import monai_bundle, nnunet_v2, torch_export, torchscript
from MRISegSuiteLib.models.backends.state_dicts import read_checkpoint
from MRISegSuiteLib.models.drafts import draft_card
from MRISegSuiteLib.models.inference import segment
from MRISegSuiteLib.models.nnunet_plans import Plans, label_table
from MRISegSuiteLib.models.nnunet_preprocessing import normalized_channels, resampled


class RunsCode:
    """A pickle that leaves a file behind when it is really unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


@pytest.fixture
def mark(tmp_path):
    """Where code that ran would have left a folder; checked afterwards."""
    path = tmp_path / "code-ran"
    yield path
    assert not path.exists(), "code from a model file was executed"


def array(image):
    return sitk.GetArrayFromImage(image)


def assert_knows_the_bands(card):
    """The exact answer on an oblique volume, stored in two ways."""
    image = block_image()
    stored = to_canonical(image, "ASL")
    assert np.array_equal(array(segment(image, card).labels), expected_bands(image))
    assert np.array_equal(array(segment(stored, card).labels), expected_bands(stored))


# torch export ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return bands_model(tmp_path_factory.mktemp("export") / "bands")


def rewritten(content: bytes, change) -> bytes:
    """A .pt2 archive with changed entries: ``change(name, data)`` gives the new data, or None to leave it out."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(written, "w") as target:
        for entry in source.namelist():
            data = change(entry.split("/", 1)[1], source.read(entry))
            if data is not None:
                target.writestr(entry, data)
    return written.getvalue()


def with_program(content: bytes, change) -> bytes:
    def entry(name, data):
        if name != "models/model.json":
            return data
        program = json.loads(data)
        change(program["graph_module"]["graph"], program)
        return json.dumps(program).encode()

    return rewritten(content, entry)


def test_torch_export_end_to_end(exported):
    assert_knows_the_bands(exported)


def test_an_export_holds_nothing_of_the_computer_it_came_from(exported):
    content = exported.path_of("model.pt2").read_bytes()
    assert b"site-packages" not in content and b".py" not in content
    assert len(content) < 60_000
    assert torch.export.load(io.BytesIO(content)).module()(torch.ones(1, 1, 4, 16, 16)).argmax(1).unique() == 2


def test_real_networks_give_torchs_own_answer_bit_for_bit(tmp_path):
    from monai.networks.nets import UNet

    from MRISegSuiteLib.models.exporting import write_torch_export

    torch.manual_seed(0)
    network = UNet(3, 1, 4, (4, 8), (2,), num_res_units=1, norm="batch").eval()
    write_torch_export(network, torch.rand(2, 1, 8, 16, 16), tmp_path / "unet.pt2")
    window = torch.rand(3, 1, 8, 16, 16)
    ours = torch_export.read_exported((tmp_path / "unet.pt2").read_bytes(), "unet.pt2")
    theirs = torch.export.load(tmp_path / "unet.pt2").module()
    assert ours.input_size == (None, 1, 8, 16, 16)
    with torch.inference_mode():
        assert torch.equal(ours(window), network(window))
        assert torch.equal(ours(window), theirs(window))


def test_sample_inputs_are_never_unpickled(exported, mark):
    """torch.export.load would run this: it loads the sample inputs of every archive."""
    evil = io.BytesIO()
    torch.save(((RunsCode(mark),), {}), evil)
    content = exported.path_of("model.pt2").read_bytes()
    content = rewritten(content, lambda n, d: evil.getvalue() if n == "data/sample_inputs/model.pt" else d)
    network = torch_export.read_exported(content, "evil.pt2")
    assert network(torch.ones(1, 1, 4, 16, 16)).argmax(1).unique() == 2


def test_the_trap_is_a_real_one(exported, tmp_path):
    """The same archive does run its code in torch.export.load of torch 2.13, which is why it is not used."""
    evil = io.BytesIO()
    torch.save(((RunsCode(tmp_path / "ran"),), {}), evil)
    content = exported.path_of("model.pt2").read_bytes()
    content = rewritten(content, lambda n, d: evil.getvalue() if n == "data/sample_inputs/model.pt" else d)
    try:
        torch.export.load(io.BytesIO(content))
    except Exception as error:
        print("torch refuses it:", error)
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) == (2, 13):
        assert (tmp_path / "ran").is_dir()


def pickled_weight(name, data):
    if name != "data/weights/model_weights_config.json":
        return data
    return json.dumps(
        {"config": {"w": {"path_name": "w0", "is_param": True, "use_pickle": True, "tensor_meta": None}}}
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (pickled_weight, "as a pickle"),
        (lambda n, d: {"data/weights/model_weights_config.json": None}.get(n, d), "weights_config"),
        (lambda n, d: None if n == "models/model.json" else d, "no exported program"),
        (lambda n, d: b"big" if n == "byteorder" else d, "big-endian"),
        (lambda n, d: b"{" if n == "models/model.json" else d, "cannot|read"),
    ],
)
def test_exports_that_need_more_than_json_and_bytes_are_refused(tmp_path, mark, change, reason):
    from MRISegSuiteLib.models.exporting import write_torch_export

    write_torch_export(torch.nn.Conv3d(1, 2, 1).eval(), torch.rand(2, 1, 4, 8, 8), tmp_path / "c.pt2")
    content = rewritten((tmp_path / "c.pt2").read_bytes(), change)
    with pytest.raises((UnsafeModel, InvalidCard), match=reason):
        torch_export.read_exported(content, "bad.pt2")


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system", "torch.load", "torch.hub.load", "_operator.methodcaller", "math.pow.__self__.eval",
        "torch.ops.aten.from_file.default", "torch.ops.aten.__class__.mro", "torch.ops.prim.device.default",
        "torch.ops.load_library", "#torch.evil", "builtins.eval", "torch.ops.higher_order.cond",
    ],
)  # fmt: skip
def test_a_graph_may_call_operators_on_tensors_only(exported, mark, target):
    def change(graph, program):
        graph["nodes"][0]["target"] = target
        graph["nodes"][0]["inputs"] = [{"name": "command", "arg": {"as_string": f"mkdir {mark}"}, "kind": 1}]

    content = with_program(exported.path_of("model.pt2").read_bytes(), change)
    with pytest.raises((UnsafeModel, InvalidCard)):
        torch_export.read_exported(content, "evil.pt2")


def test_expressions_guards_and_names_are_not_evaluated(exported, mark):
    """Where torch.export.load calls eval or exec: sizes (sympify), guards, names of nodes in generated code."""
    code = f"__import__('os').mkdir({str(mark)!r})"

    def change(graph, program):
        program["guards_code"] = [code]
        for value in graph["tensor_values"].values():
            value["sizes"][0] = {"as_expr": {"expr_str": code, "hint": None}}
        program["range_constraints"] = {code: {"min_val": 0, "max_val": 8}}
        graph["nodes"][0]["name"] = f"x = {code}"

    content = with_program(exported.path_of("model.pt2").read_bytes(), change)
    network = torch_export.read_exported(content, "evil.pt2")
    assert network(torch.ones(1, 1, 4, 16, 16)).argmax(1).unique() == 2


def test_tensors_cannot_reach_outside_of_their_bytes(tmp_path):
    from MRISegSuiteLib.models.exporting import write_torch_export

    def change(name, data):
        if name != "data/weights/model_weights_config.json":
            return data
        config = json.loads(data)
        for entry in config["config"].values():
            entry["tensor_meta"]["sizes"] = [{"as_int": 1 << 20}]
            entry["tensor_meta"]["strides"] = [{"as_int": 1}]
        return json.dumps(config)

    write_torch_export(torch.nn.Conv3d(1, 2, 1).eval(), torch.rand(2, 1, 4, 8, 8), tmp_path / "c.pt2")
    with pytest.raises(InvalidCard, match="do not fit"):
        torch_export.read_exported(rewritten((tmp_path / "c.pt2").read_bytes(), change), "bad.pt2")


def test_a_file_that_is_no_export(tmp_path):
    for content in (b"", b"hello", pickle.dumps({"a": 1})):
        with pytest.raises(InvalidCard):
            torch_export.read_exported(content, "bad.pt2")


# TorchScript -----------------------------------------------------------------------------------------------


def scripted(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), path)
    return path


def test_torchscript_end_to_end(tmp_path):
    scripted(Bands(), tmp_path / "bands.ts")
    assert_knows_the_bands(write_card(tmp_path, card_content("torchscript", tmp_path, ["bands.ts"])))


class ReadsFile(torch.nn.Module):
    def forward(self, image):
        return image + torch.from_file("/etc/passwd", False, 4, dtype=torch.uint8).float().mean()


class WritesFile(torch.nn.Module):
    def forward(self, image):
        torch.save(image, "/tmp/written-by-a-model")
        return image


@pytest.mark.parametrize("module", [ReadsFile, WritesFile])
def test_torchscript_that_touches_files_is_refused_before_it_is_loaded(tmp_path, module, monkeypatch):
    try:
        content = scripted(module(), tmp_path / "evil.ts").read_bytes()
    except RuntimeError as error:
        pytest.skip(f"torch cannot script this: {str(error).splitlines()[0]}")
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: pytest.fail("it was loaded"))
    with pytest.raises(UnsafeModel, match="reads or writes files"):
        torchscript.read_scripted(content, "evil.ts")


def test_a_pickle_is_no_torchscript(tmp_path, mark):
    torch.save(RunsCode(mark), tmp_path / "evil.ts")
    for content in ((tmp_path / "evil.ts").read_bytes(), pickle.dumps(RunsCode(mark)), b""):
        with pytest.raises(InvalidCard):
            torchscript.read_scripted(content, "evil.ts")


# MONAI bundle ----------------------------------------------------------------------------------------------

UNET = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": "@classes", "channels": [4, 8],
    "strides": [2], "num_res_units": 0,
}  # fmt: skip
METADATA = {
    "version": "0.3.1", "name": "A bundle", "description": "what it does", "intended_use": "tests",
    "network_data_format": {
        "inputs": {"image": {"modality": "MR", "channel_def": {"0": "image"}, "spatial_shape": [4, 16, 16]}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "femur", "2": "tibia"}}},
    },
}  # fmt: skip


def bundle(folder, network=UNET, weights=None, **configuration):
    """A bundle as MONAI's tools lay it out."""
    from monai.networks.nets import UNet

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    inference = {
        "imports": ["$import os"],
        "classes": 3,
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "LIP"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 0.7, 0.7], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 2, "b_min": 0, "b_max": 2,
                 "clip": True},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [4, 16, 16], "overlap": 0.5, "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "softmax": True}]},
    }  # fmt: skip
    inference.update(configuration)
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    torch.manual_seed(1)
    net = UNet(3, 1, 3, (4, 8), (2,), num_res_units=0).eval()
    torch.save({"model": net.state_dict()} if weights is None else weights, folder / "models" / "model.pt")
    return net


def finished(draft):
    """A draft with what a person has to write."""
    words = {"task": "knee", "license": "x", "terms": "x", "seen_on_real_scans": "x", "intended_use": "x"}
    for key, word in words.items():
        draft[key] = word if str(draft[key]).startswith("TO FILL") else draft[key]
    draft["training"]["procedure"] = "x"
    return draft


def test_monai_bundle_end_to_end_from_a_drafted_card(tmp_path):
    network = bundle(tmp_path / "bundle")
    draft = finished(draft_card(tmp_path / "bundle"))
    assert draft["input"]["axes"] == "LIP" and draft["input"]["spacing_mm"] == [2.0, 0.7, 0.7]
    assert draft["inference"] == {"patch": [4, 16, 16], "overlap": [0.5] * 3, "blending": "gaussian"}
    assert [entry["name"] for entry in draft["output"]["structures"]] == NAMES
    assert draft["input"]["channels"][0]["normalization"]["kind"] == "window"
    write_card(tmp_path / "bundle", draft)
    models = Registry(user_dir=tmp_path / "models")
    card = models.add(tmp_path / "bundle")
    # One window: the answer is the network's own.
    image = block_image((4, 16, 16))
    probabilities = segment(image, card, want_probabilities=True).probabilities
    with torch.no_grad():
        expected = network(torch.from_numpy(array(image))[None, None]).softmax(1)[0].numpy()
    for channel, name in enumerate(NAMES):
        assert np.abs(array(probabilities[name]) - expected[channel]).max() < 1e-5


def test_a_bundle_with_torchscript(tmp_path):
    (tmp_path / "models").mkdir()
    scripted(Bands(), tmp_path / "models" / "model.ts")
    content = card_content("monai_bundle", tmp_path, ["models/model.ts"])
    assert_knows_the_bands(write_card(tmp_path, content))


def bundle_card(folder):
    return write_card(
        folder, card_content("monai_bundle", folder, ["models/model.pt", "configs/inference.json"])
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_target_": "os.system", "command": "x"}, "not on the list"),
        ({"_target_": "my_package.UNet"}, "not on the list"),
        ({**UNET, "strides": "$__import__('os').mkdir(MARK)"}, "expression"),
        ({**UNET, "out_channels": "@device"}, "expression"),
        ({**UNET, "act": {"_target_": "os.mkdir", "path": "MARK"}}, "only plain values"),
        ({**UNET, "out_channels": "%other.json::x"}, "macro"),
        ({**UNET, "_target_": "FlexibleUNet", "pretrained": True}, "download"),
        ("$import('os')", "no network"),
    ],
)
def test_bundles_that_are_programs_are_refused(tmp_path, mark, change, reason):
    change = json.loads(json.dumps(change).replace("MARK", str(mark)))
    bundle(tmp_path / "bundle", change)
    with pytest.raises((UnsafeModel, InvalidCard), match=reason):
        segment(block_image(), bundle_card(tmp_path / "bundle"))


def test_bundle_weights_that_run_code_are_refused(tmp_path, mark):
    bundle(tmp_path / "bundle", weights={"model": {"conv": RunsCode(mark)}})
    with pytest.raises(UnsafeModel, match="plain weights"):
        segment(block_image(), bundle_card(tmp_path / "bundle"))


def test_weights_of_another_network_are_refused(tmp_path):
    bundle(tmp_path / "bundle", {**UNET, "channels": [8, 8]})
    with pytest.raises(UnsafeModel, match="not those of the network"):
        segment(block_image(), bundle_card(tmp_path / "bundle"))


def test_a_preprocessing_step_without_counterpart_is_named(tmp_path):
    steps = {"transforms": [{"_target_": "HistogramNormalized", "keys": "image"}]}
    bundle(tmp_path / "bundle", preprocessing=steps)
    with pytest.raises(InvalidCard, match="HistogramNormalized"):
        draft_card(tmp_path / "bundle")


def test_references_in_a_circle_end():
    with pytest.raises(InvalidCard, match="circle"):
        monai_bundle.plain_value("@a", {"a": "@b", "b": "@a"}, "here")


def test_a_file_that_the_card_does_not_name_is_not_read(tmp_path):
    bundle(tmp_path / "bundle")
    card = write_card(tmp_path / "bundle", card_content("monai_bundle", tmp_path / "bundle", ["models/model.pt"]))
    with pytest.raises(ModelMissing, match="inference.json"):
        segment(block_image(), card)


# nnU-Net v2 ------------------------------------------------------------------------------------------------

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        "n_stages": 2, "features_per_stage": [4, 8], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2]], "n_blocks_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1], "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}  # fmt: skip


def plans(**configuration):
    full = {
        "patch_size": [4, 16, 16], "spacing": [2.0, 0.7, 0.7], "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False], "architecture": ARCHITECTURE,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }  # fmt: skip
    return {
        "dataset_name": "Dataset500_Knee", "plans_name": "nnUNetPlans", "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2], "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 0.5, "std": 0.2, "percentile_00_5": 0.2, "percentile_99_5": 0.8}
        },
        "configurations": {
            "3d_fullres": {**full, **configuration},
            "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [2.0, 1.4, 1.4]},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }  # fmt: skip


DATASET = {
    "channel_names": {"0": "DESS"}, "labels": {"background": 0, "femur": 1, "tibia": 2}, "file_ending": ".nii.gz",
    "numTraining": 3,
}  # fmt: skip


def checkpoint(network, **more):
    """What nnU-Net's trainer saves, with numpy numbers in the log."""
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "momentum": 0.99}]},
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.6)], "ema_fg_dice": [np.float64(0.4)]},
        "_best_ema": np.float64(0.8),
        "current_epoch": 1000,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "plans": plans(), "dataset_json": DATASET},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **more,
    }


def trained_folder(folder, plans_content=None, dataset=DATASET, folds=("0",), **more):
    plans_content = plans_content or plans()
    folder = folder / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans_content))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    networks = []
    classes = len(label_table(dataset)[1])
    for fold in folds:
        torch.manual_seed(int(fold))
        network = nnunet_v2.build_network(Plans(plans(), "3d_fullres"), 1, classes).eval()
        for parameter in network.parameters():
            parameter.data = torch.randn_like(parameter) * 0.5
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint(network, **more), folder / f"fold_{fold}" / "checkpoint_final.pth")
        networks.append(network)
    return folder, networks


def nnunet_card(folder, **changes):
    draft = finished(draft_card(folder))
    draft["input"]["axes"] = "LIP"
    draft.update(changes)
    return write_card(folder, draft)


def test_nnunet_end_to_end_two_folds_one_window(tmp_path):
    """Same spacing, one window: the probabilities are the softmax of the folds' mean logits on the z-scored image."""
    folder, networks = trained_folder(tmp_path, folds=("0", "1"))
    card = nnunet_card(folder)
    assert card.options["folds"] == ["0", "1"] and card.patch == (4, 16, 16)
    image = block_image((4, 16, 16))
    prediction = segment(image, card, want_probabilities=True)
    values = array(image)
    window = torch.from_numpy((values - values.mean()) / values.std())[None, None]
    with torch.no_grad():
        logits = sum(network(window) for network in networks) / 2
    expected = logits.softmax(1)[0].numpy()
    for entry in card.structures:
        assert np.abs(array(prediction.probabilities[entry["name"]]) - expected[entry["channel"]]).max() < 1e-4
    assert prediction.names == {"femur": 1, "tibia": 2}
    assert np.array_equal(array(prediction.labels), expected.argmax(0))


@pytest.mark.parametrize("transpose", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_nnunet_geometry_with_a_network_that_is_known(tmp_path, transpose, monkeypatch):
    """Cropping, transposition, resampling and back: the answer lies where the image has it."""
    content = plans(normalization_schemes=["NoNormalization"])
    content["transpose_forward"] = transpose
    spacing, patch = [2.0, 0.7, 0.7], [6, 16, 16]
    full = content["configurations"]["3d_fullres"]
    full["spacing"], full["patch_size"] = [[part[axis] for axis in transpose] for part in (spacing, patch)]
    folder, _ = trained_folder(tmp_path, content)
    card = nnunet_card(folder)
    assert card.spacing_mm == spacing and card.patch == (6, 16, 16)
    monkeypatch.setattr(nnunet_v2, "build_network", lambda *a: Bands())
    monkeypatch.setattr(nnunet_v2, "load_weights", lambda *a: None)
    image = block_image()
    values = array(image)
    values[:, :4] = 0
    padded = sitk.GetImageFromArray(values)
    padded.CopyInformation(image)
    for stored in (padded, to_canonical(padded, "RSA")):
        assert np.array_equal(array(segment(stored, card).labels), expected_bands(stored))
    coarse = sitk.GetImageFromArray(np.kron(values[:9, :14, :14], np.ones((1, 2, 2), np.float32)))
    coarse.SetSpacing((0.35, 0.35, 2.0))
    coarse.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    assert (array(segment(coarse, card).labels) == expected_bands(coarse)).mean() > 0.93
    region = segment(padded, card, roi=((3, 6, 2), (10, 9, 8))).labels
    inside = np.zeros(values.shape, bool)
    inside[2:10, 6:15, 3:13] = True
    assert np.array_equal(array(region), np.where(inside, expected_bands(padded), 0))


def test_nnunet_regions_are_written_in_their_order(tmp_path):
    dataset = {
        "labels": {"background": 0, "whole_tumour": [1, 2], "tumour_core": [2]}, "regions_class_order": [1, 2],
        "channel_names": {"0": "FLAIR"},
    }  # fmt: skip
    folder, (network,) = trained_folder(tmp_path, dataset=dataset)
    card = nnunet_card(folder)
    assert card.activation == "sigmoid" and card.names == {"whole_tumour": 1, "tumour_core": 2}
    image = block_image((4, 16, 16))
    values = array(image)
    with torch.no_grad():
        logits = network(torch.from_numpy((values - values.mean()) / values.std())[None, None])[0].numpy()
    expected = np.where(logits[1] > 0, 2, np.where(logits[0] > 0, 1, 0))
    assert (array(segment(image, card).labels) == expected).mean() > 0.999


def test_nnunet_normalizations():
    rng = np.random.default_rng(0)
    data = rng.normal(0.5, 0.3, (1, 6, 10, 10)).astype(np.float32)
    data[:, :, :3] = 0

    def scaled(scheme, masked=False):
        return normalized_channels(
            data, Plans(plans(normalization_schemes=[scheme], use_mask_for_norm=[masked]), "3d_fullres")
        )

    assert np.array_equal(scaled("NoNormalization"), data)
    whole = scaled("ZScoreNormalization")
    assert abs(whole.mean()) < 1e-5 and abs(whole.std() - 1) < 1e-4
    body = scaled("ZScoreNormalization", True)
    assert abs(body[data != 0].mean()) < 1e-5 and (body[data == 0] == 0).all()
    assert scaled("RescaleTo01Normalization").min() == 0 and scaled("RescaleTo01Normalization").max() == 1
    assert np.allclose(scaled("CTNormalization"), (np.clip(data, 0.2, 0.8) - 0.5) / 0.2, atol=1e-6)


def test_thick_slices_are_resampled_one_by_one():
    rng = np.random.default_rng(1)
    volume = rng.random((5, 12, 12))
    apart = resampled(volume, (10, 24, 24), [4.0, 1.0, 1.0], [2.0, 0.5, 0.5], 3, 0, None)
    assert apart.shape == (10, 24, 24)
    assert np.array_equal(apart[0::2], apart[1::2])  # nearest along the thick slices
    alone = resampled(volume[:1], (1, 24, 24), [4.0, 1.0, 1.0], [4.0, 0.5, 0.5], 3, 0, None)
    assert np.allclose(apart[0], alone[0])
    together = resampled(volume, (10, 24, 24), [2.0, 1.0, 1.0], [1.0, 0.5, 0.5], 3, 0, None)
    assert not np.allclose(together[0], together[1])


def test_nnunet_checkpoints_that_run_code_are_refused(tmp_path, mark):
    folder, _ = trained_folder(tmp_path, trainer_name=RunsCode(mark))
    with pytest.raises(UnsafeModel, match="plain weights"):
        segment(block_image(), nnunet_card(folder))


def test_numpy_numbers_in_a_checkpoint_are_dropped_not_trusted(tmp_path):
    written = io.BytesIO()
    torch.save({"score": np.float64(0.5), "weights": torch.ones(3)}, written)
    content = read_checkpoint(written.getvalue(), "x.pth")
    assert torch.equal(content["weights"], torch.ones(3))
    assert not isinstance(content["score"], float)
    before = list(torch.serialization.get_safe_globals())
    with pytest.raises(UnsafeModel):
        evil = io.BytesIO()
        torch.save({"array": np.array([object()], dtype=object)}, evil)
        read_checkpoint(evil.getvalue(), "x.pth")
    assert set(torch.serialization.get_safe_globals()) == set(before)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": {**ARCHITECTURE, "network_class_name": "os.system"}}, "not known here"),
        ({"architecture": {**ARCHITECTURE, "network_class_name": "evil.PlainConvUNet"}}, "not known here"),
        ({"architecture": {**ARCHITECTURE, "arch_kwargs": {**ARCHITECTURE["arch_kwargs"], "nonlin": "os.system"}}},
         "no layer"),
        ({"normalization_schemes": ["MyNormalization"]}, "MyNormalization"),
        ({"resampling_fn_data": "resample_torch_simple"}, "resample_torch_simple"),
        ({"patch_size": [8, 16, 16]}, "contradicts.*patch"),
        ({"spacing": [2.0, 0.5, 0.5]}, "contradicts.*spacing"),
    ],
)  # fmt: skip
def test_plans_that_name_something_else_are_refused(tmp_path, mark, change, reason):
    folder, _ = trained_folder(tmp_path)
    draft = finished(draft_card(folder))
    draft["input"]["axes"] = "LIP"
    (folder / "plans.json").write_text(json.dumps(plans(**change)))
    draft["files"] = [
        {**entry, **card_content("nnunet_v2", folder, [entry["path"]])["files"][0]} for entry in draft["files"]
    ]
    with pytest.raises((UnsafeModel, InvalidCard), match=reason):
        segment(block_image(), write_card(folder, draft))


def test_a_cascade_is_refused_and_configurations_inherit():
    with pytest.raises(InvalidCard, match="cascade"):
        Plans(plans(), "3d_cascade_fullres")
    low = Plans(plans(), "3d_lowres")
    assert low.spacing == [2.0, 1.4, 1.4] and low.patch_size == [4, 16, 16]
    with pytest.raises(InvalidCard, match="3d_fullres, 3d_lowres"):
        Plans(plans(), "2d")


def test_plans_of_older_versions_build_the_same_network():
    old = plans()
    full = old["configurations"]["3d_fullres"]
    del full["architecture"]
    full.update(
        UNet_class_name="PlainConvUNet", UNet_base_num_features=4, unet_max_num_features=8,
        conv_kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]], pool_op_kernel_sizes=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        n_conv_per_stage_encoder=[2, 2, 2], n_conv_per_stage_decoder=[2, 2],
    )  # fmt: skip
    network = nnunet_v2.build_network(Plans(old, "3d_fullres"), 1, 3)
    assert network(torch.zeros(1, 1, 4, 16, 16)).shape == (1, 3, 4, 16, 16)


def test_a_folder_of_nnunet_without_a_card_says_what_is_missing(tmp_path):
    folder, _ = trained_folder(tmp_path)
    with pytest.raises(Exception) as caught:
        Registry(user_dir=tmp_path / "models").add(folder)
    assert "nnunet_v2" in str(caught.value) and "input.axes" in str(caught.value)
    assert isinstance(draft_card(folder)["output"]["structures"], list)
    with pytest.raises(InvalidCard):
        Card(draft_card(folder))
