"""Sliding windows: kernel, strides, dilation, and Keras' (TensorFlow's) padding rules.

SAME with input size I, stride S and dilated kernel K:
``outputs = ceil(I / S)``, ``total = max((outputs - 1) * S + K - I, 0)``; half of it before, the
rest after, so an odd pixel goes behind. For S = 1 that is ``K - 1`` whatever the input is. For
S > 1 it depends on the input, and an input of unknown size needs either ONNX's ``SAME_UPPER``
(the same rule) or padding that is computed at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import AttributeValue, static_shape
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call
from segrt.importers.layers._inputs import wrong_input

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window over height and width.

    Attributes:
        kernel: Height and width in taps.
        strides: Steps between windows.
        dilations: Steps between taps.
        same: Padding is Keras' ``same``; else ``valid``.
    """

    kernel: Pair
    strides: Pair
    dilations: Pair
    same: bool

    @property
    def extent(self) -> Pair:
        """Pixels from a window's first to its last tap, both included."""
        return (
            (self.kernel[0] - 1) * self.dilations[0] + 1,
            (self.kernel[1] - 1) * self.dilations[1] + 1,
        )


def read_window(call: Call, kernel: str, default: object = _config.REQUIRED) -> Window:
    """Read a window from a layer's settings.

    Args:
        call: The layer's call.
        kernel: The setting with the kernel's size (``kernel_size`` or ``pool_size``); strides
            default to 1, for pools to the pool's size.
        default: Kernel size where the setting is missing.
    """
    size = _config.pair(call, kernel, default)
    strides: object = size if kernel == "pool_size" else (1, 1)
    if call.config.get("strides") is not None:
        strides = _config.pair(call, "strides")
    padding = _config.choice(call, "padding", ("same", "valid"), "valid")
    dilations = _config.pair(call, "dilation_rate", (1, 1))
    return Window(size, strides, dilations, padding == "same")  # type: ignore[arg-type]


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
        x: N C H W.
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
        x: N C H W.
        window: The window.
        fill: What padding holds where it has to be made by a node of its own.

    Raises:
        ModelFileError: The image is smaller than a window without padding.
    """
    sizes = static_shape(x)[2:]
    if not window.same:
        _check_fits(call, sizes, window)
        return x, {"pads": [0, 0, 0, 0]}
    known = explicit_pads(x, window)
    if known is not None:
        return x, {"pads": known}
    if runtime_padding(window):
        return _pad_at_run_time(call, x, window, fill), {"pads": [0, 0, 0, 0]}
    return x, {"auto_pad": "SAME_UPPER"}


def explicit_pads(x: ir.Value, window: Window) -> list[int] | None:
    """Return ONNX' [top, left, bottom, right], None where only run time tells."""
    if not window.same:
        return [0, 0, 0, 0]
    rows, columns = (
        same_pads(size, stride, extent)
        for size, stride, extent in zip(
            static_shape(x)[2:], window.strides, window.extent, strict=True
        )
    )
    if rows is None or columns is None:
        return None
    return [rows[0], columns[0], rows[1], columns[1]]


def runtime_padding(window: Window) -> bool:
    """Say whether SAME_UPPER cannot be relied on for this window.

    Where a window is shorter than its stride, SAME_UPPER's total may be negative: ONNX Runtime
    1.31 then refuses pools and shifts convolutions (1x1 with stride 4). With dilation engines
    disagree about which extent SAME_UPPER takes.
    """
    shorter = any(e < s for e, s in zip(window.extent, window.strides, strict=True))
    return shorter or window.dilations != (1, 1)


def _pad_at_run_time(call: Call, x: ir.Value, window: Window, fill: float) -> ir.Value:
    """Append nodes that compute the SAME rule from the image's shape, and a Pad."""
    strides = call.ints("strides", window.strides)
    one, two, zero = call.ints("one", [1]), call.ints("two", [2]), call.ints("zero", [0])
    size = call.op("Shape", [x], role="size", start=2, end=4)
    before_last = call.op("Div", [call.op("Sub", [size, one], role="last"), strides], role="steps")
    reach = call.op(
        "Add",
        [call.op("Mul", [before_last, strides], role="start"), call.ints("extent", window.extent)],
        role="reach",
    )
    total = call.op("Max", [call.op("Sub", [reach, size], role="excess"), zero], role="total")
    before = call.op("Div", [total, two], role="before")
    after = call.op("Sub", [total, before], role="after")
    none = call.ints("none", [0, 0])
    pads = call.op("Concat", [none, before, none, after], role="pads", axis=0)
    value = call.constant("fill", np.float32(fill))
    padded = call.op("Pad", [x, pads, value], role="padded", mode="constant")
    # Pads are computed, so inference knows no size at all; batch and channels are not padded.
    padded.shape = ir.Shape([*(x.shape or ())[:2], None, None])
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
