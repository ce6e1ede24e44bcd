"""What every module of MRI Seg Suite shares: jobs, images, models, measures, scene, panel, reports."""

__version__ = "0.1.0"
