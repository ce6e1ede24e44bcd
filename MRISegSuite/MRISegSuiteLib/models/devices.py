"""Which device runs a network, tried with a real operation before it is trusted."""

from __future__ import annotations

import os

from ..errors import BadArguments, NoDevice


def choose_device(preference: str) -> tuple[str, list[str]]:
    """The device for ``auto``, ``cpu`` or ``cuda``, and warnings.

    ``auto`` takes a GPU that works; where one is there but fails, the CPU with a warning that says why.

    Raises:
        NoDevice: ``cuda`` was asked for and is not there or fails; the message has the reason.
        BadArguments: another word.
    """
    if preference not in ("auto", "cpu", "cuda"):
        raise BadArguments(f"There is no device {preference!r}.", "Choose auto, cpu or cuda.")
    if preference == "cpu":
        return "cpu", []
    reason, present = cuda_problem()
    if reason is None:
        return "cuda", []
    if preference == "cuda":
        raise NoDevice(f"The GPU cannot be used: {reason}", "Choose the device auto or cpu.")
    return "cpu", [f"The GPU cannot be used, so the CPU is: {reason}"] if present else []


def cuda_problem() -> tuple[str | None, bool]:
    """Why CUDA cannot be used (None: it works), and whether there is a GPU at all.

    A GPU newer than the build of torch is listed as available and fails with the first kernel, so one is run.
    """
    import torch

    if not torch.backends.cuda.is_built():
        return f"the installed torch {torch.__version__} is built without CUDA.", False
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device (no NVIDIA GPU, or no driver that fits).", False
    try:
        image = torch.arange(2 * 4**3, dtype=torch.float32, device="cuda").reshape(1, 2, 4, 4, 4)
        kernel = torch.ones(3, 2, 3, 3, 3, device="cuda")
        given = torch.nn.functional.conv3d(image, kernel).sum().item()
        expected = torch.nn.functional.conv3d(image.cpu(), kernel.cpu()).sum().item()
    except Exception as exception:  # whatever the driver says, the reason goes to the user
        return f"{torch.cuda.get_device_name()}: {exception}".splitlines()[0], True
    if abs(given - expected) > 1e-3 * abs(expected):
        return f"{torch.cuda.get_device_name()} computes wrongly ({given} instead of {expected}).", True
    return None, True


def set_threads() -> int:
    """Let torch use the processors that this process may use, at most 16; OMP_NUM_THREADS decides where it is set."""
    import torch

    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        count = int(wanted)
    else:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = min(allowed, 16)
    torch.set_num_threads(count)
    return count
