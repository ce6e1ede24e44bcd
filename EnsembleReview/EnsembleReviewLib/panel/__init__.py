"""Reviewing in Slicer: what happens to the scene, and the pieces of the panel.

``segment_voxels``   segments as arrays within a box, read and written as Slicer's own tools do
``case``             one result under review: hot spots, decisions, prompts, undo
``saving``           a decision on a case on its way into the feedback store
``statistics_nodes`` statistics of the experts as table and chart
``recipes``          what was done as a script and as a command

The others are pieces of the panel itself: sections, lists, tables, keys, clicks.
"""
