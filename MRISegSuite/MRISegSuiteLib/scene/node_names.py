"""Messages of a job in the words of the scene: the name of a node in place of the temporary file it was written to.

The job itself knows only the files. Node names stay out of its folder and its log: they may name a patient.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import SuiteError


def with_node_names(text: str, nodes: Mapping[Path, str]) -> str:
    """``text`` with the quoted name of the node for each file path in it.

    Args:
        text: a message of a job.
        nodes: file that was exported for the job -> name of the node that it holds.
    """
    for path, name in nodes.items():
        for written in {str(path), str(path.resolve()), path.as_posix()}:
            # Not inside a longer path, such as a file of another extension beside it.
            text = re.sub(re.escape(written) + r"(?![\w/\\])", lambda _match, name=name: f'"{name}"', text)
    return text


def error_with_node_names(error: SuiteError, nodes: Mapping[Path, str]) -> SuiteError:
    """An error of the same kind that tells the names of nodes; see :func:`with_node_names`."""
    told = type(error)(with_node_names(error.message, nodes), with_node_names(error.hint, nodes))
    told.__cause__ = error.__cause__
    return told
