"""EnsembleReview's panel in the application: fuse three readers, jump, take, paint, click, undo, accept."""

import os
import tempfile

import numpy as np
import slicer
from application_test import ApplicationTest
from review_nodes import LESION, SECOND, UNSEEN, add_case, ball, world_of

from EnsembleReviewLib.feedback.store import FeedbackStore
from EnsembleReviewLib.panel.segment_voxels import write_in_box
from MRISegSuiteLib.panel.run_state import RunState


class EnsemblePanelTest(ApplicationTest):
    def setUp(self):
        super().setUp()
        self._store = tempfile.mkdtemp(dir=slicer.app.temporaryPath)
        before = os.environ.get("MRISEG_FEEDBACK")
        os.environ["MRISEG_FEEDBACK"] = self._store
        self.addCleanup(lambda: os.environ.pop("MRISEG_FEEDBACK") if before is None else
                        os.environ.update(MRISEG_FEEDBACK=before))
        self.widget = self.panel("EnsembleReview")
        self.ui = self.widget.ui
        reviewer = self.ui.reviewerEdit.text
        self.addCleanup(lambda: self.ui.reviewerEdit.setText(reviewer))

    def test_the_reason_why_apply_is_disabled_is_told(self):
        slicer.app.processEvents()
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("Check the images", self.ui.reasonLabel.text)
        self.picture(self.widget, "ensemble-empty")

    def test_a_review(self):
        volume = self._fuse()
        widget, ui = self.widget, self.ui
        case = widget._case
        self.assertEqual(len(case.spots), 2)
        self._equal(ball(LESION))

        # jump: the slice views go to the largest place
        ui.hotSpotTable.selectRow(0)
        slicer.app.processEvents()
        center = case.world_center(case.spots[0])
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            matrix = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLSliceNode").GetSliceToRAS()
            for axis in range(3):
                self.assertAlmostEqual(matrix.GetElement(axis, 3), center[axis], 3)

        # take the lesion that one reader has seen, keep the other place
        row = next(n for n, spot in enumerate(case.spots) if spot.kind == "apart")
        ui.hotSpotTable.selectRow(row)
        ui.takeSelector.setCurrentIndex(2)
        ui.takeButton.click()
        self._equal(ball(LESION) | ball(SECOND))
        ui.hotSpotTable.selectRow(1 - row)
        ui.keepButton.click()
        self.assertEqual(ui.hotSpotTable.item(1 - row, 3).text(), "kept")

        # paint, as the brush does
        widget._editor.widget.saveStateForUndo()
        mask = ball(((20, 40, 20), 3))
        whole = tuple(slice(0, n) for n in mask.shape)
        write_in_box(case.nodes.fusion, case._ijk_to_ras, whole, {"whole_tumour": mask}, {})
        painted = ball(LESION) | ball(SECOND) | mask
        self._equal(painted)

        # a click on what nobody has seen
        ui.addClickButton.click()
        points = slicer.util.getNode("Review clicks")
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        self.assertEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        points.AddControlPointWorld(list(world_of(volume, UNSEEN)))
        longest = self.waitFor(lambda: "voxels changed" in ui.clickLabel.text, 60)
        print(f"longest wait of events while clicking: {longest:.0f} ms")
        found = self._fused() & ~painted
        overlap = 2 * (found & ball(UNSEEN)).sum() / (found.sum() + ball(UNSEEN).sum())
        self.assertGreater(overlap, 0.9)
        self.picture(widget, "ensemble-clicked")
        ui.addClickButton.click()
        self.assertNotEqual(interaction.GetCurrentInteractionMode(), interaction.Place)

        # undo all of it, with the decisions
        for expected in (painted, ball(LESION) | ball(SECOND), ball(LESION) | ball(SECOND), ball(LESION)):
            ui.undoButton.click()
            self._equal(expected)
        slicer.app.processEvents()
        self.assertEqual(ui.hotSpotTable.item(1 - row, 3).text(), "")
        for _ in range(2):
            ui.redoButton.click()
        self._equal(ball(LESION) | ball(SECOND))

        # accept
        ui.reviewerEdit.setText("")
        self.assertFalse(ui.acceptButton.enabled)
        ui.reviewerEdit.setText("reader 1")
        ui.acceptButton.click()
        self.waitFor(lambda: not widget._word.saves.waiting, 120)
        self.assertFalse(ui.errorFrame.visible, ui.errorLabel.text)
        record, = FeedbackStore(self._store).records()
        self.assertEqual(record.origin, "corrected")
        self.picture(widget, "ensemble-accepted")

    def test_the_embedded_editor_has_its_tools(self):
        self._fuse()
        editor = self.widget._editor.widget
        if not hasattr(editor, "availableEffectNames"):
            return  # the stand-in of the application has no tools
        editor.setActiveEffectByName("Paint")
        self.assertEqual(editor.activeEffect().name, "Paint")
        editor.setActiveEffect(None)

    def _fuse(self):
        volume, readers = add_case(slicer.mrmlScene)
        slicer.app.processEvents()
        self.widget._inputs.images.check(volume.GetID())
        for reader in readers:
            self.widget._inputs.experts.check(reader.GetID())
        self.assertTrue(self.ui.applyButton.enabled, self.ui.reasonLabel.text)
        self.ui.applyButton.click()
        self.waitFor(lambda: not self.widget._run.isRunning)
        self.assertEqual(self.widget._run.state, RunState.DONE, self.ui.errorLabel.text)
        return volume

    def _fused(self):
        case = self.widget._case
        return slicer.util.arrayFromSegmentBinaryLabelmap(case.nodes.fusion, "whole_tumour", case.volume) > 0

    def _equal(self, expected):
        self.assertTrue(np.array_equal(self._fused(), expected))
