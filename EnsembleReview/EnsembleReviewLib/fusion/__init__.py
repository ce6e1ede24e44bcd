"""Many opinions to one.

``methods``   majority, weighted, STAPLE and confidence-weighted, each as support of every structure
``staple``    STAPLE on vote patterns
``painting``  from fused masks to one label map
"""

from .methods import METHODS, Fusion, FusionSettings, fuse

__all__ = ["METHODS", "Fusion", "FusionSettings", "fuse"]
