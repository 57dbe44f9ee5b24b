"""What the libraries below say while they work: `-v`, and a line that a terminal overwrites."""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_CLEAR = "\r\x1b[K"


class Lines(logging.Handler):
    """Prints every record with the seconds since it was made.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._began = time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        seconds = time.perf_counter() - self._began
        self._stream.write(f"[{seconds:7.2f} s] {record.getMessage()}\n")
        self._stream.flush()


class Status(logging.Handler):
    """Shows the records that say how far something is, one over the other.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record that says how far something is; others are not for everyone."""
        if hasattr(record, "progress"):
            self._stream.write(f"{_CLEAR}{record.getMessage()}")
            self._stream.flush()

    def close(self) -> None:
        """Leave nothing on the line."""
        self._stream.write(_CLEAR)
        self._stream.flush()
        super().close()


@contextmanager
def told(verbose: int, *, stream: TextIO | None = None) -> Iterator[None]:
    """Show what is said within.

    Args:
        verbose: 0: only how far things are, and that on a terminal only; 1: what is chosen and
            where the time goes; 2: all that is tried.
        stream: Where to; None: stderr.
    """
    stream = stream or sys.stderr
    handler = Lines(stream) if verbose else Status(stream) if stream.isatty() else None
    if handler is None:
        yield
        return
    logger = logging.getLogger("segrt")
    before = logger.level
    logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()


def verbose(command: Command) -> Callable[..., Any]:
    """Add ``-v``; what the command does is then told while it runs."""

    @functools.wraps(command)
    def telling(*, verbose: int, **given: Any) -> Any:
        with told(verbose):
            return command(**given)

    option = click.option(
        "-v",
        "--verbose",
        count=True,
        help="Say what is chosen and where the time goes; twice: all that is tried.",
    )
    return option(telling)
