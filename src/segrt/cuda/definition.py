"""What single pixels of a convolution are by definition, in NumPy: to check what computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.cuda.epilogues import follow_all
from segrt.cuda.image_operations import VolumeConvolution
from segrt.cuda.operations import (
    ActivatedConvolution,
    Convolution,
    MergedUpsampling,
    Opening,
    Operation,
    PooledConvolution,
    TransposedConvolution,
)

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Places: TypeAlias = npt.NDArray[np.intp]
# Rows and columns of pixels (P,), perhaps outside -> (P, C), zeros there.
Fetch: TypeAlias = Callable[[Places, Places], Floats]


def is_defined(operation: Operation) -> bool:
    """Say whether `pixels` knows an operation."""
    if isinstance(operation, Convolution):
        return operation.activation in ("none", "relu") and operation.decision == "none"
    if isinstance(operation, (MergedUpsampling, PooledConvolution, ActivatedConvolution)):
        return is_defined(operation.convolution)
    if isinstance(operation, VolumeConvolution):
        return is_defined(operation.convolution)
    if isinstance(operation, Opening):
        return is_defined(operation.first) and is_defined(operation.second)
    return isinstance(operation, TransposedConvolution)


def before_relu(operation: Operation) -> tuple[Operation, bool]:
    """Return an operation without the ReLU that it ends with, and whether it ends with one."""
    if isinstance(operation, (Convolution, TransposedConvolution)):
        return replace(operation, activation="none"), operation.activation == "relu"
    if isinstance(operation, MergedUpsampling) and operation.transposed is not None:
        return before_relu(operation.transposed)
    if isinstance(operation, (MergedUpsampling, PooledConvolution, VolumeConvolution)):
        inner, ends = before_relu(operation.convolution)
        assert isinstance(inner, Convolution)
        return replace(operation, convolution=inner), ends
    if isinstance(operation, Opening):
        second, ends = before_relu(operation.second)
        assert isinstance(second, Convolution)
        return replace(operation, second=second), ends
    if isinstance(operation, ActivatedConvolution):
        return before_relu(operation.convolution)
    return operation, False


def last_of(operation: Operation) -> Operation:
    """Return the one of several operations in one that makes what is written, before pooling."""
    if isinstance(operation, PooledConvolution):
        return operation.convolution
    return operation.second if isinstance(operation, Opening) else operation


def pixels(  # noqa: PLR0911 - one per operation
    operation: Operation, images: tuple[Fetch, ...], rows: Places, columns: Places
) -> Floats:
    """Return pixels of what an operation writes.

    Args:
        operation: One that `is_defined`. Of a volume slices count as lying below one another.
        images: What it reads, one batch entry each.
        rows: Of the pixels (P,).
        columns: Likewise.

    Returns:
        (P, channels). Slices that an upsampling makes of one lie below one another too.
        Of one that pools too, the image before that.
    """
    if isinstance(operation, ActivatedConvolution):
        return follow_all(operation, pixels(operation.convolution, images, rows, columns), 0)[0]
    if isinstance(operation, TransposedConvolution):
        return _transposed(operation, images[0], rows, columns)
    if isinstance(operation, MergedUpsampling):
        return _merged(operation, images, rows, columns)
    if isinstance(operation, PooledConvolution):
        return pixels(operation.convolution, images[:1], rows, columns)
    if isinstance(operation, VolumeConvolution):
        return _of_volume(operation, images[0], rows, columns)
    if isinstance(operation, Opening):
        height, width = operation.middle

        def middle(ys: Places, xs: Places) -> Floats:
            inside = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
            return pixels(operation.first, images[:1], ys, xs) * inside[:, None]

        return pixels(operation.second, (middle,), rows, columns)
    assert isinstance(operation, Convolution)
    return _convolution(operation, images, rows, columns)


def _merged(
    operation: MergedUpsampling, images: tuple[Fetch, ...], rows: Places, columns: Places
) -> Floats:
    # What the phases were made from: so they are checked too.
    if operation.transposed is not None:
        return _transposed(operation.transposed, images[0], rows, columns)
    slices = rows // operation.height if operation.depth > 1 else np.zeros_like(rows)
    rows = rows - slices * operation.height
    phases = pixels(operation.convolution, images, rows // 2, columns // 2)
    split = phases.reshape(len(rows), 4 * operation.depth, -1)
    shuffled: Floats = split[np.arange(len(rows)), slices * 4 + rows % 2 * 2 + columns % 2]
    return shuffled


def _of_volume(
    operation: VolumeConvolution, volume: Fetch, rows: Places, columns: Places
) -> Floats:
    """Convolve what the table says is to be side by side."""
    inner, table, (height, made_height) = (
        operation.convolution,
        operation.slices.table,
        operation.heights,
    )
    slices = table[rows // made_height]

    def image(ys: Places, xs: Places) -> Floats:
        inside = (ys >= 0) & (ys < height)
        taps = [
            volume(np.where(inside & (met >= 0), met * height + ys, -1), xs) for met in slices.T
        ]
        found = np.concatenate(taps, axis=1)
        return np.pad(found, [(0, 0), (0, inner.kernel.shape[1] - found.shape[1])])

    return _convolution(inner, (image,), rows % made_height, columns)


def _convolution(
    operation: Convolution, images: tuple[Fetch, ...], rows: Places, columns: Places
) -> Floats:
    (step_y, step_x), (apart_y, apart_x) = operation.stride, operation.dilation
    image, (top, left) = images[0], operation.before
    groups, outputs = operation.groups, len(operation.bias)
    result = np.zeros((len(rows), outputs)) + operation.bias
    for ky, kx in np.ndindex(*operation.kernel.shape[2:]):
        seen = image(rows * step_y + ky * apart_y - top, columns * step_x + kx * apart_x - left)
        result += _products(seen, operation.kernel[:, :, ky, kx], groups)
    if operation.residual:
        result += images[1](rows, columns)
    return np.maximum(result, 0) if operation.activation == "relu" else result


def _products(seen: Floats, taps: npt.NDArray[Any], groups: int) -> Floats:
    """Multiply (P, C) with (O, C / groups)."""
    split = seen.reshape(len(seen), groups, -1).transpose(1, 0, 2)
    by_group = taps.reshape(groups, -1, taps.shape[1]).transpose(0, 2, 1)
    products: Floats = (split @ by_group).transpose(1, 0, 2).reshape(len(seen), -1)
    return products


def _transposed(
    operation: TransposedConvolution, image: Fetch, rows: Places, columns: Places
) -> Floats:
    """Sum what each tap brings from the source pixel that it spreads, if it spreads one here."""
    (step_y, step_x), (apart_y, apart_x) = operation.stride, operation.dilation
    (top, left), groups = operation.before, operation.groups
    inputs, each, *window = operation.kernel.shape
    split = operation.kernel.reshape(groups, inputs // groups, each, *window)
    taps = split.transpose(0, 2, 1, 3, 4).reshape(groups * each, inputs // groups, *window)
    result = np.zeros((len(rows), groups * each)) + operation.bias
    for ky, kx in np.ndindex(*window):
        y, x = rows + top - ky * apart_y, columns + left - kx * apart_x
        met = (y % step_y == 0) & (x % step_x == 0)
        seen = image(np.where(met, y // step_y, -1), np.where(met, x // step_x, -1))
        result += _products(seen, taps[:, :, ky, kx], groups)
    return np.maximum(result, 0) if operation.activation == "relu" else result
