"""A Keras tensor inside the graph, and the two ways in which it may be stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import onnx_ir as ir

from segrt.graph.builder import static_shape


class Layout(Enum):
    """How a tensor is stored, relative to Keras' own axis order."""

    SOURCE = "source"
    CHANNELS_FIRST = "channels_first"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A Keras tensor and the ONNX value that stores it."""

    value: ir.Value
    layout: Layout

    @property
    def rank(self) -> int:
        """Number of axes, batch included."""
        return len(static_shape(self.value))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes in Keras' own axis order; None where unknown."""
        stored = static_shape(self.value)
        if self.layout is Layout.CHANNELS_FIRST:
            return (stored[0], *stored[2:], stored[1])
        return stored

    @property
    def to_source(self) -> tuple[int, ...] | None:
        """The permutation from the stored into Keras' own axis order; None if they agree."""
        if self.layout is Layout.SOURCE:
            return None
        return channels_last_axes(self.rank)


def channels_first_axes(rank: int) -> tuple[int, ...]:
    """Permutation N spatial... C -> N C spatial...; (0, 3, 1, 2) for rank 4."""
    return (0, rank - 1, *range(1, rank - 1))


def channels_last_axes(rank: int) -> tuple[int, ...]:
    """Permutation N C spatial... -> N spatial... C; (0, 2, 3, 1) for rank 4."""
    return (0, *range(2, rank), 1)
