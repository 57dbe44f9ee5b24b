"""The command line: one file a verb, each of which parses, calls `segrt.api` and prints.

A verb is a plain module of this folder whose ``command`` is a click command; the file's name is
the verb's. Modules are imported when their verb is asked for, and they import the library inside
their functions, so ``segrt --help`` answers at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from segrt.cli import _app, _errors

    sys.exit(_errors.run(_app.group, sys.argv[1:]))
