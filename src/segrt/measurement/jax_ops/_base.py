"""From a graph to a function that JAX can compile; JAX is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt._registry import Registry
from segrt.measurement.jax_ops._laid import Laid, aligned
from segrt.measurement.reading.prepare import prepare
from segrt.measurement.reading.step import Array, Step
from segrt.measurement.torch_ops._base import check_operators


class JaxStep(Step):
    """A node that is being computed.

    Args:
        node: The node.
        values: What is known.
        dtype: JAX's type for all floating-point numbers.

    Attributes:
        jax: JAX.
        jnp: ``jax.numpy``.
        dtype: See above.
    """

    def __init__(self, node: ir.Node, values: dict[ir.Value, Laid], dtype: Any) -> None:
        super().__init__(node)
        import jax

        self.jax: Any = jax
        self.jnp: Any = jax.numpy
        self.dtype = dtype
        self._values = values

    def laid(self, index: int) -> Laid:
        """Return an input as it lies."""
        return self._values[self.value(index)]

    def array(self, index: int) -> Any:
        """Return an input in the graph's order of axes."""
        return self.laid(index).plain

    def optional(self, index: int) -> Any:
        """Return an input in the graph's order, None where it is left out."""
        return self.array(index) if self.has(index) else None

    def all_laid(self) -> list[Laid]:
        """Return all inputs as they lie."""
        return [self.laid(index) for index in range(len(self.node.inputs))]

    def together(self, function: Callable[..., Any]) -> Laid:
        """Return a function of all inputs, element by element."""
        arrays, last = aligned(self.all_laid())
        return Laid(function(*arrays), last)

    def each(self, function: Callable[[Any], Any]) -> Laid:
        """Return a function of input 0, element by element."""
        x = self.laid(0)
        return Laid(function(x.data), x.last)


Translate = Callable[[JaxStep], Any]
REGISTRY: Registry[Translate] = Registry("JAX operator", "segrt.measurement.jax_ops")


class JaxNet:
    """A graph as a function of its constants and its inputs.

    Args:
        model: All sizes of its inputs are known; not changed.
        dtype: JAX's type for all floating-point numbers.

    Attributes:
        parameters: The constants, in the order that `__call__` takes them.

    Raises:
        UnsupportedLayerError: Operators without a translation; all of them are named.
    """

    def __init__(self, model: ir.Model, dtype: Any) -> None:
        self._graph = prepare(model)
        check_operators(self._graph, REGISTRY)
        self._dtype = dtype
        self._constants = [
            value for value in self._graph.graph.initializers.values() if value.uses()
        ]
        self.parameters = [self._array(value.const_value.numpy()) for value in self._constants]  # type: ignore[union-attr]

    def _array(self, array: Array) -> Any:
        import jax.numpy as jnp

        dtype = self._dtype if array.dtype.kind == "f" else None
        return jnp.asarray(_narrow(array), dtype=dtype)

    def __call__(self, parameters: Sequence[Any], *inputs: Any) -> tuple[Any, ...]:
        """Compute; arrays in the graph's order of axes."""
        values = {
            value: Laid(array) for value, array in zip(self._constants, parameters, strict=True)
        }
        values |= {
            value: Laid(array)
            for value, array in zip(self._graph.graph.inputs, inputs, strict=True)
        }
        for node in self._graph.graph:
            translate = REGISTRY.find(node.op_type)
            assert translate is not None
            found = translate(JaxStep(node, values, self._dtype))
            made = (found,) if isinstance(found, Laid) else found
            values |= dict(zip(node.outputs, made, strict=True))
        return tuple(values[value].plain for value in self._graph.graph.outputs)


def _narrow(array: Array) -> Array:
    """Return whole numbers in the 32 bits that JAX has, the largest for what is beyond."""
    if array.dtype != np.int64:
        return np.asarray(array)
    bounds = np.iinfo(np.int32)
    return np.clip(array, bounds.min, bounds.max).astype(np.int32)
