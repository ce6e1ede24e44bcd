"""The virtual knee: label maps of real anatomy turned into MR-like images with known truth.

    label map --deformation--> new anatomy --tissues--> tissue map --contrast, acquisition--> image and truth

The images train and test the embedded network; the demo makes one that nobody has seen.
"""
