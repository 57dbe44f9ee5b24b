"""Sliding windows: kernel, strides, dilation, and Keras' (TensorFlow's) padding rules.

SAME with input size I, stride S and dilated kernel K:
``outputs = ceil(I / S)``, ``total = max((outputs - 1) * S + K - I, 0)``; half of it before, the
rest after, so an odd pixel goes behind. For S = 1 that is ``K - 1`` whatever the input is. For
S > 1 it depends on the input, and an input of unknown size needs either ONNX's ``SAME_UPPER``
(the same rule) or padding that is computed at run time.

TensorFlow's plain CPU kernels for volumes (``TF_ENABLE_ONEDNN_OPTS=0``, 2.12 to 2.21) forget the
floor at 0 and start later where a window is shorter than its stride by two or more; its oneDNN
kernels, the default, keep to the rule, and so does this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import AttributeValue, static_shape
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call
from segrt.importers.layers._inputs import dimensions, wrong_input

Pair = tuple[int, int]
Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window; all sizes are one number a spatial axis.

    Attributes:
        kernel: Size in taps.
        strides: Steps between windows.
        dilations: Steps between taps.
        padding: Keras' ``same``, ``valid``, or ``causal``: all of a sequence's padding in front.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    padding: str

    @property
    def same(self) -> bool:
        """Whether the padding is Keras' ``same``."""
        return self.padding == "same"

    @property
    def extent(self) -> Sizes:
        """Pixels from a window's first to its last tap, both included."""
        return tuple(
            (taps - 1) * step + 1 for taps, step in zip(self.kernel, self.dilations, strict=True)
        )


def read_window(
    call: Call, kernel: str, default: object = _config.REQUIRED, *, causal: bool = False
) -> Window:
    """Read a window from a layer's settings; its class name tells the number of axes.

    Args:
        call: The layer's call.
        kernel: The setting with the kernel's size (``kernel_size`` or ``pool_size``); strides
            default to 1, for pools to the pool's size.
        default: Kernel size where the setting is missing.
        causal: Whether a sequence's window may be padded in front only.
    """
    rank = dimensions(call)
    size = _config.sizes(call, kernel, rank, default)
    strides = size if kernel == "pool_size" else (1,) * rank
    if call.config.get("strides") is not None:
        strides = _config.sizes(call, "strides", rank)
    known = ("same", "valid", "causal") if causal and rank == 1 else ("same", "valid")
    padding = _config.choice(call, "padding", known, "valid")
    return Window(size, strides, _config.sizes(call, "dilation_rate", rank, 1), padding)


def same_pads(size: int | None, stride: int, extent: int) -> Pair | None:
    """Return (before, after) of SAME padding for one axis; None where only run time tells."""
    if extent == 1:
        return 0, 0
    if stride == 1:
        total = extent - 1
    elif size is None:
        return None
    else:
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def slide(
    call: Call,
    op_type: str,
    x: ir.Value,
    window: Window,
    *,
    role: str,
    weights: Sequence[ir.Value] = (),
    fill: float = 0.0,
    **attributes: AttributeValue,
) -> ir.Value:
    """Append the Conv or pool that slides ``window`` over ``x``.

    Args:
        call: The layer's call.
        op_type: ONNX operator.
        x: N C spatial...
        window: The window, padding included.
        role: Name of the node within the layer.
        weights: Further inputs.
        fill: What padding holds where it has to be made by a node of its own.
        attributes: Further attributes.
    """
    value, padding = pad_window(call, x, window, fill)
    if op_type == "MaxPool" and "pads" in padding and _is_zero_padded(x):
        # ONNX Runtime (1.31) melts a Pad into the pads of the pool behind it, although the one
        # holds zeros and the other minus infinity. Padding by rule, which says the same, is safe.
        if not window.same:
            padding = {"auto_pad": "VALID"}
        elif not runtime_padding(window):
            padding = {"auto_pad": "SAME_UPPER"}
    return call.op(
        op_type,
        [value, *weights],
        role=role,
        kernel_shape=window.kernel,
        strides=window.strides,
        **padding,
        **attributes,
    )


