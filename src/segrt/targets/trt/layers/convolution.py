"""Conv: dense, grouped and depthwise, of one axis to three; kernels are OIHW in both worlds."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers._line import as_image, as_line, flat_kernel, flat_window
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
    line = kernel.ndim == 3
    if line:
        x, kernel, window = as_image(writer, x), flat_kernel(kernel), flat_window(window)
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
    return as_line(writer, writer.layer(layer, "conv")) if line else writer.layer(layer)
