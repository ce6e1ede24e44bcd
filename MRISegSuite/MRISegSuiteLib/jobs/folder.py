"""The job folder on disk: one run at a time in it, products moved in only when all of them are whole.

A run writes into ``.partial-<pid>``. When it has succeeded, result.json is written there too, the files that it lists
are renamed into the folder, and result.json is renamed last. A process killed at any moment therefore leaves either
no result.json, or a complete result; what it left over is recognised and removed by the next run.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ..errors import BadArguments, UnwritableOutput, error_from_write
from ..files import remove_with_asides, replace
from .context import PROGRESS_FILE
from .result import FILE_NAME as RESULT_FILE
from .result import Result, relative_name

LOG_FILE = "log.txt"
LOCK_FILE = ".lock"
_PARTIAL = ".partial-"


class JobFolder:
    """The folder of one job (``--out DIR``)."""

    def __init__(self, path):
        self.path = Path(path)

    def make(self) -> None:
        """Make the folder and see that it can be written.

        Raises:
            UnwritableOutput, DiskFull
        """
        trial = self.path / f".trial-{os.getpid()}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            trial.write_bytes(b"x")
        except FileExistsError as exception:
            raise UnwritableOutput(f"{self.path} is a file, not a folder.", "Name a folder for the output.") \
                from exception
        except NotADirectoryError as exception:
            raise UnwritableOutput(f"{self.path} lies below a file, not a folder.", "Name another output folder.") \
                from exception
        except OSError as exception:
            raise error_from_write(exception, self.path) from exception
        finally:
            if trial.exists():
                trial.unlink()

    def lock(self) -> "FolderLock":
        """Take the folder for this process.

        Raises:
            UnwritableOutput: another run is using it.
        """
        return FolderLock(self.path / LOCK_FILE)

    def check_inputs(self, paths) -> None:
        """Refuse a run that would overwrite its own input, or what a person has changed since the last run.

        Raises:
            BadArguments
        """
        result = self._earlier_result()
        if result is None:
            return
        written = (self.path / RESULT_FILE).stat().st_mtime
        inputs = {Path(path).resolve() for path in paths}
        for name in self._files_of(result):
            file = self.path / name
            if not file.exists():
                continue
            if file.resolve() in inputs:
                raise BadArguments(
                    f"The input {file} is a result in the output folder, which a new run would replace.",
                    "Choose another output folder.",
                )
            # Two seconds: the coarsest time stamps of a file system in use (FAT, some network shares).
            if file.stat().st_mtime > written + 2.0:
                raise BadArguments(
                    f"{file} was changed after the run that wrote it, and a new run would overwrite it.",
                    "Choose another output folder, or move the file away.",
                )

    def clean(self) -> None:
        """Remove what earlier runs left: their results, or what a killed run had not finished.

        Only the caller that holds the lock may do this.
        """
        for partial in self.path.glob(_PARTIAL + "*"):
            # A result.json in there means that the run was killed while it moved its files in.
            unfinished = _read_result(partial / RESULT_FILE)
            if unfinished is not None:
                self._remove_files(unfinished)
            shutil.rmtree(partial, ignore_errors=True)
        result = self._earlier_result()
        if result is not None:
            self._remove_files(result)
        for name in (RESULT_FILE, PROGRESS_FILE):
            remove_with_asides(self.path / name)

    def make_partial(self) -> Path:
        """A fresh folder for the products of this run."""
        partial = self.path / f"{_PARTIAL}{os.getpid()}"
        try:
            partial.mkdir()
        except OSError as exception:
            raise error_from_write(exception, partial) from exception
        return partial

    def commit(self, partial: Path, result: Result) -> None:
        """Move the products of a successful run into the folder, result.json last.

        Raises:
            UnwritableOutput: a file of that name is already there and is not ours.
            DiskFull, FileNotFoundError (a listed product was not written: a bug in the task)
        """
        names = sorted(set(self._files_of(result)))
        for name in names:
            if not (partial / name).is_file():
                raise FileNotFoundError(f"the task lists {name} among its files but did not write it")
            if (self.path / name).exists():
                raise UnwritableOutput(
                    f"{self.path / name} already exists and was not written by an earlier run here.",
                    "Choose another output folder, or move the file away.",
                )
        result.write(partial)
        try:
            for name in names:
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                replace(partial / name, self.path / name)
            replace(partial / RESULT_FILE, self.path / RESULT_FILE)
        except OSError as exception:
            raise error_from_write(exception, self.path) from exception
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def discard_unfinished(self) -> None:
        """After a run that did not succeed: nothing of its products stays."""
        for partial in self.path.glob(_PARTIAL + "*"):
            unfinished = _read_result(partial / RESULT_FILE)
            if unfinished is not None and not (self.path / RESULT_FILE).exists():
                self._remove_files(unfinished)
            shutil.rmtree(partial, ignore_errors=True)
        remove_with_asides(self.path / PROGRESS_FILE)
        (self.path / LOCK_FILE).unlink(missing_ok=True)

    def _earlier_result(self) -> dict | None:
        return _read_result(self.path / RESULT_FILE)

    def _files_of(self, result) -> list[str]:
        files = result.files if isinstance(result, Result) else result.get("files", {})
        names = []
        for name in files.values():
            try:
                names.append(relative_name(name))
            except ValueError:
                if isinstance(result, Result):
                    raise
                # A result.json that was tampered with must not make us remove files elsewhere.
        return names

    def _remove_files(self, result: dict) -> None:
        for name in self._files_of(result):
            file = self.path / name
            if file.is_file() and self.path.resolve() in file.resolve().parents:
                file.unlink()
                for parent in file.parents:
                    if parent == self.path or any(parent.iterdir()):
                        break
                    parent.rmdir()


class FolderLock:
    """A lock that the operating system releases when its holder dies, however it dies."""

    def __init__(self, path: Path):
        self.path = path
        self._stream = None
        while True:
            try:
                stream = open(path, "a+b")
            except OSError as exception:
                raise error_from_write(exception, path) from exception
            if not _lock(stream):
                stream.close()
                raise UnwritableOutput(
                    f"Another run is writing into {path.parent}.", "Wait for it to end, or choose another folder."
                )
            # The former holder may have removed the file between our opening and our locking.
            if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                self._stream = stream
                return
            stream.close()

    def release(self) -> None:
        if self._stream is not None:
            if os.name != "nt":  # Windows cannot remove an open file; it goes after closing
                self.path.unlink(missing_ok=True)
            self._stream.close()
            self._stream = None
            if os.name == "nt":
                try:
                    self.path.unlink(missing_ok=True)
                except PermissionError:
                    pass  # the next run has already taken it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def _lock(stream) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _read_result(path: Path) -> dict | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        return None
    return record
