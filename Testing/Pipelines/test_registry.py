"""Adding, listing, checking and removing models; files that were changed; archives that are not to be trusted."""

import io
import json
import os
import stat
import subprocess
import sys
import zipfile

import pytest
from model_files import bands_model, block_image, card_content

from MRISegSuiteLib.errors import (
    BadArguments,
    BadInput,
    ModelHashMismatch,
    ModelMissing,
    UnsafeModel,
    UnwritableOutput,
)
from MRISegSuiteLib.models import InvalidCard, Registry, archives, registry
from MRISegSuiteLib.models.inference import segment


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A model folder as a user has it."""
    return bands_model(tmp_path_factory.mktemp("source") / "bands").folder


@pytest.fixture
def models(tmp_path):
    return Registry(user_dir=tmp_path / "models")


def zipped(folder, target, prefix=""):
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return target


def nothing_left(models):
    return not models.user_dir.exists() or list(models.user_dir.iterdir()) == []


def test_add_list_use_check_remove(models, source):
    card = models.add(source)
    assert card.folder == models.user_dir / "bands"
    assert sorted(path.name for path in card.folder.iterdir()) == ["model.json", "model.pt2"]
    assert "bands" in [one.id for one in models.cards()]
    assert "bands" in [one.id for one in models.cards(task="knee")] and models.cards(task="brain") == []
    assert models.check("bands").sha256 == card.sha256
    assert segment(block_image(), models.get("bands")).names == {"femur": 1, "tibia": 2}
    models.remove("bands")
    assert nothing_left(models)
    with pytest.raises(ModelMissing):
        models.get("bands")


@pytest.mark.parametrize("prefix", ["", "bands-1.0/"])
def test_an_archive_is_a_model_too(models, source, tmp_path, prefix):
    models.add(zipped(source, tmp_path / "bands.zip", prefix))
    assert models.check("bands").id == "bands"
    assert [path.name for path in models.user_dir.iterdir()] == ["bands"]


@pytest.mark.parametrize("name", ["model.pt2", "model.json"])
def test_the_weights_or_the_card_name_the_model(models, source, name):
    assert models.add(source / name).id == "bands"


def test_a_card_named_like_its_weights(models, source, tmp_path):
    (tmp_path / "mine.pt2").write_bytes((source / "model.pt2").read_bytes())
    content = card_content("torch_export", tmp_path, ["mine.pt2"])
    (tmp_path / "mine.json").write_text(json.dumps(content))
    assert models.add(tmp_path / "mine.pt2").files[0]["path"] == "mine.pt2"


def test_an_unknown_model_names_those_that_are_there(models, source):
    models.add(source)
    with pytest.raises(ModelMissing) as caught:
        models.get("knee-large")
    assert "'knee-large'" in str(caught.value) and "bands" in str(caught.value) and "models add" in caught.value.hint


def test_the_folder_is_the_users_or_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("MRISEG_MODELS", str(tmp_path / "elsewhere"))
    assert Registry().user_dir == tmp_path / "elsewhere"
    monkeypatch.delenv("MRISEG_MODELS")
    assert Registry().user_dir.name == "Models" and Registry().user_dir.is_absolute()


@pytest.mark.parametrize("how", ["changed", "shorter", "gone"])
def test_changed_files_are_refused_before_every_load(models, source, how):
    card = models.add(source)
    weights = card.folder / "model.pt2"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "changed":
        weights.write_bytes(content)
    elif how == "shorter":
        weights.write_bytes(content[:-1])
    else:
        weights.unlink()
    expected = ModelMissing if how == "gone" else ModelHashMismatch
    for attempt in (lambda: models.check("bands"), lambda: segment(block_image(), models.get("bands"))):
        with pytest.raises(expected, match="model.pt2"):
            attempt()


def test_wrong_hashes_are_not_taken_in(models, source, tmp_path):
    content = json.loads((source / "model.json").read_text())
    content["files"][0]["sha256"] = "0" * 64
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "model.pt2").write_bytes((source / "model.pt2").read_bytes())
    with pytest.raises(ModelHashMismatch):
        models.add(tmp_path)
    assert nothing_left(models)


def test_an_id_is_taken_once(models, source):
    models.add(source)
    with pytest.raises(BadArguments, match="is there already"):
        models.add(source)
    models.check("bands")


def test_embedded_models_come_first_and_stay(tmp_path, source, monkeypatch):
    embedded = tmp_path / "embedded"
    Registry(user_dir=embedded).add(source)
    monkeypatch.setattr(registry, "EMBEDDED_FOLDER", embedded)
    models = Registry(user_dir=tmp_path / "models")
    assert models.get("bands").embedded
    with pytest.raises(BadArguments, match="comes with"):
        models.add(source)
    with pytest.raises(BadArguments, match="not your model folder"):
        models.remove("bands")
    models.check("bands")


def test_further_folders_are_read(tmp_path, source):
    shared = Registry(user_dir=tmp_path / "shared")
    shared.add(source)
    assert Registry([tmp_path / "shared"], tmp_path / "mine").get("bands").id == "bands"


def test_a_broken_card_does_not_hide_the_others(models, source):
    models.add(source)
    (models.user_dir / "broken").mkdir()
    (models.user_dir / "broken" / "model.json").write_text("{")
    assert "bands" in [card.id for card in models.cards()]
    (problem,) = models.broken()
    assert "broken" in str(problem)
    with pytest.raises(ModelMissing, match="not JSON"):
        models.get("broken")


def archive_with(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:/evil.txt"])
def test_an_archive_may_not_leave_its_folder(models, tmp_path, name):
    bad = archive_with(tmp_path / "bad.zip", [(name, "x", stat.S_IFREG | 0o644)])
    with pytest.raises(UnsafeModel, match="leads out"):
        models.add(bad)
    assert nothing_left(models)
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_archive_may_hold_no_links_and_nothing_twice(models, tmp_path):
    link = archive_with(tmp_path / "link.zip", [("model.pt2", "/etc/passwd", stat.S_IFLNK | 0o777)])
    with pytest.raises(UnsafeModel, match="link"):
        models.add(link)
    twice = archive_with(tmp_path / "twice.zip", [("model.json", "{}", 0), ("MODEL.json", "{}", 0)])
    with pytest.raises(UnsafeModel, match="twice"):
        models.add(twice)
    assert nothing_left(models)


def test_an_archive_may_not_be_larger_than_a_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5_000_000))
    with pytest.raises(UnsafeModel, match="limit"):
        archives.unpack_zip(tmp_path / "bomb.zip", tmp_path / "out", max_bytes=1_000_000)
    assert not (tmp_path / "out").exists()


def test_an_archive_that_lies_about_its_sizes_is_stopped(tmp_path):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5_000_000))
    content = bytearray(raw.getvalue())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")  # uncompressed size in the directory
    (tmp_path / "liar.zip").write_bytes(content)
    try:
        archives.unpack_zip(tmp_path / "liar.zip", tmp_path / "out", max_bytes=1_000_000)
    except BadInput:
        pass
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written <= 1000


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(10)])
def test_an_archive_that_is_none(models, tmp_path, content):
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(BadInput, match="bad.zip|archive"):
        models.add(tmp_path / "bad.zip")
    assert nothing_left(models)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_folder_with_links_is_refused(models, source, tmp_path):
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "model.json").write_bytes((source / "model.json").read_bytes())
    (folder / "model.pt2").symlink_to(source / "model.pt2")
    with pytest.raises(UnsafeModel, match="link"):
        models.add(folder)
    assert nothing_left(models)


def test_what_is_no_model_is_said_to_be_none(models, tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        models.add(tmp_path / "nowhere")
    (tmp_path / "image.nii.gz").write_bytes(b"x")
    with pytest.raises(BadInput, match="no model"):
        models.add(tmp_path / "image.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="model.json.*neither"):
        models.add(tmp_path / "empty")


def test_weights_without_a_card_say_what_to_write(models, source, tmp_path):
    (tmp_path / "lonely.pt2").write_bytes((source / "model.pt2").read_bytes())
    with pytest.raises(BadInput) as caught:
        models.add(tmp_path / "lonely.pt2")
    assert "lonely.json is missing" in str(caught.value)
    assert "input.axes" in caught.value.hint and "license" in caught.value.hint
    draft = subprocess.run(
        [sys.executable, "-m", "MRISegSuiteLib.models.drafts", str(tmp_path / "lonely.pt2")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    content = json.loads(draft.stdout)
    assert content["backend"] == "torch_export" and content["files"][0]["bytes"] > 100
    (tmp_path / "lonely.json").write_text(draft.stdout)
    with pytest.raises(InvalidCard, match="license still reads|must match"):
        models.add(tmp_path / "lonely.pt2")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="an administrator may write everywhere")
def test_a_folder_that_cannot_be_written(source, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UnwritableOutput):
        Registry(user_dir=tmp_path / "locked" / "models").add(source)


def test_a_file_where_the_folder_should_be(source, tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(UnwritableOutput):
        Registry(user_dir=tmp_path / "models").add(source)


def test_cards_and_registry_do_without_torch():
    """The GUI process imports them; torch and MONAI belong to the worker."""
    code = (
        "import sys; from MRISegSuiteLib.models import Registry; import MRISegSuiteLib.models.inference, "
        "MRISegSuiteLib.models.backends.nnunet_v2, MRISegSuiteLib.models.backends.monai_bundle; Registry().cards(); "
        "print([m for m in ('torch', 'monai', 'jsonschema', 'dynamic_network_architectures') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_choosing_a_model_for_a_task(models, source):
    assert models.choose("knee").embedded  # the one that comes with the suite goes before the user's own
    card = models.add(source)
    assert models.choose("knee").embedded and models.choose("knee", "bands").id == "bands"
    assert models.choose("knee", "bands", card.sha256).id == "bands"
    with pytest.raises(ModelHashMismatch, match="same version"):
        models.choose("knee", "bands", "0" * 64)
    with pytest.raises(ModelMissing, match="no model for spine"):
        models.choose("spine")
    with pytest.raises(BadArguments, match="for knee, not for spine"):
        models.choose("spine", "bands")
    with pytest.raises(ModelMissing, match="nobody"):
        models.choose("knee", "nobody")
