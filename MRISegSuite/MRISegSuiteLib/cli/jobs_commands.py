"""The commands that are jobs: demo, knee, run."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from ..environment import variables_for
from ..errors import BadArguments, BadInput
from ..images.channels import channel_of
from ..jobs import Job, JobProcess, JobState, Result
from ..jobs.description import FILE_NAME as JOB_FILE
from ..jobs.folder import LOG_FILE
from ..models import Registry
from .progress_lines import ProgressLines, duration
from .scene_step import add_scene
from .worker_python import WorkerPython

POLL_EVERY_S = 0.1


def demo(arguments, worker: WorkerPython) -> int:
    """``mriseg demo``"""
    return run_job(Job("demo", {}, {"device": arguments.device}), Path(arguments.out), worker)


def knee(arguments, worker: WorkerPython) -> int:
    """``mriseg knee``"""
    return run_job(knee_job(arguments), Path(arguments.out), worker)


def knee_job(arguments) -> Job:
    """The job of ``mriseg knee`` with these arguments.

    Raises:
        SuiteError: a file or the model is not there.
    """
    inputs, parameters, model = {}, {"side": arguments.side, "device": arguments.device}, None
    for name in ("without", "layers", "t2", "shape_model"):
        if getattr(arguments, name) not in (None, [], {}):
            parameters[name] = getattr(arguments, name)
    if arguments.input is not None:
        inputs["image"] = _existing(arguments.input)
    if arguments.baseline is not None:
        inputs["baseline"] = _existing(arguments.baseline)
    if arguments.echoes:
        inputs["echoes"] = [_existing(path) for path in arguments.echoes]
    if arguments.segmentation is not None:
        inputs["segmentation"] = _existing(arguments.segmentation)
        if arguments.labels:
            parameters["labels"] = arguments.labels
    else:
        model = Registry().choose("knee", arguments.model).to_record()
    return Job("knee", inputs, parameters, model)


def ensemble(arguments, worker: WorkerPython) -> int:
    """``mriseg ensemble``"""
    return run_job(ensemble_job(arguments), Path(arguments.out), worker)


def ensemble_job(arguments) -> Job:
    """The job of ``mriseg ensemble`` with these arguments.

    Raises:
        SuiteError: a file is not there.
    """
    inputs: dict = {}
    parameters = {"fusion": arguments.fusion, "vote": arguments.vote, "device": arguments.device}
    images = [_channel_and_file(text) for text in arguments.input]
    if images:
        inputs["image"] = images[0][1]
        if images[1:]:
            inputs["channels"] = [path for _, path in images[1:]]
        if any(name for name, _ in images):
            parameters["channel_names"] = [name for name, _ in images]
    if arguments.masks:
        inputs["masks"] = [_existing(path) for path in arguments.masks]
    given = {"experts": arguments.experts, "labels": arguments.labels, "weights": arguments.weights}
    parameters |= {name: value for name, value in given.items() if value}
    if arguments.sam3:
        parameters["sam3"] = {"checkpoint": _existing(arguments.sam3), "prompts": arguments.prompt}
    if arguments.medgemma:
        parameters["medgemma"] = {"checkpoint": _existing(arguments.medgemma)}
    if arguments.fusion == "staple":
        parameters["staple_region"] = arguments.staple_region
        if arguments.staple_prior is not None:
            parameters["staple_prior"] = arguments.staple_prior
    return Job("ensemble", inputs, parameters)


def compare(arguments, worker: WorkerPython) -> int:
    """``mriseg compare``"""
    return run_job(compare_job(arguments), Path(arguments.out), worker)


def compare_job(arguments) -> Job:
    """The job of ``mriseg compare`` with these arguments.

    Raises:
        SuiteError: a file or the model is not there.
    """
    timepoints = arguments.timepoint or [[text] for text in arguments.input]
    scans = [[_contrast_and_file(text) for text in one] for one in timepoints]
    scans = _reference_first(scans, channel_of(arguments.reference or "") or arguments.reference)
    inputs = {"images": [one[0][1] for one in scans]}
    for number, one in enumerate(scans, start=1):
        if one[1:]:
            inputs[f"channels_{number}"] = [path for _, path in one[1:]]
    if arguments.masks:
        inputs["masks"] = [_existing(path) for path in arguments.masks]
    if arguments.registration_masks:
        inputs["registration_masks"] = [_existing(path) for path in arguments.registration_masks]
    given = ("labels", "structure", "dates", "criteria", "engine", "anatomy", "within_session", "experts",
             "brain_model")
    parameters = {name: getattr(arguments, name) for name in given if getattr(arguments, name)}
    parameters["device"] = arguments.device
    if any(name for one in scans for name, _ in one):
        parameters["channel_names"] = [[name for name, _ in one] for one in scans]
    if arguments.without_calibration:
        parameters["calibrate"] = False
    if arguments.calibrate is not None:
        parameters["calibrate_image"] = arguments.calibrate
    if arguments.jacobian:
        parameters["jacobian"] = True
    model = None
    if arguments.model:
        registry = Registry()
        task = next((card.task for card in registry.cards() if card.id == arguments.model), "lesion")
        model = registry.choose(task, arguments.model).to_record()
    return Job("compare", inputs, parameters, model)


def _reference_first(scans: list[list[tuple[str, str]]], wanted: str | None) -> list[list[tuple[str, str]]]:
    """The contrasts of each timepoint, that one first by which the timepoints are registered.

    Raises:
        BadArguments: not all timepoints have it.
    """
    if wanted is None:
        shared = [name for name, _ in scans[0] if name and all(name in dict(one) for one in scans)]
        if not shared:
            if any(len(one) > 1 for one in scans):
                raise BadArguments("The timepoints have no contrast in common by which they could be registered.",
                                   "Name the contrasts alike: --timepoint FLAIR=a.nii.gz T1c=b.nii.gz.")
            return scans
        wanted = shared[0]
    for number, one in enumerate(scans, start=1):
        if wanted not in dict(one):
            raise BadArguments(f"Timepoint {number} has no {wanted}.", "Choose a --reference that all have.")
    return [sorted(one, key=lambda scan: scan[0] != wanted) for one in scans]


def _contrast_and_file(text: str) -> tuple[str, str]:
    """The same with the contrast as it is usually called; a file without one is asked by its name."""
    name, path = _channel_and_file(text)
    return channel_of(name or Path(path).name.split(".")[0]) or name, path


def _channel_and_file(text: str) -> tuple[str, str]:
    """``FLAIR=a.nii.gz`` as ("FLAIR", absolute path); a plain file has no channel name."""
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return name, _existing(path)
    return "", _existing(text)


def run(arguments, worker: WorkerPython) -> int:
    """``mriseg run JOB.json``"""
    path = Path(arguments.job)
    if path.is_dir():
        path = path / JOB_FILE
    return run_job(Job.read(path), Path(arguments.out) if arguments.out else path.parent, worker)


def run_job(job: Job, folder: Path, worker: WorkerPython) -> int:
    """Run a job in a worker process with progress on stderr; Ctrl+C cancels. Returns the exit code.

    Raises:
        SuiteError: what stopped it before the worker was started.
    """
    begin = time.monotonic()
    process = JobProcess.for_job(job, folder, python=worker.executable,
                                 environment=variables_for(job, worker.environment))

    def start() -> JobProcess:
        process.start()
        return process

    state = follow(start)
    if state.error is not None:
        print(f"mriseg: {state.message} (Details: {folder / LOG_FILE})", file=sys.stderr, flush=True)
        return state.error.exit_code
    result = process.result()
    note = add_scene(folder, result.task, worker)
    _tell(Result.read(folder), folder, time.monotonic() - begin, note)
    return 0


def follow(start: Callable[[], JobProcess]) -> JobState:
    """Call ``start`` and show the progress of the process it returns on stderr until that ends; Ctrl+C cancels it."""
    lines = ProgressLines()
    with end_requests() as asked:
        process = start()
        while (state := process.poll()).status == "running":
            if asked.is_set():
                state = process.cancel()
                break
            lines.show(state)
            time.sleep(POLL_EVERY_S)
    lines.end()
    return state


def _tell(result: Result, folder: Path, seconds: float, note: str) -> None:
    print(f"{result.task}: done in {duration(seconds)}; results in {folder}")
    for role, name in result.files.items():
        if role in ("report", "table", "segmentation", "scene"):
            print(f"  {role}: {shlex.quote(str(folder / name))}")
    for structure, values in _whole_structures(result).items():
        print(f"  {structure}: {', '.join(values)}")
    for text in result.warnings:
        print(f"  warning: {text}")
    if note:
        print(f"  note: {note}")
    sys.stdout.flush()


def _whole_structures(result: Result) -> dict[str, list[str]]:
    """Structure -> its measurements as a whole, as text; regions and standard deviations are in the table."""
    lines: dict[str, list[str]] = {}
    for m in result.measurements:
        if m.region == "whole" and not m.name.endswith("_SD") and m.value == m.value:
            unit = m.unit.replace("mm2", "mm²").replace("mm3", "mm³")
            number = f"{m.value:.0f}" if abs(m.value) >= 1000 else f"{m.value:.3g}"
            lines.setdefault(m.structure, []).append(f"{m.name} {number} {unit}".removesuffix(" 1"))
    return lines


def _existing(path: str) -> str:
    """The absolute path of an input, checked before anything of an earlier run is replaced."""
    if not Path(path).exists():
        raise BadInput(f"{path} does not exist.", "Check the path.")
    return str(Path(path).resolve())


@contextmanager
def end_requests():
    """An event that is set by Ctrl+C, a polite request to end (kill) or a closed terminal.

    A handler that raised would be lost where Python ignores exceptions (in a finalizer), and the job would go on.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = {name: signal.signal(getattr(signal, name), lambda *_: asked.set()) for name in names}
    try:
        yield asked
    finally:
        for name, handler in former.items():
            signal.signal(getattr(signal, name), handler)
