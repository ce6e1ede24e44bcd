"""Starting a process whose whole tree of descendants can be ended at once. Only standard library, no Qt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_GONE_WITHIN_S = 2.0


def start_process(arguments, environment=None, folder=None, output=None, watched: bool = True) -> subprocess.Popen:
    """Start ``arguments`` as the head of its own group of processes, without a console window on Windows.

    Args:
        environment: the complete environment of the process; None for this process's own.
        folder: working directory.
        output: an open file (or ``subprocess.PIPE``) that takes stdout and stderr together.
        watched: give it a pipe as standard input that nobody ever writes to. It closes when this process dies,
            however it dies, which is how :func:`die_with_parent` notices.
    """
    options = {}
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    else:
        options["start_new_session"] = True
    return subprocess.Popen(
        [os.fspath(argument) for argument in arguments],
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE if watched else subprocess.DEVNULL,
        stdout=output if output is not None else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        **options,
    )


def end_tree(process: subprocess.Popen) -> None:
    """End the process and all its descendants now, and wait until they are gone.

    Everything is killed rather than asked to stop: jobs write aside and rename, so there is nothing to tidy up in the
    process, and native code (a convolution, ITK) would not listen for a while. The killed process may be a mere
    launcher (PythonSlicer), so ending that one alone would leave the real work running.
    """
    if os.name == "nt":
        if process.poll() is None:
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(process.pid)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, creationflags=subprocess.CREATE_NO_WINDOW,
            )
    else:
        _kill_group_and_descendants(process.pid)
    try:
        process.wait(_GONE_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_GONE_WITHIN_S)
    close_pipes(process)


def close_pipes(process: subprocess.Popen) -> None:
    """Close this side of the process's pipes."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def end_own_tree(exit_code: int = 1) -> None:
    """End this process with its descendants; does not return. For a worker that has lost its parent."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(os.getpid())], creationflags=subprocess.CREATE_NO_WINDOW)
    else:
        for pid in _descendants(os.getpid()):
            _signal(pid, signal.SIGKILL)
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(exit_code)


def wait_for_parents_death() -> None:
    """Block until the process that called :func:`start_process` is gone. Call from a thread of the started process."""
    # os.read, not sys.stdin: a thread blocked in sys.stdin holds a lock that Python wants at exit.
    try:
        while os.read(0, 1):
            time.sleep(0.01)
    except OSError:
        pass  # a standard input that breaks means the same as one that ends


def _kill_group_and_descendants(pid: int) -> None:
    deadline = time.monotonic() + _GONE_WITHIN_S
    # Descendants first, while the parent links still exist: one that made a session of its own is not in the group.
    others = _descendants(pid)
    _kill_group(pid)
    for other in others:
        _signal(other, signal.SIGKILL)
    while time.monotonic() < deadline:
        survivors = [other for other in others if _alive(other)]
        if not survivors:
            return
        # A process may have forked between listing and killing.
        for survivor in survivors:
            others |= _descendants(survivor)
        for other in others:
            _signal(other, signal.SIGKILL)
        time.sleep(0.01)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all gone; macOS answers EPERM when only zombies are left


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone in the meantime


def _alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which only waits for its parent to read its exit code, does not."""
    return _parents_and_states().get(pid, (0, "Z"))[1] != "Z"


def _descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for process, (parent, _) in _parents_and_states().items():
        children.setdefault(parent, []).append(process)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _parents_and_states() -> dict[int, tuple[int, str]]:
    """pid -> (pid of the parent, one-letter state) of every process on this machine (POSIX)."""
    table = {}
    if sys.platform.startswith("linux"):
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:
                    # The program's name, in brackets, may itself hold brackets and spaces.
                    state, parent = stream.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue  # ended while we looked
            table[int(name)] = (int(parent), state.decode())
        return table
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()[:3]
        table[int(pid)] = (int(parent), state[0])
    return table
