"""Axis orders of weights and images: Keras' into ONNX'.

Letters: H W kernel height and width, I input channels, O output channels, M depth multiplier.
A volume's kernel has its depth before H, a sequence's has no W; the rules are the same.
ONNX wants output channels first and the kernel's spatial axes last. No axis is ever flipped:
Keras and ONNX both correlate, and both transposed convolutions are the gradient of that.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def convolution_kernel(kernel: Array) -> Array:
    """Return a convolution's kernel (H, W, I / groups, O) as (O, I / groups, H, W)."""
    return _channels_before_taps(kernel, -1, -2)


def depthwise_kernel(kernel: Array) -> Array:
    """Return a depthwise kernel (H, W, I, M) as (I * M, 1, H, W).

    Output channel ``i * M + m`` belongs to input channel ``i``: Keras' order, and the order of
    ONNX's Conv with ``group = I``.
    """
    *taps, channels, multiplier = kernel.shape
    return _channels_before_taps(kernel, -2, -1).reshape(channels * multiplier, 1, *taps)


def transposed_kernel(kernel: Array) -> Array:
    """Return a transposed convolution's kernel (H, W, O, I) as (I, O, H, W)."""
    return _channels_before_taps(kernel, -1, -2)


def dense_as_convolution(kernel: Array, spatial: int) -> Array:
    """Return a Dense kernel (I, O) as that of a convolution of size 1: (O, I, 1, ...)."""
    return kernel.T.reshape(*kernel.T.shape, *([1] * spatial))


def channels_to_front(array: Array) -> Array:
    """Return (spatial..., C) as (C, spatial...); one image without its batch axis."""
    return array.transpose(array.ndim - 1, *range(array.ndim - 1))


def _channels_before_taps(kernel: Array, first: int, second: int) -> Array:
    *taps, rows, columns = kernel.shape
    if (first, second) != (-1, -2) or math.prod(taps) < 2 or not kernel.flags.c_contiguous:
        return kernel.transpose(first, second, *range(kernel.ndim - 2))
    # In two steps, each of which reads or writes memory in order: a third of the time of one.
    together = np.ascontiguousarray(kernel.reshape(math.prod(taps), -1).T)
    # Of one channel each there is one row, and its stride is any number.
    block = np.dtype((np.void, math.prod(taps) * kernel.itemsize))
    blocks = together.view(block).reshape(rows, columns)
    return np.ascontiguousarray(blocks.T).view(kernel.dtype).reshape(columns, rows, *taps)
