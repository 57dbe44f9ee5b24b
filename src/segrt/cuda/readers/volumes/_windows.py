"""How windows slide over volumes, along all three axes alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segrt.cuda.operations import Pair, Weights
from segrt.cuda.readers._base import integers, text
from segrt.cuda.readers._tensors import sizes_of

_ONES = (1, 1, 1)
_NONE = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Sliding:
    """A window's way over a volume: depth, height, width.

    Attributes:
        window: Sizes of the window.
        stride: Places from one window to the next.
        dilation: Places from one tap to the next.
        before: Padding in front; of a transposed convolution what is cut off there.
        after: Likewise behind.
        source: Sizes of what is read.
        target: Sizes of what is written.
    """

    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]

    def along_depth(self) -> Weights:
        """Return which slice each tap meets (slices written, taps), int32; -1 for padding."""
        made, taps = np.ogrid[: self.target[0], : self.window[0]]
        return _inside(
            made * self.stride[0] + taps * self.dilation[0] - self.before[0], self.source[0]
        )

    def back_along_depth(self) -> Weights:
        """Return the same for a transposed convolution: which slice a tap spreads to each."""
        made, taps = np.ogrid[: self.target[0], : self.window[0]]
        there = made + self.before[0] - taps * self.dilation[0]
        place, rest = np.divmod(there, self.stride[0])
        return _inside(np.where(rest == 0, place, -1), self.source[0])

    @property
    def doubles(self) -> bool:
        """Whether a transposed convolution makes two places of each along all axes, apart."""
        twice = self.target == tuple(2 * size for size in self.source)
        halves = self.window == self.stride == (2, 2, 2)
        return halves and twice and self.before == self.after == _NONE

    def in_plane(self) -> tuple[Pair, Pair, Pair, Pair]:
        """Return stride, dilation and padding, before and after, of rows and columns."""
        return (
            (self.stride[1], self.stride[2]),
            (self.dilation[1], self.dilation[2]),
            (self.before[1], self.before[2]),
            (self.after[1], self.after[2]),
        )


def _inside(places: Weights, size: int) -> Weights:
    return np.where((places >= 0) & (places < size), places, -1).astype(np.int32)


def sliding(node: ir.Node, window: Sequence[int]) -> Sliding:
    """Return how the window of a convolution or pool slides; what rules say follows from sizes."""
    source, target = (sizes_of(v)[2:] for v in (node.inputs[0], node.outputs[0]))
    stride, dilation = integers(node, "strides", _ONES), integers(node, "dilations", _ONES)
    rule = text(node, "auto_pad", "NOTSET")
    before: tuple[int, ...] = _NONE
    after: tuple[int, ...] = _NONE
    if rule == "NOTSET":
        pads = integers(node, "pads", (*_NONE, *_NONE))
        before, after = pads[:3], pads[3:]
    elif rule != "VALID":
        wanted = [
            max(0, (there - 1) * step + (size - 1) * apart + 1 - here)
            for here, there, size, step, apart in zip(
                source, target, window, stride, dilation, strict=True
            )
        ]
        before, after = _halves(wanted, odd_behind=rule == "SAME_UPPER")
    return Sliding(tuple(window), stride, dilation, before, after, source, target)


def spreading(node: ir.Node, window: Sequence[int]) -> Sliding:
    """Return how the window of a transposed convolution spreads what it reads."""
    source, target = (sizes_of(v)[2:] for v in (node.inputs[0], node.outputs[0]))
    stride, dilation = integers(node, "strides", _ONES), integers(node, "dilations", _ONES)
    rule, more = text(node, "auto_pad", "NOTSET"), integers(node, "output_padding", _NONE)
    pads = integers(node, "pads", (*_NONE, *_NONE))
    before, after = pads[:3], pads[3:]
    if rule == "VALID":
        before, after = _NONE, _NONE
    elif rule != "NOTSET" or "output_shape" in node.attributes:
        # With a rule or a size of the result, what is cut off follows from the sizes.
        spare = [
            (here - 1) * step + (size - 1) * apart + 1 + extra - there
            for here, there, size, step, apart, extra in zip(
                source, target, window, stride, dilation, more, strict=True
            )
        ]
        before, after = _halves(spare, odd_behind=rule == "SAME_UPPER")
    return Sliding(tuple(window), stride, dilation, before, after, source, target)


def _halves(
    sums: Sequence[int], *, odd_behind: bool
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    less = (sums[0] // 2, sums[1] // 2, sums[2] // 2)
    rest = (sums[0] - less[0], sums[1] - less[1], sums[2] - less[2])
    return (less, rest) if odd_behind else (rest, less)
