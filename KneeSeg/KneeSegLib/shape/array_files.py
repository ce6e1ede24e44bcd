"""Files of named arrays (.npz): nothing but plain numbers is read from them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np


def read_arrays(source: bytes | str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file or of its content.

    Raises:
        ValueError: it is no such file, or holds objects.
    """
    try:
        with np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"it is no file of arrays ({error})") from error
