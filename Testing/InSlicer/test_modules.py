"""The modules are there, loaded without error, and their own tests pass."""

import slicer
from application_test import ApplicationTest

_MODULES = ("MRISegSuite", "KneeSeg", "EnsembleReview", "LongitudinalCompare")


class ModulesTest(ApplicationTest):
    def test_modules_are_loaded(self):
        for name in _MODULES:
            module = slicer.util.getModule(name)
            self.assertTrue(module.title)
            self.assertIn("Segmentation", module.categories)
            self.assertTrue(hasattr(slicer.modules, name.lower()))

    def test_self_tests_pass(self):
        for name in _MODULES:
            slicer.selfTests[name]()

    def test_no_heavy_package_is_in_the_application(self):
        import sys

        for name in _MODULES:
            self.panel(name)
        loaded = {"torch", "monai", "transformers", "ants"} & set(sys.modules)
        self.assertEqual(loaded, set())

    def test_modules_survive_a_reload(self):
        for name in _MODULES:
            before = self.panel(name)
            slicer.util.reloadScriptedModule(name)
            after = getattr(slicer.modules, name + "Widget")
            self.assertIsNot(before, after)
