"""Processes of our own: the same interpreter, with what can be imported here, asked through pipes.

Requests come through what was standard input, answers go through what was standard output. What
libraries print on either stream goes to standard error, so that they can say what they like.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import IO


def begin(
    module: str,
    *arguments: str,
    stderr: IO[bytes] | int,
    variables: Mapping[str, str] | None = None,
    apart: bool = False,
) -> subprocess.Popen[bytes]:
    """Begin a process that calls a module's ``main``.

    Args:
        module: The module.
        arguments: Of its ``main``.
        stderr: Where to put what it prints.
        variables: Of its environment, beside those of this process.
        apart: Whether it and all that it starts are a group that Ctrl-C does not reach.

    Raises:
        OSError: It cannot begin.
    """
    start = f"import sys; from {module} import main; main(*sys.argv[1:])"
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-P", "-c", start, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path, **(variables or {})},
        start_new_session=apart,
    )


def take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return, in such a process, the streams of requests and answers; libraries get others."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers
