"""One node, as a translator reads it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import UnsupportedLayerError
from segrt.graph import metadata

Array: TypeAlias = npt.NDArray[Any]


class Step:
    """A node of a prepared graph.

    Args:
        node: The node.

    Attributes:
        node: See above.
    """

    def __init__(self, node: ir.Node) -> None:
        self.node = node

    def refuse(self, what: str) -> UnsupportedLayerError:
        """Return the error for what has no translation; to be raised."""
        layer = metadata.layer_of(self.node) or str(self.node.name)
        return UnsupportedLayerError(
            f"operator {self.node.op_type} of layer {layer!r} has no translation{what}",
            [(layer, self.node.op_type)],
        )

    def has(self, index: int) -> bool:
        """Say whether there is such an input."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def value(self, index: int) -> ir.Value:
        """Return an input's value, which must be there."""
        value = self.node.inputs[index] if self.has(index) else None
        if value is None:
            raise self.refuse(f" without input {index}")
        return value

    def constant(self, index: int) -> Array | None:
        """Return an input that does not depend on the network's, None where it is left out.

        Raises:
            UnsupportedLayerError: It depends on them.
        """
        if not self.has(index):
            return None
        held = self.value(index).const_value
        if held is None:
            raise self.refuse(f" where input {index} is computed")
        return held.numpy()

    def numbers(self, index: int) -> list[int] | None:
        """Return a constant input as whole numbers, None where it is left out."""
        array = self.constant(index)
        return None if array is None else [int(number) for number in array.reshape(-1)]

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return an input's sizes."""
        return self._sizes(self.value(index))

    def result(self, index: int = 0) -> tuple[int, ...]:
        """Return an output's sizes."""
        return self._sizes(self.node.outputs[index])

    def is_float(self, index: int = 0) -> bool:
        """Say whether an input holds floating-point numbers."""
        dtype = self.value(index).dtype
        return dtype is not None and dtype.is_floating_point()

    def integer(self, name: str, default: int = 0) -> int:
        """Return an attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else int(found.as_int())

    def number(self, name: str, default: float) -> float:
        """Return an attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else float(found.as_float())

    def text(self, name: str, default: str = "") -> str:
        """Return an attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else str(found.as_string())

    def integers(self, name: str) -> list[int] | None:
        """Return an attribute, None where it is left out."""
        found = self.node.attributes.get(name)
        return None if found is None else [int(number) for number in found.as_ints()]

    def axis(self, default: int, rank: int | None = None) -> int:
        """Return the attribute ``axis``, counted from the front."""
        return self.integer("axis", default) % (len(self.shape()) if rank is None else rank)

    def axes(self, index: int = 1) -> list[int]:
        """Return the axes that a reduction is over: an input, an attribute, or all of them."""
        rank = len(self.shape())
        given = self.integers("axes") or self.numbers(index)
        if not given:
            return [] if self.integer("noop_with_empty_axes") else list(range(rank))
        return [axis % rank for axis in given]

    def _sizes(self, value: ir.Value) -> tuple[int, ...]:
        if value.shape is None or not value.shape.is_static():
            raise self.refuse(f": the sizes of {value.name!r} are unknown")
        return tuple(value.shape.numpy())
