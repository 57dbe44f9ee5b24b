"""Convolutions and transposed convolutions."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads
from segrt.targets.trt.readers._window import padding


@reads("CONVOLUTION")
def convolution(reader: Reader, layer: Any) -> ir.Value:
    """Read a convolution."""
    size, dilations = list(layer.kernel_size_nd), list(layer.dilation_nd)
    inputs = _inputs(reader, layer, (layer.num_output_maps, -1, *size))
    return reader.op(
        "Conv",
        inputs,
        kernel_shape=size,
        strides=list(layer.stride_nd),
        dilations=dilations,
        group=layer.num_groups,
        **padding(reader, layer, _extents(size, dilations)),
    )


@reads("DECONVOLUTION")
def deconvolution(reader: Reader, layer: Any) -> ir.Value:
    """Read a transposed convolution."""
    size, dilations = list(layer.kernel_size_nd), list(layer.dilation_nd)
    strides = list(layer.stride_nd)
    extents = _extents(size, dilations)
    per_group = layer.num_output_maps // layer.num_groups
    mode = reader.enum(layer.padding_mode)
    if mode == "EXPLICIT_ROUND_DOWN":
        pads = [*layer.pre_padding, *layer.post_padding]
    elif mode == "SAME_UPPER" and all(e >= s for e, s in zip(extents, strides, strict=True)):
        totals = [e - s for e, s in zip(extents, strides, strict=True)]
        pads = [*(t // 2 for t in totals), *(t - t // 2 for t in totals)]
    else:
        raise reader.refuse(f"{mode} with kernel {extents}, stride {strides}", "explicit pads")
    return reader.op(
        "ConvTranspose",
        _inputs(reader, layer, (-1, per_group, *size)),
        kernel_shape=size,
        strides=strides,
        dilations=dilations,
        group=layer.num_groups,
        pads=pads,
    )


def _extents(size: list[int], dilations: list[int]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]


def _inputs(reader: Reader, layer: Any, shape: tuple[int, ...]) -> list[ir.Value]:
    """Return image, kernel and bias; a kernel may be weights or a tensor."""
    kernel = reader.optional(1)
    if kernel is None:
        kernel = reader.floats("kernel", reader.weights(layer.kernel, shape))
    bias = reader.optional(2)
    if bias is None and layer.bias.size:
        bias = reader.floats("bias", reader.weights(layer.bias, (-1,)))
    return [reader.input(0), kernel, *([] if bias is None else [bias])]
