"""Signals of one axis: TensorRT slides over images only, so a line is an image of height 1."""

from __future__ import annotations

from segrt.targets.trt._writer import Array, Tensor, Writer
from segrt.targets.trt.layers._window import Window


def as_image(writer: Writer, x: Tensor) -> Tensor:
    """Return (N, C, L) as (N, C, 1, L)."""
    n, c, length = writer.sizes(x)
    return writer.reshape(x, [n, c, 1, length], "image")


def as_line(writer: Writer, y: Tensor, role: str = "") -> Tensor:
    """Return (N, C, 1, L) as (N, C, L)."""
    n, c, _, length = writer.sizes(y)
    return writer.reshape(y, [n, c, length], role)


def flat_kernel(kernel: Array) -> Array:
    """Return a kernel of one axis as one of height 1."""
    return kernel[:, :, None]


def flat_window(window: Window) -> Window:
    """Return a window that slides along one axis as one of height 1."""
    return Window(
        [1, *window.kernel],
        [1, *window.strides],
        [1, *window.dilations],
        None if window.before is None else [0, *window.before],
        None if window.after is None else [0, *window.after],
    )
