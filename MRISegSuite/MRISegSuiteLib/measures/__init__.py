"""How alike two masks are: what every module uses to compare raters, models, timepoints and truth.

``overlap``            Dice, Jaccard, volumes, from counts of voxels
``surface_distance``   HD95, ASSD and surface Dice, from distances between the surfaces in mm
"""
