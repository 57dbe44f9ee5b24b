"""Where verbs print: results to stdout, everything about the run to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from segrt._outputs import write_text
from segrt.cli import _progress
from segrt.cli._errors import stop_writing
from segrt.types import Shape, ShapeProfile

# A pipe or a file has no width of its own; 80 columns would break names apart there.
_WIDTH_OF_FILES = 160


class _Results(Console):
    """A console whose reader may leave (`| head`): the verb goes on, and its exit code holds."""

    def on_broken_pipe(self) -> None:
        """Write no more."""
        stop_writing()


def results() -> Console:
    """Return the console for what the user asked for."""
    _progress.clear()
    width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
    return _Results(markup=False, emoji=False, width=width, highlight=False)


def notes() -> Console:
    """Return the console for progress and remarks; a terminal wraps their lines, a file does not.

    Wrapped here, a long path would be broken apart: no one could search for it or copy it.
    """
    return Console(markup=False, emoji=False, stderr=True, highlight=False, soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """Return an empty table; a column named with a leading ``>`` holds numbers."""
    made = Table(title=title, title_justify="left")
    for column in columns:
        name = column.removeprefix(">")
        made.add_column(
            name,
            justify="right" if name != column else "left",
            overflow="fold",
            header_style="bold",
        )
    return made


def shape_text(shape: Shape, ranges: Sequence[ShapeProfile | None] = ()) -> str:
    """Write a shape, ``?`` for unknown sizes, ``1..8`` for ranges: ``1..8 x ? x 128 x 1``."""
    sizes = ["?" if size is None else str(size) for size in shape]
    for axis, allowed in enumerate(ranges):
        if allowed is not None:
            sizes[axis] = f"{allowed.minimum}..{allowed.maximum}"
    return " x ".join(sizes) or "scalar"


def write_json(value: Any, target: Path | None = None) -> None:
    """Write JSON to a file, or to stdout for None and ``-``."""
    text = json.dumps(value, indent=2, allow_nan=False)
    if target is None or str(target) == "-":
        click.echo(text)
    else:
        write_text(target, text + "\n")
