"""MaxPool, AveragePool and the global pools."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers._line import as_image, as_line, flat_window
from segrt.targets.trt.layers._window import read_window


@converts("MaxPool", "AveragePool")
def pool(writer: Writer, node: ir.Node) -> Tensor:
    """Write a pool; TensorRT's stride defaults to 1 and its average leaves padding out."""
    x = writer.tensor(node.inputs[0])
    kernel = list(node.attributes.get_ints("kernel_shape", []))
    window = read_window(writer, node, kernel, list(x.shape)[2:])
    if any(dilation != 1 for dilation in window.dilations):
        raise writer.unsupported(f"dilations {window.dilations}", "none: TensorRT has no such pool")
    if len(node.outputs) > 1:
        raise writer.unsupported("indices as a second output", "one output")
    line = len(kernel) == 1
    if line:
        x, window = as_image(writer, x), flat_window(window)
    average = node.op_type == "AveragePool"
    kinds = writer.trt.PoolingType
    kind = kinds.AVERAGE if average else kinds.MAX
    layer = writer.network.add_pooling_nd(x, kind, window.kernel)
    if layer is not None:
        window.apply(writer, layer)
        if node.attributes.get_int("ceil_mode", 0):
            if window.before is None:
                raise writer.unsupported("ceil_mode with SAME padding", "explicit pads")
            layer.padding_mode = writer.trt.PaddingMode.EXPLICIT_ROUND_UP
        if average:
            included = node.attributes.get_int("count_include_pad", 0)
            layer.average_count_excludes_padding = not included
    return as_line(writer, writer.layer(layer, "pool")) if line else writer.layer(layer)


@converts("GlobalAveragePool", "GlobalMaxPool")
def global_pool(writer: Writer, node: ir.Node) -> Tensor:
    """Write a global pool as a reduction over all axes but batch and channels."""
    x = writer.tensor(node.inputs[0])
    mask = sum(1 << axis for axis in range(2, len(x.shape)))
    operations = writer.trt.ReduceOperation
    kind = operations.AVG if node.op_type == "GlobalAveragePool" else operations.MAX
    return writer.layer(writer.network.add_reduce(x, kind, mask, True))
