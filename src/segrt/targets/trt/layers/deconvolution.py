"""ConvTranspose: kernels are (I, O/group, H, W) in ONNX and in TensorRT (CKRS) alike.

TensorRT only cuts: ``O = (I - 1) * S + K - before - after`` with both not negative. Where ONNX
wants more than the natural length (``output_padding``), the rest gets no contribution but the
bias: the deconvolution is written without it, lengthened by zeros, and the bias added behind.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.types import Precision


@converts("ConvTranspose")
def deconvolution(writer: Writer, node: ir.Node) -> Tensor:
    """Write a transposed convolution, in fp32 where the flavour has none in bf16."""
    x = writer.tensor(node.inputs[0])
    island = writer.precision is Precision.BF16 and not writer.flavour.bf16_deconvolution
    if not island:
        return _write(writer, node, x, "")
    outside = x.dtype
    x = writer.cast(x, writer.dtype(np.float32), "fp32")
    y = _write(writer, node, x, "deconv")
    return writer.layer(writer.network.add_cast(y, outside))


def _write(writer: Writer, node: ir.Node, x: Tensor, role: str) -> Tensor:
    kernel = writer.required(node.inputs[1], "a kernel")
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = writer.required(node.inputs[2], "a bias")
    before, after, longer = _pads(writer, node, list(kernel.shape[2:]))
    dtype = writer.numpy_dtype(x)
    group = node.attributes.get_int("group", 1)
    late = any(longer)
    attached = bias if not late else None
    layer = writer.network.add_deconvolution_nd(
        x,
        kernel.shape[1] * group,
        list(kernel.shape[2:]),
        writer.weights(kernel, dtype),
        writer.no_weights(dtype) if attached is None else writer.weights(attached, dtype),
    )
    count = kernel.ndim - 2
    if layer is not None:
        layer.stride_nd = list(node.attributes.get_ints("strides", [1] * count))
        layer.dilation_nd = list(node.attributes.get_ints("dilations", [1] * count))
        layer.pre_padding, layer.post_padding = before, after
        layer.num_groups = group
    if not late:
        return writer.layer(layer, role)
    y = writer.layer(layer, "deconv")
    padding = writer.network.add_padding_nd(y, (0,) * count, longer)
    if bias is None:
        return writer.layer(padding, role)
    y = writer.layer(padding, "lengthened")
    shape = (1, -1) + (1,) * count
    stored = writer.constant(bias.reshape(shape), f"{node.inputs[2].name}", dtype)  # type: ignore[union-attr]
    return writer.elementwise(y, stored, "SUM", role)


def _pads(
    writer: Writer, node: ir.Node, kernel: list[int]
) -> tuple[list[int], list[int], list[int]]:
    """Return what is cut in front, cut behind, and appended behind."""
    count = len(kernel)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID") or "output_shape" in node.attributes:
        raise writer.unsupported(
            f"auto_pad {mode} or output_shape", "explicit pads", "export with explicit pads"
        )
    pads = list(node.attributes.get_ints("pads", [0] * (2 * count)))
    if mode == "VALID":
        pads = [0] * (2 * count)
    extra = list(node.attributes.get_ints("output_padding", [0] * count))
    # What output_padding appends is cut less, as far as there is something cut.
    after = [pad - more for pad, more in zip(pads[count:], extra, strict=True)]
    return pads[:count], [max(a, 0) for a in after], [max(-a, 0) for a in after]
