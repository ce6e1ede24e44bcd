"""LongitudinalCompare's panel in the application: apply, views, a moved diameter, measure again, save and reload."""

import os
import tempfile

import slicer
from application_test import ApplicationTest
from virtual_heads import add_heads

from MRISegSuiteLib.panel.run_state import RunState


class ComparePanelTest(ApplicationTest):
    def setUp(self):
        super().setUp()
        self.widget = self.panel("LongitudinalCompare")
        self.ui = self.widget.ui

    def test_the_reason_why_apply_is_disabled_is_told(self):
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("Choose a baseline", self.ui.reasonLabel.text)
        self.picture(self.widget, "compare-empty")

    def test_the_whole_way(self):
        volumes, masks = add_heads(slicer.mrmlScene)
        rows = zip(self.widget._timepoints.frames, volumes, masks, ("2024-01-01", "2024-07-01"))
        for frame, volume, mask, date in rows:
            frame.volumeSelector.setCurrentNode(volume)
            frame.maskSelector.setCurrentNode(mask)
            frame.dateEdit.setText(date)
        self.assertTrue(self.ui.applyButton.enabled, self.ui.reasonLabel.text)
        self.ui.applyButton.click()
        self._finish()
        self.assertIn("good", self.ui.gateLabel.text)
        self.assertEqual(self.ui.lesionList.count, 2)
        self.picture(self.widget, "compare-done")

        for mode in ("fade", "checkerboard", "change", "subtraction", "side_by_side"):
            self.ui.modeSelector.setCurrentIndex(self.ui.modeSelector.findData(mode))
            slicer.app.processEvents()
        self.ui.lesionList.setCurrentRow(1)
        self.ui.blinkButton.click()
        self.waitFor(lambda: self.ui.fadeSlider.value == 100, 10)
        self.ui.blinkButton.click()
        self.ui.showPlotButton.click()
        self.ui.layoutButton.click()
        self.ui.alignedCheckBox.click()
        self.assertIsNone(volumes[1].GetTransformNodeID())
        self.ui.alignedCheckBox.click()

        line = self.widget._result.lines[(2, 1, "longest")]
        place = [0.0, 0.0, 0.0]
        line.GetNthControlPointPosition(0, place)
        line.SetNthControlPointPosition(0, place[0], place[1], place[2] + 8.0)
        self.assertIn("edited since", self.ui.summaryLabel.text)
        length = line.GetLineLengthWorld()
        self.ui.measureAgainButton.click()
        self._finish()
        self.assertIn(f"{length:.1f}", self.ui.lesionList.item(0).text())
        self.ui.copyPythonButton.click()
        self.assertIn("measureAgain(", slicer.app.clipboard().text())

        path = os.path.join(tempfile.mkdtemp(dir=slicer.app.temporaryPath), "saved.mrb")
        self.assertTrue(slicer.mrmlScene.WriteToMRB(path, None))
        slicer.mrmlScene.Clear(0)
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(path))
        slicer.app.processEvents()
        self.assertEqual(self.ui.lesionList.count, 2)
        self.assertIn("good", self.ui.gateLabel.text)

    def test_the_logic_from_a_script(self):
        import LongitudinalCompare

        volumes, masks = add_heads(slicer.mrmlScene)
        logic = LongitudinalCompare.LongitudinalCompareLogic()
        nodes = logic.process(volumes, masks, criteria="recist_1_1")
        self.assertEqual(len(nodes.transforms), 2)
        self.assertIn("checkerboard_2", nodes.maps)
        self.assertEqual(logic.nodesOf(nodes.table).masks, masks)

    def _finish(self):
        self.waitFor(lambda: not self.widget._run.isRunning)
        self.assertEqual(self.widget._run.state, RunState.DONE, self.ui.errorLabel.text)
