"""Custom operations, as plugins."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph import custom_nodes
from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.plugin import plugin_of


@converts(custom_nodes.DOMAIN)
def custom(writer: Writer, node: ir.Node) -> Tensor:
    """Write a node of any custom operation."""
    maker = plugin_of(writer.trt, custom_nodes.operation_of(node))
    tensors = [writer.tensor(value) for value in node.inputs]
    plugin = maker(*tensors, **custom_nodes.attributes_of(node))
    return writer.layer(writer.network.add_plugin(plugin, aot=True))
