"""Rigid alignment of the scans of one patient: for looking and for comparing, never for measuring volumes.

``masks`` and ``preparation``: what the engines see; ``engines``: who registers; ``rigid``: matrices and their means;
``gate``: whether the result may be trusted; ``alignment``: all of it for two or more timepoints; ``common_space``: the
space in the middle, in which timepoints are shown and compared.
"""
