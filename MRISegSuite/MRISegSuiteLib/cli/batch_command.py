"""``mriseg batch``: many scans from a table, each a job of its own; what is done stays done."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from ..environment import variables_for
from ..errors import BadArguments, BadInput, Cancelled, SuiteError
from ..files import write_text
from ..jobs import Job, JobProcess, Result
from ..jobs.description import FILE_NAME as JOB_FILE
from .arguments import check_together, parse
from .jobs_commands import POLL_EVERY_S, compare_job, end_requests, ensemble_job, knee_job
from .progress_lines import duration
from .scene_step import add_scene
from .worker_python import WorkerPython

_JOBS = {"knee": knee_job, "ensemble": ensemble_job, "compare": compare_job}
#: Columns that are no option of the command: the name of the row, and the scan (of ensemble and compare: several).
_ID, _INPUT = "id", "input"
#: Options whose value is a file, relative to the manifest; those that may be several things, divided by ;; those that
#: are there (yes) or not (no); and those that are given once for each thing.
_PATHS = ("segmentation", "baseline", "echoes", "masks", "registration-masks", "sam3", "medgemma")
_SEVERAL = ("echoes", "masks", "registration-masks", "dates", "prompt")
_SWITCHES = ("without-calibration", "jacobian")
_REPEATED = ("prompt",)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}")


@dataclass
class _Row:
    """One line of the manifest: its name, its job, and how it ended."""

    name: str
    job: Job
    folder: Path
    status: str = "waiting"
    message: str = ""
    seconds: float = 0.0
    process: JobProcess | None = None


def batch(arguments, worker: WorkerPython) -> int:
    """Run all rows of the manifest, some at a time; rows that are done already are left as they are.

    Returns:
        0 all done, 1 some failed, 3 stopped.

    Raises:
        BadInput, BadArguments: the manifest is wrong; nothing was started then.
    """
    out = Path(arguments.out)
    rows = read_manifest(Path(arguments.manifest), arguments.task, out)
    out.mkdir(parents=True, exist_ok=True)
    for row in rows:
        if _is_done(row):
            row.status, row.message = "done", "was done already"
    begin = time.monotonic()
    with end_requests() as asked:
        _run(rows, max(1, arguments.workers), worker, asked)
        stopped = asked.is_set()
    write_summary(rows, out)
    done = sum(row.status == "done" for row in rows)
    print(f"batch: {done} of {len(rows)} done in {duration(time.monotonic() - begin)}; tables in {out}")
    for row in rows:
        if row.status == "failed":
            print(f"  {row.name}: {row.message}")
    if stopped:
        raise Cancelled("The batch was stopped.", "Start it again to go on: what is done stays done.")
    return 0 if done == len(rows) else 1


def read_manifest(path: Path, task: str, out: Path) -> list[_Row]:
    """The rows of a table whose columns are ``id``, ``input`` and options of the task's command.

    Raises:
        BadInput: it cannot be read, or names no rows.
        BadArguments: a row is wrong; the message names it.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            lines = [
                {(k or "").strip(): (v or "").strip() for k, v in line.items() if not isinstance(v, list)}
                for line in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"The manifest {path} cannot be read: {error}.", "Give a CSV file with a header.") from error
    if not lines or _ID not in lines[0]:
        raise BadInput(f"The manifest {path} has no rows, or no column {_ID!r}.",
                       "Its columns are id, input, and options such as segmentation or baseline.")
    rows, names = [], set()
    for number, line in enumerate(lines, start=2):
        name = line.pop(_ID)
        if not _NAME.fullmatch(name) or name.lower() in names:
            raise BadArguments(f"Line {number} of {path}: the id {name!r} is empty, twice there, or no plain name.",
                               "Use letters, digits, dots, dashes and underscores.")
        names.add(name.lower())
        try:
            rows.append(_Row(name, _job_of(line, task, path.parent, out / name), out / name))
        except SuiteError as error:
            raise BadArguments(f"Line {number} of {path} ({name}): {error}") from error
    return rows


