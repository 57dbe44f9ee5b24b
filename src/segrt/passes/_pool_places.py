"""Max pooling that tells where the maxima lay, in plain NumPy: the definition, for proofs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.passes._operators import Array, pool_pads


def pool_with_places(node: ir.Node, inputs: list[Array | None]) -> list[Array] | None:
    """Return maxima and their places, ``((n * C + c) * H + y) * W + x``; of equals the first.

    Returns None for settings that are not known here.
    """
    x, get = inputs[0], node.attributes
    kernel = tuple(get.get_ints("kernel_shape", ()))
    in_columns = get.get_int("storage_order", 0) != 0
    if x is None or not kernel or in_columns or len(node.outputs) != 2:
        return None
    strides = list(get.get_ints("strides", [1] * len(kernel)))
    dilations = list(get.get_ints("dilations", [1] * len(kernel)))
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    sides = ((0, 0), (0, 0), *pool_pads(node, x.shape[2:], extent, strides))
    steps = tuple(slice(None, None, step) for step in (*strides, *dilations))

    def windows(array: Array) -> Array:
        axes = tuple(range(2, x.ndim))
        found = np.lib.stride_tricks.sliding_window_view(array, extent, axis=axes)[:, :, *steps]
        return np.asarray(found.reshape(*found.shape[: x.ndim], -1))

    numbers = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    taken = windows(np.pad(x, sides, constant_values=-np.inf))
    which = taken.argmax(axis=-1)[..., None]
    places = windows(np.pad(numbers, sides, constant_values=-1))
    return [np.take_along_axis(array, which, axis=-1)[..., 0] for array in (taken, places)]
