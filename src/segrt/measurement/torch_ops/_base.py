"""From a graph to a `torch.fx.GraphModule`; PyTorch is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt._registry import Registry
from segrt.errors import UnsupportedLayerError
from segrt.measurement.reading.prepare import prepare
from segrt.measurement.reading.step import Array, Step


class TorchStep(Step):
    """A node of the graph that is becoming a module.

    Args:
        node: The node.
        module: The module so far.

    Attributes:
        torch: PyTorch.
        functional: ``torch.nn.functional``.
    """

    def __init__(self, node: ir.Node, module: _Module) -> None:
        super().__init__(node)
        self._module = module
        self.torch = module.torch
        self.functional = module.torch.nn.functional

    def input(self, index: int) -> Any:
        """Return an input: what computes it, or a constant's tensor."""
        return self._module.place(self.value(index))

    def optional(self, index: int) -> Any:
        """Return an input, None where it is left out."""
        return self.input(index) if self.has(index) else None

    def inputs(self) -> list[Any]:
        """Return all inputs."""
        return [self.input(index) for index in range(len(self.node.inputs))]

    def tensor(self, array: Array) -> Any:
        """Return a constant; floats are in the module's type."""
        return self._module.constant(array)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a function computes."""
        return self._module.graph.call_function(function, arguments, options)


Translate = Callable[[TorchStep], Any]
REGISTRY: Registry[Translate] = Registry("PyTorch operator", "segrt.measurement.torch_ops")


def torch_module(model: ir.Model, dtype: Any, device: Any) -> Any:
    """Return a module that computes a graph.

    Args:
        model: All sizes of its inputs are known; not changed.
        dtype: PyTorch's type for all floating-point numbers.
        device: PyTorch's device.

    Returns:
        A module of positional inputs in the graph's order, which returns a tuple.

    Raises:
        UnsupportedLayerError: Operators without a translation; all of them are named.
    """
    prepared = prepare(model)
    check_operators(prepared, REGISTRY)
    module = _Module(dtype, device)
    for value in prepared.graph.inputs:
        module.take(value)
    for node in prepared.graph:
        module.add(node)
    return module.finish(prepared.graph.outputs)


def check_operators(model: ir.Model, registry: Registry[Any]) -> None:
    """Refuse operators without a translation.

    Raises:
        UnsupportedLayerError: There are such; all of them are named.
    """
    unknown = {
        node.op_type: Step(node).refuse("").layers[0]
        for node in model.graph
        if node.domain not in ("", "ai.onnx") or registry.find(node.op_type) is None
    }
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UnsupportedLayerError(
            f"operators without a translation: {names}", list(unknown.values())
        )


class _Module:
    """A module in the making."""

    def __init__(self, dtype: Any, device: Any) -> None:
        import torch

        self.torch = torch
        self.graph = torch.fx.Graph()
        self._root = torch.nn.Module()
        self._dtype = dtype
        self._device = device
        self._places: dict[ir.Value, Any] = {}
        self._constants = 0

    def take(self, value: ir.Value) -> None:
        """Add an input."""
        self._places[value] = self.graph.placeholder(f"input_{len(self._places)}")

    def add(self, node: ir.Node) -> None:
        """Add a node."""
        translate = REGISTRY.find(node.op_type)
        assert translate is not None
        step = TorchStep(node, self)
        found = translate(step)
        if len(node.outputs) == 1:
            self._places[node.outputs[0]] = found
            return
        for index, output in enumerate(node.outputs):
            self._places[output] = found[index]

    def place(self, value: ir.Value) -> Any:
        """Return what computes a value."""
        if value not in self._places and value.const_value is not None:
            self._places[value] = self.constant(value.const_value.numpy())
        return self._places[value]

    def constant(self, array: Array) -> Any:
        """Add a constant, a convolution's kernel in the order that channels last wants."""
        tensor = self.torch.from_numpy(np.array(array))
        if tensor.is_floating_point():
            tensor = tensor.to(self._dtype)
        tensor = tensor.to(self._device)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.torch.channels_last)
        name = f"constant_{self._constants}"
        self._constants += 1
        self._root.register_buffer(name, tensor)
        return self.graph.get_attr(name)

    def finish(self, outputs: Any) -> Any:
        """Return the module."""
        self.graph.output(tuple(self.place(value) for value in outputs))
        return self.torch.fx.GraphModule(self._root, self.graph).eval()
