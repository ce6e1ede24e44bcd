"""MRML nodes from and to images, segments, surfaces and tables. Knows slicer and vtk, not Qt.

Works inside Slicer and in plain Python with slicer-core (see :mod:`.headless`).
"""
