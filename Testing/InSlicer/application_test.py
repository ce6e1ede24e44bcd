"""What the tests in Slicer share: a clean scene, panels, waiting, pictures."""

import os
import tempfile
import time
import unittest

import slicer

_FOLDER = os.environ.get("MRISEG_TEST_OUTPUT") or tempfile.mkdtemp(prefix="mriseg-in-slicer-")


class ApplicationTest(unittest.TestCase):
    """A test case on an empty scene."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()

    def tearDown(self):
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()

    def panel(self, name):
        """The Python widget of a module, made and entered as when a person chooses the module."""
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule(name)
            return slicer.util.getModuleWidget(name)
        representation = slicer.util.getModule(name).widgetRepresentation()
        if not representation.isEntered:
            representation.enter()
            self.addCleanup(representation.exit)
        representation.show()
        return representation.self()

    def waitFor(self, condition, seconds=300):
        """Let the application work until ``condition()`` holds; returns the longest time that events waited, ms."""
        deadline = time.monotonic() + seconds
        longest, last = 0.0, time.monotonic()
        while not condition():
            self.assertLess(time.monotonic(), deadline, "waited in vain")
            slicer.app.processEvents()
            now = time.monotonic()
            longest, last = max(longest, 1000 * (now - last)), now
            time.sleep(0.005)
        return longest

    def picture(self, panel, name):
        """Save a picture of the panel for a person to look at."""
        window = panel.parent
        if window.isWindow():  # not inside the main window, which scrolls: give it the height that its texts need
            window.resize(400, max(window.heightForWidth(400), 400))
        slicer.app.processEvents()
        os.makedirs(_FOLDER, exist_ok=True)
        path = os.path.join(_FOLDER, f"{name}.png")
        self.assertTrue(panel.parent.grab().save(path), path)
        print(f"picture: {path}")
