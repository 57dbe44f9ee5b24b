"""Exceptions become messages and exit codes here, and nowhere else."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from segrt.errors import SegrtError

INTERRUPTED = 130


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever is raised is told on stderr.

    Args:
        command: The group of all verbs.
        arguments: Without the program's name.
    """
    try:
        result = command.main(list(arguments), prog_name="segrt", standalone_mode=False)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        _say("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        # Its reader (`| head`) has seen enough.
        stop_writing()
        return 0
    except Exception as error:  # noqa: BLE001 - the last catch before the user
        return _tell(error, show_trace="--traceback" in arguments)
    return code


def stop_writing() -> None:
    """Let whatever is written to stdout from here on go nowhere.

    Otherwise Python complains once more when it flushes stdout at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: Exception, *, show_trace: bool) -> int:
    """Print what happened and return the exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if show_trace:
        traceback.print_exception(error)
    if isinstance(error, SegrtError):
        _say(f"Error: {error}")
        return error.exit_code
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        _say(f"Error: {error.strerror or error}{where}")
        return 1
    if isinstance(error, MemoryError):
        _say("Error: out of memory\n  do: use smaller tiles (--tile) or batches, or more RAM")
        return 1
    _say(
        f"Unexpected error: {type(error).__name__}: {error}\n"
        "  This is a mistake in SegRT, not in your input. Please report it with what this says:\n"
        "  segrt --traceback " + " ".join(sys.argv[1:])
    )
    return 1


def _say(text: str) -> None:
    click.echo(text, err=True)
