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

        # a person says that the new lesion belongs to the old one
        for row in range(2):
            self.ui.lesionList.item(row).setSelected(True)
        self.assertTrue(self.ui.sameButton.enabled, self.ui.linkLabel.text)
        self.ui.sameButton.click()
        self.assertIn("corrected since", self.ui.summaryLabel.text)
        self.ui.measureAgainButton.click()
        self._finish()
        self.assertIn("split", self.ui.lesionList.item(0).text())
        self.ui.undoCorrectionButton.click()
        self.ui.measureAgainButton.click()
        self._finish()

        # the report is there to be opened, kept, signed
        self.assertTrue(self.ui.checkSignatureButton.enabled)
        folder = tempfile.mkdtemp(dir=slicer.app.temporaryPath)
        self.ui.filesFolderEdit.currentPath = folder
        self.ui.saveFilesButton.click()
        self.assertIn("report.pdf", os.listdir(folder))
        self.assertIn("file with your key", self.ui.sign_reasonLabel.text)

        path = os.path.join(tempfile.mkdtemp(dir=slicer.app.temporaryPath), "saved.mrb")
        self.assertTrue(slicer.mrmlScene.WriteToMRB(path, None))
        slicer.mrmlScene.Clear(0)
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(path))
        slicer.app.processEvents()
        self.assertEqual(self.ui.lesionList.count, 2)
        self.assertIn("good", self.ui.gateLabel.text)

    def test_timepoints_are_added_sorted_and_removed(self):
        rows = self.widget._timepoints
        for _ in range(3):
            self.ui.addTimepointButton.click()
        self.assertEqual(len(rows.frames), 5)
        for frame, year in zip(rows.frames, (2020, 2024, 2022, 2021, 2023)):
            frame.dateEdit.setText(f"{year}-01-01")
        self.ui.sortTimepointsButton.click()
        self.assertEqual([frame.dateEdit.text[:4] for frame in rows.frames], ["2020", "2021", "2022", "2023", "2024"])
        rows.frames[0].moreButton.click()
        self.assertEqual(len(rows.frames[0].further), 1)
        rows.frames[0].further[0].removeButton.click()
        for _ in range(3):
            rows.frames[-1].removeButton.click()
        self.assertEqual([frame.dateEdit.text[:4] for frame in rows.frames], ["2020", "2021"])

    def test_the_passphrase_is_asked_in_a_window(self):
        given = []
        dialog = type(self.widget._signing.dialog)(self.widget.parent, given.append)
        for accept in (False, True):
            dialog.ask("reader.p12")
            dialog.edit.setText("open sesame")
            self.assertNotEqual(dialog.edit.displayText, "open sesame")
            dialog.dialog.accept() if accept else dialog.dialog.reject()
            slicer.app.processEvents()
        self.assertEqual(given, ["open sesame"])

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
