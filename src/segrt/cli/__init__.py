"""The command line: one file a verb, each of which parses, calls `segrt.api` and prints.

A verb is a plain module of this folder whose ``command`` is a click command; the file's name is
the verb's. Modules are imported when their verb is asked for, and they import the library inside
their functions, so ``segrt --help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command line and leave with its exit code."""
    from segrt.cli import _app, _errors

    _open_closed()
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(_errors.run(_app.group, sys.argv[1:]))


def _open_closed() -> None:
    """Give what a shell has closed (``>&-``) to nobody: Python has None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave through every ``finally``, so that nothing half written stays behind."""
    sys.exit(128 + number)
