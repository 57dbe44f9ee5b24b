"""Convolutions and transposed convolutions with constant kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from segrt.cuda.operations import Convolution, TransposedConvolution
from segrt.cuda.quantisation import WEIGHT_SCALES
from segrt.cuda.readers._base import (
    IMAGES,
    constant,
    integer,
    integers,
    names_of,
    pair,
    window_padding,
)


@IMAGES.register("Conv", "ConvTranspose")
def read_convolution(node: ir.Node, layer: str) -> Convolution | TransposedConvolution | None:
    """Read either."""
    names, output = names_of(node)
    kernel, padding = constant(node.inputs[1]), window_padding(node)
    if kernel is None or padding is None:
        return None
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    groups = integer(node, "group", 1)
    transposed = node.op_type == "ConvTranspose"
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
    scales = node.meta.get(WEIGHT_SCALES)
    return replace(found, scales=scales) if isinstance(found, Convolution) else found
