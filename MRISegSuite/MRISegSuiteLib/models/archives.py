"""Unpacking a .zip that a user brings, without trusting it."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

from ..errors import BadInput, UnsafeModel, error_from_write
from .card import is_inside

MAX_BYTES = 8 << 30
MAX_ENTRIES = 5000


def unpack_zip(path: Path | str, target: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpack ``path`` into the empty folder ``target``.

    Raises:
        BadInput: not a .zip, or damaged.
        UnsafeModel: an entry leads out of the folder, is a link, is encrypted or is there twice; or it is too large.
        DiskFull, UnwritableOutput
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check(path, entries, max_bytes)
            for entry in entries:
                _unpack(archive, entry, target / entry.filename)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as exception:
        raise BadInput(
            f"{path} is not a readable .zip archive: {exception}.", "Fetch or pack it again."
        ) from exception
    except OSError as exception:
        raise error_from_write(exception, target) from exception


def _check(path, entries, max_bytes):
    if len(entries) > MAX_ENTRIES:
        raise UnsafeModel(f"{path} holds {len(entries)} entries; a model has at most {MAX_ENTRIES}.")
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes:
        raise UnsafeModel(f"{path} would unpack to {total} bytes; the limit is {max_bytes}.")
    seen = set()
    for entry in entries:
        name = entry.filename.rstrip("/")
        if not is_inside(name):
            raise UnsafeModel(f"{path} holds an entry that leads out of its folder: {entry.filename!r}.")
        # Unix mode in the upper half; 0 where the archive was made elsewhere.
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeModel(f"{path} holds a link or a special file: {entry.filename!r}.")
        if entry.flag_bits & 1:
            raise UnsafeModel(f"{path} holds an encrypted entry: {entry.filename!r}.")
        if name.casefold() in seen:
            raise UnsafeModel(f"{path} holds {entry.filename!r} twice.")
        seen.add(name.casefold())


def _unpack(archive, entry, target):
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile stops at the size that the directory of the archive gives, which was checked above.
    with archive.open(entry) as source, open(target, "xb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
