"""What running out of memory looks like, and what to try then."""

from __future__ import annotations

_SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "bad allocation",
    "bad_alloc",
    "alloc_failed",
    "could not create a memory",
    "seems to be oom",
)


def is_out_of_memory(exception: BaseException) -> bool:
    """True for MemoryError, torch's error for GPUs, and the texts of the libraries' allocators."""
    if isinstance(exception, MemoryError):
        return True
    if type(exception).__name__ == "OutOfMemoryError":
        return True
    return isinstance(exception, RuntimeError) and any(sign in str(exception).lower() for sign in _SIGNS)


def window_ladder(patch, smaller_patches, batch: int, device: str) -> list[tuple[str, tuple[int, int, int], int]]:
    """``(device, window, windows a run)`` to try one after the other, each needing less memory than the one before."""
    rungs = [(device, patch, batch)]
    if batch > 1:
        rungs.append((device, patch, 1))
    rungs += [(device, smaller, 1) for smaller in smaller_patches]
    if device != "cpu":
        rungs += [("cpu", patch, 1)] + [("cpu", smaller, 1) for smaller in smaller_patches]
    return rungs
