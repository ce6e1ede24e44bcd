"""The process that answers prompts: ``python -m EnsembleReviewLib.refinement.worker FOLDER``.

One request a line on the standard input: ``{"number": n, "task": {…}}`` with the voxels in FOLDER/gray-n.npy and
FOLDER/mask-n.npy. The answer is FOLDER/answer-n.npy (the new mask) or FOLDER/answer-n.txt (why there is none), written
aside and renamed. It ends when its input ends, so it never outlives who started it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from .prompts import Task, solve


def main(folder: Path) -> None:
    """Answer requests until there are no more."""
    _warm_up()
    (folder / "ready").touch()
    for line in sys.stdin:
        request = json.loads(line)
        number = int(request["number"])
        gray, mask = folder / f"gray-{number}.npy", folder / f"mask-{number}.npy"
        try:
            after = solve(Task.from_record(request["task"]), np.load(gray, allow_pickle=False),
                          np.load(mask, allow_pickle=False))
        except Exception as exception:  # the panel shows it; the next click may work
            text, ending = f"{type(exception).__name__}: {exception}", "txt"
        else:
            text, ending = None, "npy"
        aside, answer = folder / f"aside-{number}.{ending}", folder / f"answer-{number}.{ending}"
        if text is None:
            np.save(aside, after)
        else:
            aside.write_text(text, encoding="utf-8")
        os.replace(aside, answer)
        gray.unlink(missing_ok=True)
        mask.unlink(missing_ok=True)


def _warm_up() -> None:
    """The first call of a library is the slow one."""
    gray = np.random.default_rng(0).normal(size=(12, 12, 12))
    task = Task((slice(0, 12),) * 3, (6.0, 6.0, 6.0), (6.0, 6.0, 6.0), True, False, (1.0, 1.0, 1.0))
    solve(task, gray, gray > 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
