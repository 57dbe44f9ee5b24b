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
    """Shows what is for everyone.

    Warnings stay, and so do records with ``lasting``: results on the way. Those with ``progress``
    say how far something is, one over the other, and only on a terminal.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._clear = _CLEAR if stream.isatty() else ""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record if it is for everyone."""
        if hasattr(record, "lasting") or record.levelno >= logging.WARNING:
            self._stream.write(f"{self._clear}{record.getMessage()}\n")
        elif hasattr(record, "progress"):
            self._stream.write(f"{_CLEAR}{record.getMessage()}" if self._clear else "")
        self._stream.flush()

    def clear(self) -> None:
        """Leave nothing on the line."""
        self._stream.write(self._clear)
        self._stream.flush()

    def close(self) -> None:
        """Leave nothing on the line."""
        self.clear()
        super().close()


def clear() -> None:
    """Leave nothing on the line that results are about to be printed on."""
    for handler in logging.getLogger("segrt").handlers:
        if isinstance(handler, Status):
            handler.clear()


@contextmanager
def told(verbose: int, *, stream: TextIO | None = None) -> Iterator[None]:
    """Show what is said within.

    Args:
        verbose: 0: results on the way, and on a terminal how far things are; 1: what is chosen
            and where the time goes; 2: all that is tried.
        stream: Where to; None: stderr.
    """
    stream = stream or sys.stderr
    handler = Lines(stream) if verbose else Status(stream)
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
