"""Jobs: a description (job.json) goes in, a folder with result.json comes out, a process of its own does the work."""

from .child import run_child
from .context import JobContext
from .description import Job
from .result import Measurement, Result
from .runner import JobProcess, JobState

__all__ = ["Job", "JobContext", "JobProcess", "JobState", "Measurement", "Result", "run_child"]
