"""Axis orders of weights and images: Keras' into ONNX'.

Letters: H W kernel height and width, I input channels, O output channels, M depth multiplier.
ONNX wants output channels first and the kernel's height and width last. No axis is ever flipped:
Keras and ONNX both correlate, and both transposed convolutions are the gradient of that.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def convolution_kernel(kernel: Array) -> Array:
    """Return a convolution's kernel (H, W, I / groups, O) as (O, I / groups, H, W)."""
    return kernel.transpose(3, 2, 0, 1)


def depthwise_kernel(kernel: Array) -> Array:
    """Return a depthwise kernel (H, W, I, M) as (I * M, 1, H, W).

    Output channel ``i * M + m`` belongs to input channel ``i``: Keras' order, and the order of
    ONNX's Conv with ``group = I``.
    """
    height, width, channels, multiplier = kernel.shape
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def transposed_kernel(kernel: Array) -> Array:
    """Return a transposed convolution's kernel (H, W, O, I) as (I, O, H, W)."""
    return kernel.transpose(3, 2, 0, 1)


def dense_as_convolution(kernel: Array, spatial: int) -> Array:
    """Return a Dense kernel (I, O) as that of a convolution of size 1: (O, I, 1, ...)."""
    return kernel.T.reshape(*kernel.T.shape, *([1] * spatial))


def channels_to_front(array: Array) -> Array:
    """Return (spatial..., C) as (C, spatial...); one image without its batch axis."""
    return array.transpose(array.ndim - 1, *range(array.ndim - 1))
