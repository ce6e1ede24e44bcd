"""A mask improved by clicks and boxes: by a random walker near the click, which needs nothing to install, or by SAM 3
where a user has a checkpoint.

``random_walker``  the equation
``local_region``   the few thousand voxels around a click, on an even grid
``prompts``        clicks and boxes on an image and a mask -> the mask with the change
``sam3_clicks``    the same answered by SAM 3 on the slices around the click
``worker``         a process that stays warm and answers one prompt after the other
``client``         starts the worker and talks to it without waiting
"""
