"""What "Copy as command" needs to know: files that hold a node, and how this suite is started without a window."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import slicer

#: The command line of the suite.
SCRIPT = Path(__file__).resolve().parents[2] / "Scripts" / "mriseg.py"


def file_of_node(node) -> str | None:
    """The file that holds the node exactly as it is now; None where there is none, or it was changed since."""
    if node is None or node.GetParentTransformNode() is not None:
        return None
    storage = node.GetStorageNode()
    if storage is None or not storage.GetFileName() or not os.path.isfile(storage.GetFileName()):
        return None
    return None if node.GetModifiedSinceRead() else storage.GetFileName()


def suite_command() -> str:
    """How to start the suite's command line in this application, quoted for a shell."""
    launcher = slicer.app.launcherExecutableFilePath or "Slicer"
    return shlex.join([launcher, "--no-main-window", "--python-script", str(SCRIPT)])
