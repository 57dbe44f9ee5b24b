"""Sliding windows: kernels, strides and the two kinds of padding.

TensorRT's SAME_UPPER is ``(ceil(I / S) - 1) * S + K - I`` without a floor at 0, so where the
window is shorter than the stride the total may be negative, and Keras' is not. Wherever the image
size is known, pads are therefore written as numbers; SAME_UPPER is kept for free sizes and for
windows that are at least as long as their stride, where both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from segrt.targets.trt._writer import Writer


@dataclass(frozen=True, slots=True)
class Window:
    """How a node slides over the image; all sequences are one entry a spatial axis.

    Attributes:
        kernel: Taps.
        strides: Steps between windows.
        dilations: Steps between taps.
        before: Pads in front, None for SAME_UPPER.
        after: Pads behind, None for SAME_UPPER.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int] | None
    after: list[int] | None

    def apply(self, writer: Writer, layer: Any) -> None:
        """Set strides and padding of a convolution, deconvolution or pooling layer."""
        layer.stride_nd = self.strides
        if self.before is None:
            layer.padding_mode = writer.trt.PaddingMode.SAME_UPPER
        else:
            layer.pre_padding = self.before
            layer.post_padding = self.after


def read_window(writer: Writer, node: ir.Node, kernel: list[int], sizes: list[int]) -> Window:
    """Read a node's window.

    Args:
        writer: For messages.
        node: Conv or a pool.
        kernel: Taps.
        sizes: Of the image, -1 where unknown.
    """
    count = len(kernel)
    strides = list(node.attributes.get_ints("strides", [1] * count))
    dilations = list(node.attributes.get_ints("dilations", [1] * count))
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if mode in ("NOTSET", "VALID"):
        pads = list(node.attributes.get_ints("pads", [0] * (2 * count)))
        if mode == "VALID":
            pads = [0] * (2 * count)
        return Window(kernel, strides, dilations, pads[:count], pads[count:])
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise writer.unsupported(f"auto_pad {mode}", "NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    totals = [_total(*entry) for entry in zip(sizes, strides, extents, strict=True)]
    if None not in totals:
        less = [total // 2 for total in totals if total is not None]
        more = [total - total // 2 for total in totals if total is not None]
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
        return Window(kernel, strides, dilations, before, after)
    if mode == "SAME_LOWER" or any(e < s for e, s in zip(extents, strides, strict=True)):
        raise writer.unsupported(
            f"{mode} with window {extents} and stride {strides} on an image of free size",
            "a fixed size, or a window at least as long as its stride",
            "fix the size: --size HEIGHTxWIDTH",
        )
    return Window(kernel, strides, dilations, None, None)


def _total(size: int, stride: int, extent: int) -> int | None:
    """Return SAME's total padding, None where it depends on an unknown size."""
    if stride == 1:
        return extent - 1
    if extent == 1:
        # (ceil(I / S) - 1) * S + 1 is never more than I.
        return 0
    if size < 0:
        return None
    return max((-(-size // stride) - 1) * stride + extent - size, 0)
