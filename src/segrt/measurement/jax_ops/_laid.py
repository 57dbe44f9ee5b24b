"""Arrays that may lie channels last while the graph speaks of channels first.

XLA computes images best with the channels behind. So convolutions and what goes with them keep
their results that way, whatever does not care hands the layout on, and only what must see the
graph's own order of axes turns an array back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Laid:
    """An array of the graph.

    Attributes:
        data: As it lies.
        last: Whether its axis 1 lies behind all others.
    """

    data: Any
    last: bool = False

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return int(self.data.ndim)

    @property
    def plain(self) -> Any:
        """The array in the graph's order."""
        return jnp().moveaxis(self.data, -1, 1) if self.last else self.data

    @property
    def image(self) -> Any:
        """The array with axis 1 behind."""
        return self.data if self.last else jnp().moveaxis(self.data, 1, -1)

    def axis(self, axis: int) -> int:
        """Return where an axis of the graph lies."""
        if not self.last or axis == 0:
            return axis
        return self.rank - 1 if axis == 1 else axis - 1

    def order(self, entries: Sequence[Any]) -> list[Any]:
        """Return what the graph has for each axis in the order that the array lies in."""
        given = list(entries)
        return [given[0], *given[2:], given[1]] if self.last else given


def jnp() -> Any:
    """Return ``jax.numpy``."""
    import jax.numpy

    return jax.numpy


def aligned(values: Sequence[Laid]) -> tuple[list[Any], bool]:
    """Return arrays that broadcast as the graph means it, and whether they lie channels last."""
    rank = max(value.rank for value in values)
    if not any(value.last and value.rank == rank for value in values):
        return [value.plain for value in values], False
    arrays = []
    for value in values:
        if value.last and value.rank == rank:
            arrays.append(value.data)
            continue
        array = value.plain
        # Broadcasting adds axes in front, which is where the graph adds them too.
        full = array.reshape((1,) * (rank - array.ndim) + array.shape)
        arrays.append(jnp().moveaxis(full, 1, -1))
    return arrays, True
