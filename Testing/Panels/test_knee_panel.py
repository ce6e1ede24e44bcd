"""KneeSeg's panel at rest: reasons, keyboard, width, parameters, models, life cycle, translations."""

import ast
import re
from pathlib import Path

import pytest
import qt_keys
from virtual_knee_nodes import add_virtual_knee

from MRISegSuiteLib.panel.run_state import RunState

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_reason_why_apply_is_disabled_is_always_visible(application, knee, picture):
    ui, scene = knee.ui, application.mrmlScene
    assert not ui.applyButton.enabled and "Choose a knee MRI" in ui.reasonLabel.text and ui.reasonLabel.visible
    picture(knee, "knee-empty")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no voxels")
    knee._parameterNode.inputVolume = empty
    assert not ui.applyButton.enabled and '"no voxels" holds no image' in ui.reasonLabel.text
    volume, segmentation = add_virtual_knee(scene)
    knee._parameterNode.inputVolume = volume
    knee._parameterNode.inputSegmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing in it")
    assert not ui.applyButton.enabled and '"nothing in it" is empty' in ui.reasonLabel.text
    knee._parameterNode.inputSegmentation = segmentation
    assert ui.applyButton.enabled and ui.reasonLabel.text == 'Measures "by hand".'
    picture(knee, "knee-ready")
    assert ui.reasonLabel.visible and knee._run.state == RunState.READY


def test_without_a_model_only_measuring_is_offered(application, knee, monkeypatch, tmp_path):
    import MRISegSuiteLib.models.registry as registry

    monkeypatch.setattr(registry, "EMBEDDED_FOLDER", tmp_path / "none")
    knee._parameterNode.inputVolume = add_virtual_knee(application.mrmlScene)[0]
    knee.enter()
    assert not knee.ui.applyButton.enabled and "There is no model for knees" in knee.ui.reasonLabel.text
    assert not knee.ui.modelSelector.enabled


def test_the_widgets_and_the_parameter_node_follow_each_other(application, knee):
    volume, segmentation = add_virtual_knee(application.mrmlScene)
    ui, parameters = knee.ui, knee._parameterNode
    ui.inputVolumeSelector.setCurrentNode(volume)
    assert parameters.inputVolume is volume
    ui.sideSelector.currentIndex = ui.sideSelector.findText("Left")
    assert parameters.side.value == "left"
    parameters.side = type(parameters.side).right
    assert ui.sideSelector.currentText == "Right"
    ui.deviceSelector.currentIndex = ui.deviceSelector.findText("CPU")
    assert parameters.device.value == "cpu"
    knee.parent.exit()
    parameters.side = type(parameters.side).auto
    assert ui.sideSelector.currentText == "Right", "a panel that is not shown must not react"
    knee.parent.enter()
    assert ui.sideSelector.currentText == "Detect from anatomy"


def test_a_label_map_is_not_taken_for_the_scan(application, knee):
    knee.parent.exit()
    application.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    knee.parent.enter()
    assert knee._parameterNode.inputVolume is None
    knee.parent.exit()
    volume = application.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    knee.parent.enter()
    assert knee._parameterNode.inputVolume is volume


def test_numbers_keep_to_their_range(knee):
    """Connecting a spin box to a number without a range would take the range of the .ui file away."""
    assert (knee.ui.layersSpinBox.minimum, knee.ui.layersSpinBox.maximum) == (1, 5)
    for name in ("repetitionTime", "echoTime", "flipAngle", "spoilerArea", "spoilerDuration"):
        spinBox = getattr(knee.ui, name + "SpinBox")
        assert spinBox.minimum == 0.0 and spinBox.maximum <= 100_000, name
        assert spinBox.text == spinBox.specialValueText, name
    assert "layers" not in knee._moreArguments()
    knee.ui.layersSpinBox.value = 3
    assert knee._moreArguments()["layers"] == 3


def test_it_fits_into_400_pixels(application, knee):
    for node in add_virtual_knee(application.mrmlScene):
        node.SetName("A knee with a very long name " * 3)
    application.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "another")  # the selectors read the names again
    for selector in (knee.ui.inputVolumeSelector, knee.ui.inputSegmentationSelector, knee.ui.resultSelector):
        selector.setCurrentNode(selector.nodeFromIndex(0))
        assert selector._combo.currentText.startswith("A knee with")
    knee.ui.advancedCollapsibleButton.collapsed = False
    knee.ui.errorLabel.text = "A very long message about a file " + "with a long path " * 10
    knee.ui.errorFrame.visible = True
    knee.parent.resize(400, 800)
    application.app.processEvents()
    assert knee.parent.layout().totalMinimumSize().width() <= 400
    for name, widget in vars(knee.ui).items():
        if widget.isWidgetType() and widget.visible:
            right = widget.mapTo(knee.parent, qt_keys.point(widget.width, 0)).x()
            assert right <= 400, f"{name} reaches to {right}"


