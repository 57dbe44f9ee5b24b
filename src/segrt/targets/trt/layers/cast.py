"""Cast and Constant."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Cast")
def cast(writer: Writer, node: ir.Node) -> Tensor:
    """Write a change of type; every float is the type that the network computes in."""
    target = writer.network_dtype(ir.DataType(node.attributes["to"].as_int()))
    x = writer.tensor(node.inputs[0])
    if x.dtype == target:
        return writer.layer(writer.network.add_identity(x))
    return writer.layer(writer.network.add_cast(x, target))


@converts("Constant")
def constant(writer: Writer, node: ir.Node) -> Tensor:
    """Write a constant that is a node."""
    if "value" not in node.attributes:
        raise writer.unsupported("a constant without a tensor", "attribute value")
    tensor = node.attributes["value"].as_tensor()
    return writer.constant(np.asarray(tensor.numpy()), writer.name)