def pad_window(
    call: Call, x: ir.Value, window: Window, fill: float = 0.0
) -> tuple[ir.Value, dict[str, AttributeValue]]:
    """Return what to slide the window over, and the padding attributes of Conv or a pool.

    Args:
        call: The layer's call.
        x: N C spatial...
        window: The window.
        fill: What padding holds where it has to be made by a node of its own.

    Raises:
        ModelFileError: The image is smaller than a window without padding.
    """
    if window.padding == "valid":
        _check_fits(call, static_shape(x)[2:], window)
    known = explicit_pads(x, window)
    if known is not None:
        return x, {"pads": known}
    if runtime_padding(window):
        padded = _pad_at_run_time(call, x, window, fill)
        return padded, {"pads": [0] * (2 * len(window.kernel))}
    return x, {"auto_pad": "SAME_UPPER"}


def explicit_pads(x: ir.Value, window: Window) -> list[int] | None:
    """Return ONNX' pads, all in front and then all behind, None where only run time tells."""
    if window.padding == "causal":
        return [extent - 1 for extent in window.extent] + [0] * len(window.kernel)
    if window.padding == "valid":
        return [0] * (2 * len(window.kernel))
    axes = zip(static_shape(x)[2:], window.strides, window.extent, strict=True)
    found = [same_pads(*axis) for axis in axes]
    known = [pads for pads in found if pads is not None]
    if len(known) < len(found):
        return None
    return [before for before, _ in known] + [after for _, after in known]


def runtime_padding(window: Window) -> bool:
    """Say whether SAME_UPPER cannot be relied on for this window.

    Where a window is shorter than its stride, SAME_UPPER's total may be negative: ONNX Runtime
    1.31 then refuses pools and shifts convolutions (1x1 with stride 4). With dilation engines
    disagree about which extent SAME_UPPER takes.
    """
    shorter = any(e < s for e, s in zip(window.extent, window.strides, strict=True))
    return shorter or any(step != 1 for step in window.dilations)


def _pad_at_run_time(call: Call, x: ir.Value, window: Window, fill: float) -> ir.Value:
    """Append nodes that compute the SAME rule from the image's shape, and a Pad."""
    strides = call.ints("strides", window.strides)
    one, two, zero = call.ints("one", [1]), call.ints("two", [2]), call.ints("zero", [0])
    size = call.op("Shape", [x], role="size", start=2)
    before_last = call.op("Div", [call.op("Sub", [size, one], role="last"), strides], role="steps")
    reach = call.op(
        "Add",
        [call.op("Mul", [before_last, strides], role="start"), call.ints("extent", window.extent)],
        role="reach",
    )
    total = call.op("Max", [call.op("Sub", [reach, size], role="excess"), zero], role="total")
    before = call.op("Div", [total, two], role="before")
    after = call.op("Sub", [total, before], role="after")
    none = call.ints("none", [0, 0])  # batch and channels
    pads = call.op("Concat", [none, before, none, after], role="pads", axis=0)
    value = call.constant("fill", np.float32(fill))
    padded = call.op("Pad", [x, pads, value], role="padded", mode="constant")
    # Pads are computed, so inference knows no size at all; batch and channels are not padded.
    padded.shape = ir.Shape([*(x.shape or ())[:2], *[None] * len(window.kernel)])
    return padded


def _is_zero_padded(x: ir.Value) -> bool:
    """Say whether ``x`` comes from a Pad, perhaps through nodes without effect."""
    producer = x.producer()
    while producer is not None and producer.op_type == "Identity":
        source = producer.inputs[0]
        producer = None if source is None else source.producer()
    return producer is not None and producer.op_type == "Pad"


def _check_fits(call: Call, sizes: tuple[int | None, ...], window: Window) -> None:
    for size, extent in zip(sizes, window.extent, strict=True):
        if size is not None and size < extent:
            raise wrong_input(
                call, f"an image of {sizes} pixels", f"at least {window.extent}, without padding"
            )
