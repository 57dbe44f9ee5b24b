"""Transposed convolutions as they are, where they could be phases too: the tuner decides.

Without a kernel that leaves out the products with zeros, a library that turns a convolution round
may be faster than one that convolves to phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from segrt.cuda.jobs import Choice, Proposal

_NAME = "transposed"


def as_it_is(ways: Iterable[Proposal]) -> Iterator[Proposal]:
    """Yield ways to compute a transposed convolution under names of their own.

    The library's plans for phases are called by the same numbers.
    """
    for way in ways:
        yield _renamed(way)


def _renamed(way: Proposal) -> Proposal:
    name, kind = f"{_NAME} {way.name}", f"{_NAME} {way.kind}" if way.kind else ""

    def make() -> Choice:
        return replace(way.make(), name=name)

    return replace(way, name=name, kind=kind, make=make)
