"""Apply with the embedded model: from a volume alone to segmentation, surfaces, table and chart."""

import sys
import unittest

import numpy as np
import slicer
from application_test import ApplicationTest
from virtual_knee_nodes import add_virtual_scan
from vtk.util.numpy_support import vtk_to_numpy

from KneeSegLib.structures import STRUCTURES
from MRISegSuiteLib.environment import WorkerEnvironment
from MRISegSuiteLib.panel.run_state import RunState

_HEAVY = {"torch", "monai", "transformers"}
_NAMES = {structure.name for structure in STRUCTURES}


class KneeInferenceTest(ApplicationTest):
    """What is found depends on the weights of the day: only what every set of weights must give is held here."""

    @unittest.skipUnless(WorkerEnvironment.default().status().ready, "the worker's packages are not installed")
    def test_a_volume_becomes_nodes(self):
        widget = self.panel("KneeSeg")
        ui = widget.ui
        volume = add_virtual_scan(slicer.mrmlScene)
        ui.inputVolumeSelector.setCurrentNode(volume)
        self.assertIn("knee-virtual", ui.modelLabel.text)
        self.assertEqual(ui.reasonLabel.text, 'Segments "virtual scan" and measures it.')
        ui.applyButton.click()
        self.assertEqual(widget._run.state, RunState.RUNNING, ui.errorLabel.text)
        stages = set()
        self.waitFor(lambda: stages.add(ui.stageLabel.text.split(":")[0]) or not widget._run.isRunning, 900)
        self.assertEqual(widget._run.state, RunState.DONE, ui.errorLabel.text)
        self.assertGreater(len(stages), 3, "the progress was not told")
        self.picture(widget, "knee-inference")
        self.assertEqual(_HEAVY & set(sys.modules), set())

        nodes = widget._result
        self._check_segmentation(nodes.segmentation, volume)
        self._check_surfaces(nodes.models, volume)
        self._check_table(nodes.table, ui)
        self.assertEqual(nodes.chart.GetNthPlotSeriesNode(0).GetTableNode(), nodes.chartTable)
        self.assertGreater(nodes.chartTable.GetNumberOfRows(), 0)
        self._check_edit_button(ui, nodes.segmentation, volume)
        self.assertEqual(_HEAVY & set(sys.modules), set())

    def _check_segmentation(self, node, volume):
        self.assertEqual(node.GetName(), "virtual scan - Knee segmentation")
        self.assertTrue(node.GetAttribute("MRISegSuite.Model").startswith("knee-virtual "))
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        self.assertEqual(node.GetNodeReference(role), volume)
        found = set(node.GetSegmentation().GetSegmentIDs())
        self.assertLessEqual(found, _NAMES)
        self.assertLessEqual({"femur", "tibia"}, found)
        for name in found:
            array = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume)
            self.assertEqual(array.shape, slicer.util.arrayFromVolume(volume).shape)
            self.assertTrue(array.any(), name)

    def _check_surfaces(self, models, volume):
        self.assertLessEqual({"femur", "tibia"}, set(models))
        bounds = np.zeros(6)
        volume.GetRASBounds(bounds)
        for name, node in models.items():
            mesh = node.GetPolyData()
            points = vtk_to_numpy(mesh.GetPoints().GetData())
            self.assertGreater(len(points), 100, name)
            self.assertTrue((points >= bounds[::2] - 5).all() and (points <= bounds[1::2] + 5).all(), name)
            thickness = vtk_to_numpy(mesh.GetPointData().GetArray("thickness_mm"))
            self.assertEqual(len(thickness), len(points))

    def _check_table(self, node, ui):
        self.assertTrue(ui.resultTable.visible)
        self.assertEqual(ui.resultTable.mrmlTableNode(), node)
        thickness = vtk_to_numpy(node.GetTable().GetColumnByName("ThCtAB"))
        measured = thickness[np.isfinite(thickness)]
        self.assertGreater(len(measured), 0)
        self.assertTrue((measured >= 0).all() and (measured < 10).all())
        self.assertIn(" mm, ", ui.summaryLabel.text)

    def _check_edit_button(self, ui, segmentation, volume):
        if slicer.util.mainWindow() is None:
            return  # without one there are no modules to switch between
        ui.editButton.click()
        self.assertEqual(slicer.util.selectedModule(), "SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        self.assertEqual(editor.segmentationNode(), segmentation)
        self.assertEqual(editor.sourceVolumeNode(), volume)
