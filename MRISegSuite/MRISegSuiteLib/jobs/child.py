"""A task that needs another one: a job within a job, in a folder of its own below that of the first.

It runs in the worker of the first, so that progress, cancelling and a crash are those of one job; and it is found by
the name of its task, so that modules need not know each other.
"""

from __future__ import annotations

from pathlib import Path

from .context import JobContext
from .description import Job
from .result import Result
from .tasks import find_task


class ChildContext(JobContext):
    """What the inner task gets: a folder below the outer one's, and a part of its progress bar.

    Args:
        outer: context of the outer task. name: of the folder. title: put before each stage and warning.
        begin, end: the part of the outer job, as fractions, that this one takes.
        with_stages: False: the title is all that is told of its progress.
    """

    def __init__(self, outer: JobContext, name: str, title: str, begin: float, end: float, with_stages: bool = True):
        super().__init__(outer.folder / name, outer.log, outer.device_preference)
        self._outer, self._title, self._begin, self._end = outer, title, begin, end
        self._with_stages = with_stages

    def progress(self, stage: str, fraction: float) -> None:
        text = f"{self._title}: {stage[:1].lower()}{stage[1:]}" if self._with_stages else self._title
        self._outer.progress(text, self._begin + fraction * (self._end - self._begin))

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self._outer.warn(f"{self._title}: {text}")


def run_child(
    job: Job, outer: JobContext, name: str, title: str, begin: float, end: float, with_stages: bool = True
) -> tuple[Result, Path]:
    """Run a job within another one.

    Args:
        job: with absolute paths. Others: see :class:`ChildContext`.

    Returns:
        Its result, and the folder that its files are relative to. What the outer job keeps of it, it lists among its
        own files, with the folder's name before; the rest is gone when the outer job has ended.

    Raises:
        SuiteError: whatever the inner task raises ends the outer one as well.
    """
    context = ChildContext(outer, name, title, begin, end, with_stages)
    context.folder.mkdir(parents=True)
    return find_task(job.task)(job, context), context.folder
