"""ConvTranspose: kernels are (I, O/group, H, W) in ONNX and in TensorRT (CKRS) alike.

TensorRT only cuts: ``O = (I - 1) * S + K - before - after`` with both not negative. Where ONNX
wants more than the natural length (``output_padding``), the rest gets no contribution but the
bias: the deconvolution is written without it, lengthened by zeros, and the bias added behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Array, Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers._line import as_image, as_line, flat_kernel
from segrt.types import Precision


@dataclass(frozen=True, slots=True)
class Slide:
    """How a kernel is laid down; one entry a spatial axis.

    Attributes:
        strides: Steps between places.
        dilations: Steps between taps.
        before: Cut in front.
        after: Cut behind.
        longer: Appended behind.
    """

    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    longer: list[int]

    def flat(self) -> Slide:
        """Return the same for an image of height 1."""
        return Slide(
            [1, *self.strides], [1, *self.dilations], [0, *self.before], [0, *self.after],
            [0, *self.longer],
        )  # fmt: skip


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
    slide = _read_slide(writer, node, list(kernel.shape[2:]))
    if kernel.ndim > 3:
        return _deconvolve(writer, node, x, kernel, slide, role)
    y = _deconvolve(writer, node, as_image(writer, x), flat_kernel(kernel), slide.flat(), "y")
    return as_line(writer, y, role)


def _deconvolve(  # noqa: PLR0917 - what the layer is made of
    writer: Writer, node: ir.Node, x: Tensor, kernel: Array, slide: Slide, role: str
) -> Tensor:
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = writer.required(node.inputs[2], "a bias")
    dtype = writer.numpy_dtype(x)
    group = node.attributes.get_int("group", 1)
    late = any(slide.longer)
    attached = bias if not late else None
    layer = writer.network.add_deconvolution_nd(
        x,
        kernel.shape[1] * group,
        list(kernel.shape[2:]),
        writer.weights(kernel, dtype),
        writer.no_weights(dtype) if attached is None else writer.weights(attached, dtype),
    )
    if layer is not None:
        layer.stride_nd, layer.dilation_nd = slide.strides, slide.dilations
        layer.pre_padding, layer.post_padding = slide.before, slide.after
        layer.num_groups = group
    if not late:
        return writer.layer(layer, role)
    y = writer.layer(layer, "deconv")
    if bias is None:
        return _lengthen(writer, y, slide.longer, role)
    y = _lengthen(writer, y, slide.longer, "lengthened")
    shape = (1, -1) + (1,) * (kernel.ndim - 2)
    stored = writer.constant(bias.reshape(shape), f"{node.inputs[2].name}", dtype)  # type: ignore[union-attr]
    return writer.elementwise(y, stored, "SUM", role)


def _lengthen(writer: Writer, y: Tensor, longer: list[int], role: str) -> Tensor:
    """Append zeros; the padding layer knows two axes, a slice beyond the edge any number."""
    if len(longer) == 2:
        return writer.layer(writer.network.add_padding_nd(y, (0, 0), longer), role)
    rest = len(y.shape) - len(longer)
    grown = zip(writer.sizes(y), [0] * rest + longer, strict=True)
    sizes = [writer.combine(size, more, "SUM") for size, more in grown]
    fixed = all(isinstance(size, int) for size in sizes)
    ones = [1] * len(sizes)
    layer = writer.network.add_slice(y, [0] * len(sizes), sizes if fixed else ones, ones)
    if not fixed:
        layer.set_input(2, writer.shape_tensor(sizes))
    layer.mode = writer.trt.SampleMode.FILL
    return writer.layer(layer, role)


def _read_slide(writer: Writer, node: ir.Node, kernel: list[int]) -> Slide:
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
    return Slide(
        list(node.attributes.get_ints("strides", [1] * count)),
        list(node.attributes.get_ints("dilations", [1] * count)),
        pads[:count],
        [max(a, 0) for a in after],
        [max(-a, 0) for a in after],
    )