def write_summary(rows: list[_Row], out: Path) -> None:
    """``batch.csv``: how each row ended; ``measurements.csv``: every number of every row that is done."""
    _write_csv(out / "batch.csv", ["id", "status", "seconds", "message"],
               [[row.name, row.status, f"{row.seconds:.0f}", row.message] for row in rows])
    lines = []
    for row in rows:
        if row.status == "done":
            for m in Result.read(row.folder).measurements:
                low, high = m.interval or ("", "")
                lines.append([row.name, m.structure, m.region, m.name, f"{m.value:.6g}", m.unit, low, high])
    _write_csv(out / "measurements.csv", ["id", "structure", "region", "name", "value", "unit", "low", "high"], lines)


def _job_of(line: dict[str, str], task: str, base: Path, folder: Path) -> Job:
    """The job that the task's command would make of these options."""
    words = [task]
    if line.get(_INPUT):
        scans = [line[_INPUT]] if task == "knee" else _parts(line[_INPUT])
        words += [_input(scan, base) for scan in scans]
    for option, value in line.items():
        if value and option != _INPUT:
            words += _option(option, value, base)
    words += ["--out", str(folder)]
    arguments = _parsed(words)
    check_together(arguments)
    return _JOBS[task](arguments)


def _option(option: str, value: str, base: Path) -> list[str]:
    """A cell as words of the command line."""
    if option in _SWITCHES:
        if value.lower() not in ("yes", "no"):
            raise BadArguments(f"{option} is {value!r}.", "Write yes or no.")
        return [f"--{option}"] if value.lower() == "yes" else []
    values = _parts(value) if option in _SEVERAL else [value]
    if option in _PATHS:
        values = [str(base / part) for part in values]
    if option in _REPEATED:
        return [word for part in values for word in (f"--{option}", part)]
    return [f"--{option}", *values]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _input(text: str, base: Path) -> str:
    """A scan relative to the manifest; ``FLAIR=scan.nii.gz`` keeps what it is called."""
    channel, equals, path = text.partition("=")
    if equals and not (base / text).exists():
        return f"{channel}={base / path.strip()}"
    return str(base / text)


def _parsed(words: list[str]) -> Namespace:
    try:
        return parse(words)
    except SystemExit as end:  # what is wrong has been printed
        raise BadArguments("its columns are no options of the command, or a value is wrong (see above).") from end


def _is_done(row: _Row) -> bool:
    """Whether the folder holds the finished result of this very job."""
    try:
        same = json.loads((row.folder / JOB_FILE).read_text(encoding="utf-8")) == row.job.to_record()
        return same and Result.read(row.folder).failure() is None
    except (OSError, ValueError, SuiteError):
        return False


def _run(rows: list[_Row], workers: int, worker: WorkerPython, asked) -> None:
    waiting = [row for row in rows if row.status == "waiting"]
    running: list[_Row] = []
    while (waiting or running) and not asked.is_set():
        while waiting and len(running) < workers:
            row = waiting.pop(0)
            if _started(row, worker):
                running.append(row)
        for row in list(running):
            state = row.process.poll()
            if state.status == "running":
                continue
            running.remove(row)
            row.status, row.message = state.status, state.message
            if state.status == "done":
                row.message = add_scene(row.folder, row.job.task, worker)
            row.seconds = time.monotonic() - row.seconds
            done = sum(r.status != "waiting" and r not in running for r in rows)
            print(f"[{done} of {len(rows)}] {row.name}: {row.status}", file=sys.stderr, flush=True)
        asked.wait(POLL_EVERY_S)
    for row in running:
        row.process.cancel()
        row.status, row.seconds = "cancelled", time.monotonic() - row.seconds


def _started(row: _Row, worker: WorkerPython) -> bool:
    try:
        row.process = JobProcess.for_job(
            row.job, row.folder, python=worker.executable, environment=variables_for(row.job, worker.environment))
        row.process.start()
    except SuiteError as error:
        row.status, row.message = "failed", str(error)
        return False
    row.status, row.seconds = "running", time.monotonic()
    return True


def _write_csv(path: Path, header: list[str], lines: list[list]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *lines])
    write_text(path, stream.getvalue())
