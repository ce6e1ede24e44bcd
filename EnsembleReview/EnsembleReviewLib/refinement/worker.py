"""The process that answers prompts: ``python -m EnsembleReviewLib.refinement.worker FOLDER``.

One request a line on the standard input: ``{"number": n, "task": {…}, "sam3": {"checkpoint", "device"} or null}`` with
the voxels in FOLDER/gray-n.npy and FOLDER/mask-n.npy. The answer is FOLDER/answer-n.npy (the new mask) or
FOLDER/answer-n.txt (why there is none), written aside and renamed; where SAM 3 was asked and the random walker has
answered, FOLDER/note-n.txt says why. It ends when its input ends, so it never outlives who started it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from MRISegSuiteLib.errors import SuiteError

from ..experts.interface import Abstains
from .client import THREADS_VARIABLE
from .prompts import Task, solve


def main(folder: Path) -> None:
    """Answer requests until there are no more."""
    _warm_up()
    (folder / "ready").touch()
    models = _Sam3()
    for line in sys.stdin:
        request = json.loads(line)
        number = int(request["number"])
        gray, mask = folder / f"gray-{number}.npy", folder / f"mask-{number}.npy"
        note = ""
        try:
            after, note = _answer(Task.from_record(request["task"]), np.load(gray, allow_pickle=False),
                                  np.load(mask, allow_pickle=False), request.get("sam3"), models)
        except Exception as exception:  # the panel shows it; the next click may work
            text, ending = _said(exception), "txt"
        else:
            text, ending = None, "npy"
        if note:
            (folder / f"note-{number}.txt").write_text(note, encoding="utf-8")  # there before the answer is
        aside, answer = folder / f"aside-{number}.{ending}", folder / f"answer-{number}.{ending}"
        if text is None:
            np.save(aside, after)
        else:
            aside.write_text(text, encoding="utf-8")
        os.replace(aside, answer)
        gray.unlink(missing_ok=True)
        mask.unlink(missing_ok=True)


class _Sam3:
    """The models of one checkpoint, loaded when first asked for and kept."""

    def __init__(self):
        self._key, self._clicks = None, None

    def get(self, checkpoint: str, device: str):
        if self._key != (checkpoint, device):
            from .sam3_clicks import Sam3Clicks

            self._key = self._clicks = None  # two of them may not fit into the memory
            os.environ.pop("OMP_NUM_THREADS", None)  # 1 is for the random walker
            if os.environ.get(THREADS_VARIABLE):
                os.environ["OMP_NUM_THREADS"] = os.environ[THREADS_VARIABLE]
            self._clicks = Sam3Clicks(checkpoint, device)
            self._key = (checkpoint, device)
        return self._clicks


def _answer(task: Task, gray: np.ndarray, before: np.ndarray, sam3: dict | None,
            models: _Sam3) -> tuple[np.ndarray, str]:
    """The new mask, and why SAM 3 has not made it although it was asked ("" where it was not, or has)."""
    if sam3 is None:
        return solve(task, gray, before), ""
    try:
        return models.get(sam3["checkpoint"], sam3["device"]).solve(task, gray, before), ""
    except Exception as exception:  # whatever a large model does, a click gets its answer
        note = _said(exception)
    near = task.narrow()
    after = before.copy()
    after[near.box] = solve(near, gray[near.box], before[near.box])
    return after, note


def _said(exception: Exception) -> str:
    if isinstance(exception, (Abstains, SuiteError)):
        return str(exception)
    return f"{type(exception).__name__}: {(str(exception).splitlines() or [''])[0][:300]}"


def _warm_up() -> None:
    """The first call of a library is the slow one."""
    gray = np.random.default_rng(0).normal(size=(12, 12, 12))
    task = Task((slice(0, 12),) * 3, (6.0, 6.0, 6.0), (6.0, 6.0, 6.0), True, False, (1.0, 1.0, 1.0))
    solve(task, gray, gray > 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
