"""Talks to the worker without ever waiting for it: ask, then look now and then whether there is an answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MRISegSuiteLib.errors import SuiteError, WorkerCrashed
from MRISegSuiteLib.jobs.runner import library_folders

from .prompts import Task

#: For the worker: what OMP_NUM_THREADS was before it was set to 1.
THREADS_VARIABLE = "MRISEG_NETWORK_THREADS"


@dataclass(frozen=True)
class Answer:
    """The new mask (bool) of the part, and why it is not SAM 3's although that was asked ("": it is, or was not)."""

    mask: np.ndarray
    note: str = ""


class RefinementClient:
    """Holds one worker, started before the first click so that it is warm when that comes.

    Args:
        python: the worker's Python.
        environment: its environment variables; the libraries of the suite are added to PYTHONPATH.
    """

    def __init__(self, python: str, environment: dict[str, str]):
        self._python, self._environment = python, dict(environment)
        self._process: subprocess.Popen | None = None
        self._folder: Path | None = None
        self._number = 0
        self._waiting = False

    @property
    def isWaiting(self) -> bool:
        """Whether a question has no answer yet."""
        return self._waiting

    def start(self) -> None:
        """Start the worker; nothing happens where it runs. Returns at once.

        Raises:
            WorkerCrashed: there is no such Python.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        self._folder = Path(tempfile.mkdtemp(prefix="mriseg-refinement-"))
        environment = dict(self._environment)
        inherited = environment.get("PYTHONPATH", "").split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(library_folders() + [p for p in inherited if p]))
        # One click is a few hundred milliseconds of sparse algebra: more threads only get into each other's way.
        # A network gets as many as before; those that wait for each other do not spin, for the window needs the
        # processors too.
        environment |= {THREADS_VARIABLE: environment.get("OMP_NUM_THREADS", ""), "OMP_NUM_THREADS": "1",
                        "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUTF8": "1"}
        try:
            with open(self._folder / "log.txt", "wb") as log:
                self._process = subprocess.Popen(
                    [self._python, "-m", "EnsembleReviewLib.refinement.worker", str(self._folder)],
                    stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
        except OSError as exception:
            self.stop()
            raise WorkerCrashed(f"The worker's Python {self._python} cannot be started: {exception.strerror}.",
                                "Check the path of that Python.") from exception

    def ask(self, task: Task, gray: np.ndarray, mask: np.ndarray, sam3: dict | None = None) -> None:
        """Ask for the mask of a part of the image after a prompt (see ``prompts.solve``). One question at a time.

        Args:
            task, gray, mask: the prompt, and the voxels of its part.
            sam3: ``{"checkpoint": folder, "device": …}`` to ask SAM 3, which answers from a wide part; None for the
                random walker.

        Raises:
            WorkerCrashed: the worker cannot be started.
        """
        if self._waiting:
            raise RuntimeError("the worker is still at the question before")
        self.start()
        self._number += 1
        try:
            np.save(self._folder / f"gray-{self._number}.npy", np.ascontiguousarray(gray))
            np.save(self._folder / f"mask-{self._number}.npy", np.ascontiguousarray(mask, dtype=bool))
            line = json.dumps({"number": self._number, "task": task.to_record(), "sam3": sam3}) + "\n"
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as exception:
            raise self._crashed() from exception
        self._waiting = True

    def forget(self) -> None:
        """Nobody waits for the answer any more; the worker ends its work on it and keeps what it has loaded."""
        self._waiting = False

    def answer(self) -> Answer | None:
        """The answer, or None while the worker is at work. Returns at once.

        Raises:
            SuiteError: there will be no answer.
        """
        if not self._waiting:
            raise RuntimeError("nothing was asked")
        answer = self._folder / f"answer-{self._number}.npy"
        refusal = answer.with_suffix(".txt")
        if answer.is_file():
            mask = np.load(answer, allow_pickle=False)
            answer.unlink()
            note = self._folder / f"note-{self._number}.txt"
            text = note.read_text(encoding="utf-8") if note.is_file() else ""
            note.unlink(missing_ok=True)
            self._waiting = False
            return Answer(mask, text)
        if refusal.is_file():
            self._waiting = False
            raise SuiteError(f"The click could not be worked on: {refusal.read_text(encoding='utf-8')}.")
        if self._process.poll() is not None:
            raise self._crashed()
        return None

    def stop(self) -> None:
        """End the worker and remove its files."""
        self._waiting = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _crashed(self) -> WorkerCrashed:
        """The error for a worker that is gone; the next question starts another one."""
        log = (self._folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        code = self._process.poll()
        self.stop()
        return WorkerCrashed(f"The worker for clicks ended with exit code {code}.", log[-1] if log else "Click again.")
