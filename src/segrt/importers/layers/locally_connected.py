"""LocallyConnected1D and 2D of Keras 2: a convolution with a kernel of its own at every position.

Keras keeps the kernels in three ways, by the setting ``implementation``:

1. (positions, taps and channels, filters), as the window is cut out and flattened;
2. a dense kernel from every input to every output, of which only what a window covers counts;
3. only what counts, as one vector, ordered by output and then by input.

All become one kernel for each position (positions, channels and taps, filters), and the layer a
Gather of all windows and a product for each position. Sources: ``keras/src/layers/
locally_connected`` and ``conv_connected_inputs`` of ``keras/src/utils/conv_utils.py``, Keras 2.15.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers._layer_graph import Array
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer, kernel_and_bias
from segrt.importers.layers._inputs import channels, dimensions, image, weight, wrong_input
from segrt.importers.layers._windows import Window, read_window

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Local:
    """What is connected with what.

    Attributes:
        size: Of the image in pixels, by axis.
        places: Positions of the window, by axis.
        taps: (positions, taps), both in C order: the number of the pixel read, -1 outside.
        depth: Input channels.
        filters: Output channels.
    """

    size: Sizes
    places: Sizes
    taps: npt.NDArray[np.int64]
    depth: int
    filters: int


@keras_layer("LocallyConnected1D", "LocallyConnected2D", weights=kernel_and_bias)
def locally_connected(call: Call, x: Tensor) -> Tensor:
    """Convert to a Gather of all windows and a MatMul with one kernel a position."""
    x = image(call, x)
    filters = _config.integer(call, "filters")
    kind = _config.integer(call, "implementation", 1, high=3)
    window = read_window(call, "kernel_size")
    if (window.same and kind == 1) or window.dilations != (1,) * dimensions(call):
        raise call.unsupported("padding", call.config.get("padding"), "valid, without dilation")
    value = call.channels_first(x)
    local = _connections(_image_size(call, value), window, channels(call, x), filters)
    if min(local.places) < 1:
        raise wrong_input(call, f"an image of {local.size} pixels", f"at least {window.kernel}")
    pixels = call.ints("row_shape", [-1, local.depth, prod(local.size)])
    row = call.op("Reshape", [value, pixels], role="row")
    # Taps outside the image have weight 0, so it does not matter which pixel they read.
    result = _products(call, row, np.maximum(local.taps, 0), _kernel(call, kind, local))
    shape = call.ints("shape", [-1, filters, *local.places])
    result = call.op("Reshape", [result, shape], role="places")
    if _config.flag(call, "use_bias", True):
        bias = weight(call, "bias", (*local.places, filters))
        result = call.op("Add", [result, call.weight("bias", _stored_bias(call, bias))])
    return call.activation(call.wrap(result), call.config.get("activation"))


def _image_size(call: Call, x: ir.Value) -> Sizes:
    sizes = static_shape(x)[2:]
    known = tuple(size for size in sizes if size is not None)
    if len(known) != len(sizes):
        raise wrong_input(call, f"an image of {sizes} pixels", "known sizes: every pixel has taps")
    return known


def _connections(size: Sizes, window: Window, depth: int, filters: int) -> _Local:
    """Return what is connected with what.

    With ``same`` Keras begins a window of size k at ``position * stride - k // 2``: for even k
    one pixel before its convolutions do, and whatever the stride.
    """
    pixels = np.zeros((1, 1), dtype=np.int64)
    inside = np.ones((1, 1), dtype=np.bool_)
    places: list[int] = []
    for length, extent, stride in zip(size, window.kernel, window.strides, strict=True):
        count = -(-length // stride) if window.same else (length - extent) // stride + 1
        starts = np.arange(max(count, 0)) * stride - (extent // 2 if window.same else 0)
        axis = starts[:, None] + np.arange(extent)
        valid = (axis >= 0) & (axis < length)
        shape = (pixels.shape[0] * len(starts), pixels.shape[1] * extent)
        pixels = (pixels[:, None, :, None] * length + axis[None, :, None, :]).reshape(shape)
        inside = (inside[:, None, :, None] & valid[None, :, None, :]).reshape(shape)
        places.append(len(starts))
    return _Local(size, tuple(places), np.where(inside, pixels, -1), depth, filters)


def _kernel(call: Call, kind: int, local: _Local) -> Array:
    """Return the kernels as (positions, channels and taps, filters)."""
    count, width = local.taps.shape
    depth, filters = local.depth, local.filters
    if kind == 1:
        kernel = weight(call, "kernel", (count, width * depth, filters))
        if not call.channels_last:
            return kernel
        split = kernel.reshape(count, width, depth, filters)
        return split.transpose(0, 2, 1, 3).reshape(kernel.shape)
    found = (_from_dense if kind == 2 else _from_vector)(call, local)
    return np.ascontiguousarray(found).reshape(count, depth * width, filters)


def _from_dense(call: Call, local: _Local) -> Array:
    """Pick (positions, channels, taps, filters) from weights of every input to every output."""
    last, pixels = call.channels_last, prod(local.size)
    count, width = local.taps.shape
    front = (*local.size, local.depth) if last else (local.depth, *local.size)
    behind = (*local.places, local.filters) if last else (local.filters, *local.places)
    dense = weight(call, "kernel", (*front, *behind))
    if last:
        dense = dense.reshape(pixels, local.depth, count, local.filters)
    else:
        dense = dense.reshape(local.depth, pixels, local.filters, count).transpose(1, 0, 3, 2)
    found = np.zeros((count, local.depth, width, local.filters), dtype=np.float32)
    position, tap = np.nonzero(local.taps >= 0)
    found[position, :, tap] = dense[local.taps[position, tap], :, position]
    return found


def _from_vector(call: Call, local: _Local) -> Array:
    """Place a vector ordered by output, then input as (positions, channels, taps, filters)."""
    inside = local.taps >= 0
    count, width = inside.shape
    vector = weight(call, "kernel", (int(inside.sum()) * local.depth * local.filters,))
    if call.channels_last:  # by position, filter, tap, channel
        order = np.zeros((count, local.filters, width, local.depth), dtype=np.float32)
        order[np.broadcast_to(inside[:, None, :, None], order.shape)] = vector
        return order.transpose(0, 3, 2, 1)
    order = np.zeros((local.filters, count, local.depth, width), dtype=np.float32)
    order[np.broadcast_to(inside[None, :, None, :], order.shape)] = vector
    return order.transpose(1, 2, 3, 0)


def _stored_bias(call: Call, bias: Array) -> Array:
    """Return the bias (filters, positions by axis).

    For ``channels_first`` Keras' ``bias_add`` reshapes the array where a transposition was meant;
    what it computes is what counts.
    """
    if call.channels_last:
        return np.ascontiguousarray(np.moveaxis(bias, -1, 0))
    return bias.reshape(bias.shape[-1], *bias.shape[:-1])


def _products(call: Call, row: ir.Value, taps: npt.NDArray[np.int64], kernel: Array) -> ir.Value:
    """Return N, filters, positions: the product of every window with its own kernel.

    Args:
        call: The layer's call.
        row: N, channels, pixels.
        taps: (positions, taps), numbers of pixels.
        kernel: (positions, channels and taps, filters).
    """
    windows = call.op("Gather", [row, call.constant("taps", taps)], role="windows", axis=2)
    turned = call.op("Transpose", [windows], role="by_position", perm=[2, 0, 1, 3])
    flat_shape = call.ints("flat_shape", [kernel.shape[0], -1, kernel.shape[1]])
    flat = call.op("Reshape", [turned, flat_shape], role="flat")
    product = call.op("MatMul", [flat, call.weight("kernel", kernel)], role="product")
    return call.op("Transpose", [product], role="by_batch", perm=[1, 2, 0])
