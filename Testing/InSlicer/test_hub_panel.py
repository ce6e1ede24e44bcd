"""The hub's panel in the application."""

from application_test import ApplicationTest

from MRISegSuiteLib.panel.run_state import RunState


class HubPanelTest(ApplicationTest):
    def test_the_device_report(self):
        panel = self.panel("MRISegSuite")
        panel.ui.probeButton.click()
        self.assertEqual(panel._probe.state, RunState.RUNNING)
        self.waitFor(lambda: not panel._probe.isRunning)
        self.assertEqual(panel._probe.state, RunState.DONE, panel.ui.probe_errorLabel.text)
        self.assertIn("Networks ", panel.ui.deviceLabel.text)
        self.picture(panel, "hub")

    def test_nothing_is_installed_without_agreement(self):
        panel = self.panel("MRISegSuite")
        panel.ui.agreeCheckBox.checked = False
        self.assertFalse(panel.ui.installButton.enabled)
        self.assertTrue(panel.ui.environmentReasonLabel.text)

    def test_every_model_is_listed_with_its_card(self):
        panel = self.panel("MRISegSuite")
        cards = panel.logic.registry().cards()
        self.assertEqual(panel.ui.modelsTable.rowCount, len(cards))
        for row, card in enumerate(cards):
            panel.ui.modelsTable.selectRow(row)
            self.assertIn(card.title, panel.ui.modelCardBrowser.plainText)
