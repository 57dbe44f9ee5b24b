"""The numbers among a build's options, as plain as its manifest keeps them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

from segrt.errors import UsageError
from segrt.types import BuildOptions, ShapeProfile, Size

_SIZE = "a whole number, or ShapeProfile(1, 8, 32)"


def plain_numbers(options: BuildOptions) -> BuildOptions:
    """Return options whose sizes and threads are plain integers, or ranges of them.

    Raises:
        UsageError: They are something else: texts, fractions, single numbers in place of pairs.
    """
    batch, size, threads = options.batch, options.size, options.threads
    return replace(
        options,
        batch=None if batch is None else _size("batch", batch),
        size=None if size is None else _sides(size),
        threads=None if threads is None else whole_number("threads", threads, "a whole number"),
    )


def whole_number(name: str, value: Any, wanted: str) -> int:
    """Return a number of Python's or NumPy's as Python's.

    Raises:
        UsageError: It is not whole, or no number.
    """
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise UsageError(f"{name} must be {wanted}", found=repr(value))


def _size(name: str, value: Any) -> Size:
    if not isinstance(value, ShapeProfile):
        return whole_number(name, value, _SIZE)
    return ShapeProfile(*(whole_number(name, each, _SIZE) for each in astuple(value)))


def _sides(value: Any) -> tuple[Size, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        wanted = "a (height, width) of numbers or ShapeProfiles"
        raise UsageError(f"size must be {wanted}", found=repr(value))
    return tuple(_size("size", each) for each in value)
