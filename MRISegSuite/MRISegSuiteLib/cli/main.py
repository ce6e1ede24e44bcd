"""``mriseg``: from arguments to an exit code."""

from __future__ import annotations

import sys

from ..errors import Cancelled, SuiteError
from . import batch_command, experts_command, jobs_commands, models_command, sign_command, test_command
from .arguments import check_together, parse
from .worker_python import WorkerPython

_COMMANDS = {
    "demo": jobs_commands.demo,
    "knee": jobs_commands.knee,
    "ensemble": jobs_commands.ensemble,
    "compare": jobs_commands.compare,
    "batch": batch_command.batch,
    "run": jobs_commands.run,
    "sign": sign_command.sign,
    "experts": experts_command.experts,
    "models": models_command.models,
    "test": test_command.test,
}


def main(argv=None, worker: WorkerPython | None = None) -> int:
    """Run ``mriseg`` with these arguments and return its exit code; never raises, never opens a dialog.

    Args:
        argv: arguments without the program's name; None for those of this process.
        worker: the Python of the worker process; by default this one, or Slicer's when this runs inside Slicer.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot print µ must not end the job
    try:
        arguments = parse(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as end:  # argparse has printed the help, or what is wrong
        return end.code if isinstance(end.code, int) else 2
    try:
        check_together(arguments)
        return _COMMANDS[arguments.command](arguments, worker or WorkerPython.here())
    except SuiteError as error:
        print(f"mriseg: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"mriseg: {Cancelled('Stopped.')}", file=sys.stderr, flush=True)
        return Cancelled.exit_code
