"""Writes a scan of a virtual knee: ``python make_virtual_scan.py OUT.nrrd``.

In a process of its own, because drawing one needs torch, which must not get into the application's process.
"""

import sys

import SimpleITK as sitk

from KneeSegLib.demo import make_virtual_knee

# Coarser than the demo's knee, so that drawing and segmenting it takes seconds; within what the model's card allows.
SPACING_MM = (4.2, 0.8, 0.8)

if __name__ == "__main__":
    image, _truth = make_virtual_knee(seed=3, spacing_mm=SPACING_MM)
    sitk.WriteImage(image, sys.argv[1])
