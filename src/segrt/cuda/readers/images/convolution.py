"""Convolutions and transposed convolutions with constant kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from segrt.cuda.operations import Convolution, Pair, TransposedConvolution
from segrt.cuda.quantisation import WEIGHT_SCALES
from segrt.cuda.readers._base import (
    IMAGES,
    constant,
    integer,
    integers,
    names_of,
    pair,
    text,
    window_padding,
)


def cut_off(node: ir.Node, window: Pair) -> tuple[Pair, Pair] | None:
    """Return what a transposed convolution cuts off above and left, below and right.

    With a rule or a size of the result in their place, that follows from the sizes.
    """
    rule = text(node, "auto_pad", "NOTSET")
    if rule in ("NOTSET", "VALID") and "output_shape" not in node.attributes:
        return window_padding(node)
    source, target = node.inputs[0], node.outputs[0]
    assert source is not None
    assert source.shape is not None
    assert target.shape is not None
    sizes = zip(source.shape.numpy()[2:], target.shape.numpy()[2:], strict=True)
    strides, dilations = integers(node, "strides", (1, 1)), integers(node, "dilations", (1, 1))
    more = integers(node, "output_padding", (0, 0))
    spare = [
        (here - 1) * strides[k] + (window[k] - 1) * dilations[k] + 1 + more[k] - there
        for k, (here, there) in enumerate(sizes)
    ]
    less, rest = [size // 2 for size in spare], [size - size // 2 for size in spare]
    before, after = (less, rest) if rule == "SAME_UPPER" else (rest, less)
    return pair(tuple(before)), pair(tuple(after))


@IMAGES.register("Conv", "ConvTranspose")
def read_convolution(node: ir.Node, layer: str) -> Convolution | TransposedConvolution | None:
    """Read either."""
    names, output = names_of(node)
    kernel = constant(node.inputs[1])
    if kernel is None:
        return None
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    groups = integer(node, "group", 1)
    transposed = node.op_type == "ConvTranspose"
    window = pair(kernel.shape[2:])
    padding = cut_off(node, window) if transposed else window_padding(node)
    if padding is None:
        return None
    outputs = kernel.shape[1] * groups if transposed else kernel.shape[0]
    kind = TransposedConvolution if transposed else Convolution
    found = kind(
        layer,
        names,
        output,
        kernel.astype(np.float32),
        np.zeros(outputs, np.float32) if bias is None else bias.astype(np.float32),
        pair(integers(node, "strides", (1, 1))),
        pair(integers(node, "dilations", (1, 1))),
        *padding,
        groups,
    )
    return replace(found, scales=node.meta.get(WEIGHT_SCALES))
