"""Patients as salted hashes: enough to keep the cases of one patient together, not enough to say who it is.

The salt lies beside the store and is not part of any export. Who has both the salt and a list of patient numbers can
find out which number belongs to which hash: the store is for the people who may see the images anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from MRISegSuiteLib.errors import BadInput, error_from_write

_BYTES = 32


def salt_of(folder) -> bytes:
    """The salt of a store, made once; only its owner may read the file.

    Raises:
        BadInput: the file is damaged. UnwritableOutput, DiskFull.
    """
    path = Path(folder) / "salt"
    if not path.is_file():
        aside = path.with_name(f".salt-{os.getpid()}.tmp")
        try:
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.link(aside, path)  # unlike a rename it fails where another process was faster
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                os.replace(aside, path)
        except OSError as exception:
            raise error_from_write(exception, path) from exception
        finally:
            aside.unlink(missing_ok=True)
    try:
        salt = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as exception:
        raise BadInput(f"{path} cannot be read as a salt.", "Restore it from a backup.") from exception
    if len(salt) != _BYTES:
        raise BadInput(f"{path} is damaged.", "Restore it from a backup.")
    return salt


def patient_hash(salt: bytes, patient: str) -> str:
    """HMAC-SHA-256 of what tells a patient apart; case and surrounding or repeated spaces do not matter."""
    return hmac.new(salt, " ".join(patient.split()).casefold().encode(), hashlib.sha256).hexdigest()
