"""What a job says about a temporary file, in the words of the scene."""

from pathlib import Path

from MRISegSuiteLib.errors import BadInput, WrongContent
from MRISegSuiteLib.scene.node_names import error_with_node_names, with_node_names

NODES = {Path("/tmp/job/input/image.nrrd"): r"Knee \\1 left", Path("/tmp/job/input/segmentation.nrrd"): "by hand"}


def test_files_of_nodes_are_told_by_the_nodes_names():
    text = "/tmp/job/input/image.nrrd is constant; /tmp/job/input/segmentation.nrrd: 3 labels."
    assert with_node_names(text, NODES) == r'"Knee \\1 left" is constant; "by hand": 3 labels.'


def test_other_files_stay():
    for text in ("/tmp/job/log.txt", "/tmp/job/input/image.nrrd2", "/tmp/job/input/image.nrrd/x", "image.nrrd"):
        assert with_node_names(text, NODES) == text


def test_a_link_to_the_folder_counts_too(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    nodes = {tmp_path / "link" / "image.nrrd": "knee"}
    assert with_node_names(f"{tmp_path / 'real' / 'image.nrrd'} is flat.", nodes) == '"knee" is flat.'


def test_an_error_stays_what_it_is():
    cause = ValueError("x")
    error = WrongContent("/tmp/job/input/image.nrrd is 2D.", "See /tmp/job/input/image.nrrd.")
    error.__cause__ = cause
    told = error_with_node_names(error, NODES)
    assert type(told) is WrongContent and told.exit_code == 2 and told.__cause__ is cause
    assert str(told) == r'"Knee \\1 left" is 2D. See "Knee \\1 left".'
    assert isinstance(told, BadInput)
