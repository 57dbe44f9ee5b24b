"""Kernels, strides, dilations and padding of convolutions and poolings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segrt.measurement.reading.step import Array, Step


@dataclass(frozen=True, slots=True)
class Window:
    """How a window goes over the spatial axes, one entry an axis.

    Attributes:
        kernel: Its size.
        strides: Its steps.
        dilations: Distance of its taps.
        before: Padding in front.
        after: Padding behind.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def even(self) -> bool:
        """Whether as much is padded in front as behind."""
        return self.before == self.after

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding in front and behind, an axis after the other."""
        return tuple(zip(self.before, self.after, strict=True))


def read_window(step: Step, kernel: tuple[int, ...]) -> Window:
    """Return the window of a convolution or pooling.

    Args:
        step: The node; its input 0 has batch and channels before the spatial axes.
        kernel: The window's size, where the node does not say.
    """
    kernel = tuple(step.integers("kernel_shape") or kernel)
    ones = [1] * len(kernel)
    strides = tuple(step.integers("strides") or ones)
    dilations = tuple(step.integers("dilations") or ones)
    rule = step.text("auto_pad", "NOTSET")
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        total = [
            max(0, (-(-size // stride) - 1) * stride + span - size)
            for size, stride, span in zip(step.shape()[2:], strides, reach, strict=True)
        ]
        low = tuple(t // 2 if rule == "SAME_UPPER" else -(-t // 2) for t in total)
        high = tuple(t - b for t, b in zip(total, low, strict=True))
        return Window(kernel, strides, dilations, low, high)
    pads = [0] * (2 * len(kernel)) if rule == "VALID" else step.integers("pads")
    pads = pads or [0] * (2 * len(kernel))
    return Window(
        kernel, strides, dilations, tuple(pads[: len(kernel)]), tuple(pads[len(kernel) :])
    )


def read_transposed(step: Step) -> Window:
    """Return the window of a transposed convolution; its padding is what is cut off the result.

    Padding behind may be negative: so much is left over beyond what the taps reach (ONNX's
    ``output_padding``).
    """
    window = read_window(step, step.shape(1)[2:])
    full = [
        (size - 1) * stride + (k - 1) * dilation + 1
        for size, stride, k, dilation in zip(
            step.shape()[2:], window.strides, window.kernel, window.dilations, strict=True
        )
    ]
    result = step.result()[2:]
    total = [long - short for long, short in zip(full, result, strict=True)]
    rule = step.text("auto_pad", "NOTSET")
    before = window.before
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        before = tuple(t // 2 if rule == "SAME_UPPER" else -(-t // 2) for t in total)
    after = tuple(t - b for t, b in zip(total, before, strict=True))
    return Window(window.kernel, window.strides, window.dilations, before, after)


def ceiling_pads(step: Step, window: Window) -> Window:
    """Return a pooling's window, padded behind so that the last, partial windows are whole."""
    sizes, result = step.shape()[2:], step.result()[2:]
    after = [
        max(least, (count - 1) * stride + (k - 1) * dilation + 1 - size - low)
        for least, count, stride, k, dilation, size, low in zip(
            window.after, result, window.strides, window.kernel, window.dilations, sizes,
            window.before, strict=True,
        )
    ]  # fmt: skip
    return Window(window.kernel, window.strides, window.dilations, window.before, tuple(after))


def tap_counts(step: Step, window: Window) -> Array:
    """Return how many pixels of the image each window of an average pooling holds.

    Returns:
        float32, the spatial axes of the result.
    """
    counts = np.ones([1] * len(window.kernel), np.float32)
    ends = [0] * len(window.kernel)
    if step.integer("count_include_pad"):
        pads = step.integers("pads") or [0] * (2 * len(window.kernel))
        ends = pads[len(window.kernel) :]
    for axis, size in enumerate(step.shape()[2:]):
        low = window.before[axis] if step.integer("count_include_pad") else 0
        first = np.arange(step.result()[2 + axis]) * window.strides[axis] - window.before[axis]
        taps = first[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        inside = ((taps >= -low) & (taps < size + ends[axis])).sum(axis=1)
        shape = [1] * len(window.kernel)
        shape[axis] = -1
        counts = counts * inside.astype(np.float32).reshape(shape)
    return counts
