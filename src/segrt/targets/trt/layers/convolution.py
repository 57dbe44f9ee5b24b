"""Conv: dense, grouped and depthwise; ONNX keeps kernels as TensorRT does (OIHW)."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers._window import read_window


@converts("Conv")
def convolution(writer: Writer, node: ir.Node) -> Tensor:
    """Write a convolution; a missing bias is empty weights."""
    x = writer.tensor(node.inputs[0])
    kernel = writer.required(node.inputs[1], "a kernel")
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = writer.required(node.inputs[2], "a bias")
    window = read_window(writer, node, list(kernel.shape[2:]), list(x.shape)[2:])
    layer = writer.network.add_convolution_nd(
        x,
        kernel.shape[0],
        window.kernel,
        writer.weights(kernel),
        writer.no_weights() if bias is None else writer.weights(bias),
    )
    if layer is not None:
        window.apply(writer, layer)
        layer.dilation_nd = window.dilations
        layer.num_groups = node.attributes.get_int("group", 1)
    return writer.layer(layer)
