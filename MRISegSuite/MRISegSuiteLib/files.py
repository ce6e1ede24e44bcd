"""Writing files so that a crash never leaves half of one, and hashing them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from pathlib import Path

from .errors import BadInput, error_from_write

_BLOCK = 1 << 20
#: What a file is called until it is whole.
_ASIDE = ".{name}.{process}.tmp"


def write_text(path, text: str) -> None:
    """Write ``text`` as UTF-8: aside first, then renamed, so that a reader sees the old file or the whole new one.

    Raises:
        DiskFull, UnwritableOutput
    """
    path = Path(path)
    aside = path.with_name(_ASIDE.format(name=path.name, process=os.getpid()))
    try:
        with open(aside, "w", encoding="utf-8") as stream:
            stream.write(text)
        replace(aside, path)
    except OSError as exception:
        aside.unlink(missing_ok=True)
        raise error_from_write(exception, path) from exception


def remove_with_asides(path) -> None:
    """Remove a file, if it is there, and what processes left that were killed while they wrote it."""
    path = Path(path)
    path.unlink(missing_ok=True)
    for aside in path.parent.glob(_ASIDE.format(name=path.name, process="*")):
        aside.unlink(missing_ok=True)


def write_json(path, content) -> None:
    """Write ``content`` as JSON (see :func:`write_text`); NaN and infinity, which JSON lacks, become null."""
    write_text(path, json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def replace(source, target) -> None:
    """``os.replace`` that is patient with Windows, where a file that someone reads cannot be replaced."""
    for attempt in range(20):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == 19:
                raise
            time.sleep(0.02)


def sha256_of(path) -> str:
    """SHA-256 (hexadecimal) of a file, or of a folder: the names and contents of all its files in sorted order.

    Raises:
        BadInput: the path does not exist or cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                digest.update(file.relative_to(path).as_posix().encode("utf-8", "surrogateescape") + b"\0")
                digest.update(bytes.fromhex(sha256_of(file)))
        else:
            with open(path, "rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    except FileNotFoundError as exception:
        raise BadInput(f"{path} does not exist.", "Check the path.") from exception
    except OSError as exception:
        raise BadInput(f"{path} cannot be read: {exception.strerror}.", "Check its rights.") from exception
    return digest.hexdigest()


def _without_nan(content):
    if isinstance(content, dict):
        return {str(key): _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    if hasattr(content, "tolist"):  # numpy scalars and arrays
        return _without_nan(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, os.PathLike):
        return os.fspath(content)
    return content
