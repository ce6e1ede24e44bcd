"""KneeSeg's panel in the application: apply, cancel, apply, edit, measure again, save and reload."""

import os
import tempfile
import time

import slicer
from application_test import ApplicationTest
from virtual_knee_nodes import add_virtual_knee

from MRISegSuiteLib.panel.run_state import RunState


class KneePanelTest(ApplicationTest):
    def setUp(self):
        super().setUp()
        self.widget = self.panel("KneeSeg")
        self.ui = self.widget.ui

    def test_the_reason_why_apply_is_disabled_is_told(self):
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("Choose a knee MRI", self.ui.reasonLabel.text)
        self.picture(self.widget, "knee-empty")

    def test_the_whole_way(self):
        volume, segmentation = self._choose()
        before = slicer.mrmlScene.GetNumberOfNodes()

        self.ui.applyButton.click()
        self.assertEqual(self.widget._run.state, RunState.RUNNING)
        self.waitFor(lambda: self.ui.progressBar.value > 50 or not self.widget._run.isRunning)
        self.picture(self.widget, "knee-running")
        started = time.monotonic()
        self.ui.applyButton.click()
        self.assertLess(time.monotonic() - started, 2.0)
        self.assertEqual(self.widget._run.state, RunState.CANCELLED)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

        self.ui.applyButton.click()
        self._finish()
        table = self.ui.resultTable.mrmlTableNode()
        first = self._thickness(table)
        self.assertGreater(first, 1.0)
        self.assertLess(first, 4.0)
        self.picture(self.widget, "knee-done")

        self._thin(segmentation, volume)
        self.assertIn("edited since", self.ui.summaryLabel.text)
        self.ui.measureAgainButton.click()
        self._finish()
        second = self._thickness(table)
        self.assertLess(second, first - 0.1)

        self.ui.showPlotButton.click()
        self.ui.legendCheckBox.click()
        self.ui.copyPythonButton.click()
        self.assertIn("measureAgain(", slicer.app.clipboard().text())

        path = os.path.join(tempfile.mkdtemp(dir=slicer.app.temporaryPath), "saved.mrb")
        self.assertTrue(slicer.mrmlScene.WriteToMRB(path, None))
        slicer.mrmlScene.Clear(0)
        self.assertTrue(slicer.mrmlScene.ReadFromMRB(path))
        slicer.app.processEvents()
        self.assertAlmostEqual(self._thickness(self.ui.resultTable.mrmlTableNode()), second, 3)

    def test_the_logic_from_a_script(self):
        import KneeSeg

        volume, segmentation = add_virtual_knee(slicer.mrmlScene)
        nodes = KneeSeg.KneeSegLogic().process(volume, segmentationNode=segmentation)
        self.assertEqual(nodes.side, "right")
        self.assertIsNotNone(nodes.chart)
        self.assertIn("femur", nodes.models)

    def test_shape_change_and_the_shape_browser(self):
        volume, segmentation = self._choose()
        earlier = add_virtual_knee(slicer.mrmlScene)[1]
        self.ui.baselineSelector.setCurrentNode(earlier)
        self.ui.shapeCollapsibleButton.collapsed = False
        self.ui.applyButton.click()
        self._finish()
        nodes = self.widget._result
        self.assertIsNotNone(nodes.changeChart)
        self.assertIn("femur", nodes.shapes)
        index = self.ui.coloringSelector.findData("shape")
        self.ui.coloringSelector.setCurrentIndex(index)
        self.widget._onColoring(index)
        self.assertEqual(nodes.models["femur"].GetDisplayNode().GetActiveScalarName(), "shape_error_shown_mm")

        self.ui.browserCollapsibleButton.collapsed = False
        self.assertTrue(self.ui.weightSlider.enabled, self.ui.browserLabel.text)
        self.ui.weightSlider.value = 20
        bone = slicer.util.getNode("Shape browser: femur")
        before = slicer.util.arrayFromModelPoints(bone).copy()
        self.ui.weightSlider.value = -20
        after = slicer.util.arrayFromModelPoints(bone)
        self.assertTrue(before.shape != after.shape or abs(before - after).max() > 0.5)
        # It lies where the knee lies.
        middle = slicer.util.arrayFromModelPoints(nodes.shapes["femur"]).mean(axis=0)
        self.assertLess(abs(after.mean(axis=0) - middle).max(), 5.0)
        self.picture(self.widget, "knee-shape")

    def test_closing_the_scene_ends_the_run(self):
        self._choose()
        self.ui.applyButton.click()
        slicer.mrmlScene.Clear(0)
        self.assertFalse(self.widget._run.isRunning)
        self.assertFalse(self.ui.applyButton.enabled)

    def _choose(self):
        volume, segmentation = add_virtual_knee(slicer.mrmlScene)
        self.ui.inputVolumeSelector.setCurrentNode(volume)
        self.ui.inputSegmentationSelector.setCurrentNode(segmentation)
        self.assertTrue(self.ui.applyButton.enabled, self.ui.reasonLabel.text)
        return volume, segmentation

    def _finish(self):
        self.waitFor(lambda: not self.widget._run.isRunning)
        self.assertEqual(self.widget._run.state, RunState.DONE, self.ui.errorLabel.text)

    def _thin(self, segmentationNode, volumeNode):
        """Take what is more than a voxel from the bone off the femoral cartilage."""
        import numpy as np
        from scipy.ndimage import binary_dilation

        def array_of(name):
            identifier = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(name)
            return identifier, slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, identifier, volumeNode) > 0

        identifier, cartilage = array_of("Femoral cartilage")
        bone = array_of("Femur")[1]
        outside = binary_dilation(~(cartilage | bone))
        slicer.util.updateSegmentBinaryLabelmapFromArray((cartilage & ~outside).astype(np.uint8), segmentationNode,
                                                         identifier, volumeNode)

    def _thickness(self, tableNode):
        table = tableNode.GetTable()
        for row in range(table.GetNumberOfRows()):
            if table.GetColumnByName("Structure").GetValue(row) == "Femoral cartilage" \
                    and table.GetColumnByName("Region").GetValue(row).lower() == "whole":
                return table.GetColumnByName("ThCtAB").GetValue(row)
        self.fail("the table has no femoral cartilage")
