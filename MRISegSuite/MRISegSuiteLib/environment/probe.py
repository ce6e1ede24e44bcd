"""The task "probe": what the worker's Python has and can compute on, tried with real operations."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time

from ..files import write_json
from ..jobs import Result
from ..models.devices import cuda_problem

REPORT_FILE = "devices.json"
_PACKAGES = ("torch", "monai", "einops", "dynamic-network-architectures", "numpy", "scipy", "SimpleITK", "vtk")


def run(job, context) -> Result:
    """Write devices.json (role "devices"), see :func:`report`."""
    context.progress("Looking for devices", 0.1)
    found = report(job.device)
    write_json(context.folder / REPORT_FILE, found)
    return Result(files={"devices": REPORT_FILE})


def report(preference: str = "auto") -> dict:
    """The devices of this computer as the worker sees them.

    Returns:
        ``python``, ``platform``, ``processors``, ``memory_mb`` (None where unknown), ``packages`` (name -> version or
        None), ``devices`` (a list of dicts: ``kind``, ``name``, ``works``, ``reason``, ``milliseconds`` of a small
        3D convolution, and for a GPU ``index``, ``compute_capability``, ``memory_mb``, ``free_mb``), ``chosen`` (kind
        of the device that ``preference`` leads to, or None) and ``reason``, why that one.
    """
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": _processors(),
        "memory_mb": _memory_mb(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [],
        "chosen": None,
        "reason": "",
    }
    try:
        import torch
    except (ImportError, OSError) as exception:  # OSError: a library of torch that does not load
        found["reason"] = f"torch cannot be imported: {exception}. Install the worker environment."
        return found
    found["devices"] = [_cpu(torch)] + [_gpu(torch, index) for index in range(torch.cuda.device_count())]
    found["chosen"], found["reason"] = _choice(torch, found["devices"], preference)
    return found


def _choice(torch, devices, preference) -> tuple[str | None, str]:
    if preference == "cpu":
        return "cpu", "The CPU was asked for."
    gpus = [device for device in devices if device["kind"] == "cuda"]
    working = [device for device in gpus if device["works"]]
    if working:
        return "cuda", f"{working[0]['name']} works."
    if gpus:
        why = f"{gpus[0]['name']} is there but cannot be used: {gpus[0]['reason']}"
    else:
        why = cuda_problem()[0] + _seen_by_driver()
    return (None if preference == "cuda" else "cpu"), why


def _cpu(torch) -> dict:
    device = {"kind": "cpu", "name": platform.processor() or platform.machine(), "works": True, "reason": ""}
    device["name"] = _processor_name() or device["name"]
    try:
        device["milliseconds"] = _time_convolution(torch, "cpu")
    except RuntimeError as exception:
        device |= {"works": False, "reason": str(exception).splitlines()[0], "milliseconds": None}
    return device


def _gpu(torch, index: int) -> dict:
    device = {"kind": "cuda", "index": index, "name": f"GPU {index}", "works": False, "milliseconds": None}
    try:
        properties = torch.cuda.get_device_properties(index)
        device["name"] = properties.name
        device["compute_capability"] = f"{properties.major}.{properties.minor}"
        device["memory_mb"] = round(properties.total_memory / 2**20)
        device["free_mb"] = round(torch.cuda.mem_get_info(index)[0] / 2**20)
        with torch.cuda.device(index):
            device["reason"], _ = cuda_problem()
            device["works"] = device["reason"] is None
            if device["works"]:
                device["milliseconds"] = _time_convolution(torch, f"cuda:{index}")
    except RuntimeError as exception:  # the driver's words are the honest reason
        device["reason"] = str(exception).splitlines()[0]
    device["reason"] = device["reason"] or ""
    return device


def _time_convolution(torch, device: str) -> float:
    """Milliseconds of a 3D convolution of 16 channels on 48^3 voxels, after one to warm up."""
    image = torch.ones(1, 16, 48, 48, 48, device=device)
    kernel = torch.ones(16, 16, 3, 3, 3, device=device)
    for _ in range(2):
        begin = time.perf_counter()
        total = torch.nn.functional.conv3d(image, kernel)[0, 0, 0, 0, 0].item()  # .item() waits for the device
        seconds = time.perf_counter() - begin
    if total != 16 * 27:
        raise RuntimeError(f"a convolution gives {total} instead of {16 * 27}")
    return round(1000 * seconds, 2)


def _seen_by_driver() -> str:
    """The GPUs that the NVIDIA driver lists, for the case that torch cannot use them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        listed = subprocess.run([program, "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return " The NVIDIA driver does not answer."
    names = [line.split(":", 1)[1].split("(")[0].strip() for line in listed.stdout.splitlines() if ":" in line]
    return f" The NVIDIA driver lists: {', '.join(names)}." if listed.returncode == 0 and names else ""


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_mb() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20)
    except (AttributeError, ValueError, OSError):
        return None  # Windows has no sysconf


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