def test_the_tab_key_goes_from_top_to_bottom(application, knee):
    volume, segmentation = add_virtual_knee(application.mrmlScene)
    knee._parameterNode.inputVolume, knee._parameterNode.inputSegmentation = volume, segmentation
    knee.ui.advancedCollapsibleButton.collapsed = False
    knee.parent.resize(400, 800)
    application.app.processEvents()
    stops = qt_keys.tab_stops(knee.parent)
    places = [stop.mapTo(knee.parent, qt_keys.point(0, 0)) for stop in stops]
    rows = [place.y() // 24 for place in places]
    assert rows == sorted(rows), [(s.name or s.className(), p.x(), p.y()) for s, p in zip(stops, places, strict=True)]
    assert knee.ui.applyButton in stops and len(stops) >= 8


def test_letters_with_alt_reach_the_fields(application, knee):
    """Also the node selectors, which take no focus themselves."""
    for name in ("inputVolumeSelector", "inputSegmentationSelector", "modelSelector", "sideSelector",
                 "deviceSelector", "resultSelector"):
        buddy = getattr(knee.ui, name + "Label").buddy()
        assert buddy.inherits("QComboBox") and qt_keys.takes_focus(buddy), name


def test_the_space_bar_applies_and_cancels(application, knee, wait_for):
    volume, segmentation = add_virtual_knee(application.mrmlScene)
    knee._parameterNode.inputSegmentation = segmentation
    knee.ui.applyButton.setFocus()
    qt_keys.press_space(knee.ui.applyButton)
    assert knee._run.isRunning
    qt_keys.press_space(knee.ui.applyButton)
    assert knee._run.state == RunState.CANCELLED


def test_every_text_is_translatable_and_in_american_english():
    """No f-string and no + inside _(); no British spelling in what a person reads."""
    files = [REPOSITORY / "KneeSeg" / "KneeSeg.py", REPOSITORY / "MRISegSuite" / "MRISegSuite.py",
             REPOSITORY / "EnsembleReview" / "EnsembleReview.py",
             *sorted((REPOSITORY / "MRISegSuite" / "MRISegSuiteLib" / "panel").glob("*.py")),
             *sorted((REPOSITORY / "EnsembleReview" / "EnsembleReviewLib" / "panel").glob("*.py")),
             REPOSITORY / "KneeSeg" / "KneeSegLib" / "summary.py"]
    texts = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno} is not a plain text"
                texts.append(node.args[0].value)
    texts += [text for path in REPOSITORY.glob("*/Resources/UI/*.ui")
              for text in re.findall(r"<string>([^<]*)</string>", path.read_text(encoding="utf-8"))]
    assert len(texts) > 80
    british = re.compile(
        r"colour|centre|grey|licence|recognis|normalis|segmentat?ise|analys(?:e|ing)\b|behaviour", re.I)
    assert not [text for text in texts if british.search(text)]


def test_leaving_and_reloading_leaves_no_observer_behind(application, knee):
    scene = application.mrmlScene
    node = knee._parameterNode.parameterNode
    for _ in range(3):
        application.util.reloadScriptedModule("KneeSeg")
    panel = application.modules.KneeSegWidget
    assert panel is not knee
    volume, segmentation = add_virtual_knee(scene)
    panel._parameterNode.inputSegmentation = segmentation
    assert panel.ui.applyButton.enabled and not knee.ui.applyButton.enabled, "the old panel still reacts"
    assert node is panel._parameterNode.parameterNode


@pytest.mark.parametrize("again", [False, True])
def test_copied_scripts_are_valid_python(again):
    from KneeSegLib.recipes import Done, command_recipe, python_recipe

    done = Done("knee \"1\"", "by hand" if again else None, None, None, "" if again else "some_model", "left", "cpu",
                again)
    tree = ast.parse(python_recipe(done))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    assert {"measureAgain" if again else "process", "getNode"} == {call.func.attr for call in calls}
    command = command_recipe(done, "./mriseg")
    assert command.splitlines()[-1].startswith("./mriseg knee ") and "--side left" in command
    assert command.startswith("# First save the node")
