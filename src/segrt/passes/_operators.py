"""The operators a proof meets most, in plain NumPy.

Written for small images with many channels, where the ONNX reference evaluator is slow (Resize,
Conv) or slow to import. A function returns None for settings it does not know; the reference
evaluator then takes over. All compute in the type of their first input.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.passes._resize_rule import read_rule

Array: TypeAlias = npt.NDArray[Any]

# Rows of a weight matrix widened at a time: keeps the extra memory near 10 MB.
_ROWS = 64


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    return list(attribute.as_ints()) if attribute is not None else default


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None else default


def conv_pads(node: ir.Node, kernel: tuple[int, ...]) -> list[int] | None:
    """Return explicit pads (begins, then ends) of a Conv, None where they depend on the size.

    ``SAME`` pads depend on the size only with a stride.
    """
    attribute = node.attributes.get("auto_pad")
    mode = attribute.as_string() if attribute is not None else "NOTSET"
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if any(stride != 1 for stride in _ints(node, "strides", [])):
            return None
        dilations = _ints(node, "dilations", [1] * len(kernel))
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        return [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
    none = [0] * (2 * len(kernel))
    return none if mode == "VALID" else _ints(node, "pads", none)


def _conv(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    if x is None or weight is None or weight.ndim < 3:
        return None
    taps = weight.shape[2:]
    spatial = len(taps)
    pads = conv_pads(node, taps)
    if pads is None:
        return None
    groups = _int(node, "group", 1)
    dilations = _ints(node, "dilations", [1] * spatial)
    extent = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    sides = zip(pads[:spatial], pads[spatial:], strict=True)
    padded = np.pad(x, ((0, 0), (0, 0), *sides))
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=axes)
    steps = [*_ints(node, "strides", [1] * spatial), *dilations]
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in steps))]
    n, c, *sizes = windows.shape[: 2 + spatial]
    # (group, N * pixels, C/group * taps): one matrix product a group
    split = windows.reshape(n, groups, c // groups, *sizes, *taps)
    order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
    columns = split.transpose(order).reshape(groups, n * int(np.prod(sizes)), -1)
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    result = np.empty((groups, columns.shape[1], rows.shape[1]), dtype=x.dtype)
    for start in range(0, rows.shape[1], _ROWS):
        piece = rows[:, start : start + _ROWS].astype(x.dtype)
        result[:, :, start : start + _ROWS] = columns @ piece.transpose(0, 2, 1)
    result = np.moveaxis(result.reshape(groups, n, *sizes, -1), (1, -1), (0, 2))
    return _with_bias(result.reshape(n, weight.shape[0], *sizes), bias)


def _conv_transpose(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    auto_pad = node.attributes.get("auto_pad")
    explicit = auto_pad is None or auto_pad.as_string() in ("NOTSET", "VALID")
    if x is None or weight is None or weight.ndim < 3 or not explicit:
        return None
    if "output_shape" in node.attributes:
        return None
    groups, spatial = _int(node, "group", 1), weight.ndim - 2
    strides = _ints(node, "strides", [1] * spatial)
    dilations = _ints(node, "dilations", [1] * spatial)
    pads = _ints(node, "pads", [0] * (2 * spatial))
    extra = _ints(node, "output_padding", [0] * spatial)
    n, c, *sizes = x.shape
    per_group, *kernel = weight.shape[1:]
    split = x.reshape(n, groups, c // groups, *sizes)
    taps = weight.reshape(groups, c // groups, per_group, *kernel)
    spans = [(size - 1) * s + 1 for size, s in zip(sizes, strides, strict=True)]
    full = [
        span + d * (k - 1) + more
        for span, d, k, more in zip(spans, dilations, kernel, extra, strict=True)
    ]
    canvas = np.zeros((n, groups, per_group, *full), dtype=x.dtype)
    for index in np.ndindex(*kernel):
        tap = taps[(..., *index)].astype(x.dtype)
        part = np.einsum("ngc...,gcm->ngm...", split, tap, optimize=True)
        starts = [i * d for i, d in zip(index, dilations, strict=True)]
        places = zip(starts, spans, strides, strict=True)
        canvas[_inner(slice(at, at + span, step) for at, span, step in places)] += part
    result = canvas.reshape(n, groups * per_group, *full)
    kept = zip(pads[:spatial], full, pads[spatial:], strict=True)
    return _with_bias(result[_inner(slice(a, size - b) for a, size, b in kept)], bias)


def _inner(slices: Iterable[slice]) -> Any:
    """Return the index that takes ``slices`` of the last axes."""
    return (..., *slices)


def _with_bias(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 2))


def _pool(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, kernel = inputs[0], _ints(node, "kernel_shape", [])
    largest = node.op_type == "MaxPool"
    unusual = len(node.outputs) > 1 or (not largest and _int(node, "ceil_mode", 0))
    if x is None or not kernel or unusual:
        return None
    strides, dilations = (_ints(node, n, [1] * len(kernel)) for n in ("strides", "dilations"))
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    pads = pool_pads(node, x.shape[2:], extent, strides)
    counted = x.dtype.type(not largest and bool(_int(node, "count_include_pad", 0)))
    sides = ((0, 0), (0, 0), *pads)
    steps = _inner(slice(None, None, step) for step in [*strides, *dilations])
    axes = tuple(range(2, x.ndim))
    inner = tuple(range(-len(kernel), 0))

    def windows(array: Array) -> Array:
        found = np.lib.stride_tricks.sliding_window_view(array, extent, axis=axes)
        return np.asarray(found[steps])

    if largest:
        return np.asarray(windows(np.pad(x, sides, constant_values=-np.inf)).max(axis=inner))
    inside = np.pad(np.ones_like(x[:1, :1]), sides, constant_values=counted)
    return np.asarray(windows(np.pad(x, sides)).sum(axis=inner) / windows(inside).sum(axis=inner))


def pool_pads(
    node: ir.Node, sizes: tuple[int, ...], kernel: tuple[int, ...], strides: list[int]
) -> list[tuple[int, int]]:
    """Return (before, after) an axis; a kernel with gaps is as long as it reaches."""
    attribute = node.attributes.get("auto_pad")
    mode = attribute.as_string() if attribute is not None else "NOTSET"
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        triples = zip(sizes, kernel, strides, strict=True)
        totals = [max((-(-size // step) - 1) * step + k - size, 0) for size, k, step in triples]
        halves = [(total // 2, total - total // 2) for total in totals]
        return halves if mode == "SAME_UPPER" else [(b, a) for a, b in halves]
    pads = [0] * (2 * len(kernel)) if mode == "VALID" else _ints(node, "pads", [0, 0] * len(kernel))
    sides = list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    if not _int(node, "ceil_mode", 0):
        return sides
    grown = []
    for size, k, step, (before, after) in zip(sizes, kernel, strides, sides, strict=True):
        last = -(-(size + before + after - k) // step)
        # A window that would begin behind the image is none.
        last -= last * step >= size + before
        grown.append((before, max(after, last * step + k - size - before)))
    return grown


def _resize(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    rule = read_rule(node)
    if rule is None or inputs[0] is None:
        return None
    result = inputs[0]
    for axis, factor in enumerate(rule.factors, start=2):
        size = result.shape[axis]
        if rule.linear:
            low, high, weight = rule.linear_taps(size, factor)
            shape = [1] * result.ndim
            shape[axis] = -1
            part = weight.reshape(shape).astype(result.dtype)
            near, far = np.take(result, low, axis), np.take(result, high, axis)
            result = near * (1 - part) + far * part
        else:
            result = np.take(result, rule.nearest_indices(size, factor), axis)
    return result


def _batch_norm(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    training = node.attributes.get("training_mode")
    if len(node.outputs) > 1 or (training is not None and training.as_int()):
        return None
    x = inputs[0]
    rest = [array for array in inputs[1:] if array is not None]
    if x is None or len(rest) != 4:
        return None
    shape = (1, -1) + (1,) * (x.ndim - 2)
    gamma, beta, mean, variance = (array.astype(x.dtype).reshape(shape) for array in rest)
    attribute = node.attributes.get("epsilon")
    epsilon = x.dtype.type(1e-5 if attribute is None else attribute.as_float())
    return np.asarray((x - mean) / np.sqrt(variance + epsilon) * gamma + beta)


def _depth_to_space(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, mode = inputs[0], node.attributes.get("mode")
    if x is None or mode is None or mode.as_string() != "CRD":
        return None
    n, c, height, width = x.shape
    size = node.attributes["blocksize"].as_int()
    split = x.reshape(n, c // size**2, size, size, height, width)
    mixed = split.transpose(0, 1, 4, 2, 5, 3)
    return mixed.reshape(n, c // size**2, height * size, width * size)


def _expand(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, shape = inputs
    if x is None or shape is None:
        return None
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _identity(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    return inputs[0]


def _largest(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    arrays = [array for array in inputs if array is not None]
    if len({array.dtype for array in arrays}) != 1 or len(arrays) != len(inputs):
        return None
    return functools.reduce(np.maximum, arrays)


def _matmul(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    a, b = inputs
    if a is None or b is None or a.ndim < 2 or b.ndim < 3:
        return None
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    right = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    # Either side may be the constant one.
    result = np.empty((*batch, a.shape[-2], b.shape[-1]), dtype=np.result_type(a, b))
    for index in np.ndindex(batch):
        result[index] = left[index].astype(result.dtype) @ right[index].astype(result.dtype)
    return result


def _relu(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    return None if inputs[0] is None else np.maximum(inputs[0], 0)


def _transpose(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    perm = node.attributes.get("perm")
    if inputs[0] is None:
        return None
    return inputs[0].transpose(None if perm is None else list(perm.as_ints()))


def _reshape(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, shape = inputs
    if x is None or shape is None or "allowzero" in node.attributes:
        return None
    sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())]
    if sizes.count(-1) > 1 or (-1 not in sizes and np.prod(sizes) != x.size):
        return None  # the reference evaluator says what is wrong
    return x.reshape(sizes)


def _slice(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, *given = inputs
    bounds = [[] if array is None else array.tolist() for array in given]
    if x is None or len(bounds) < 2:
        return None
    starts, ends, axes, steps = [*bounds, [], []][:4]
    axes, steps = axes or list(range(len(starts))), steps or [1] * len(starts)
    # Backwards, an end before the beginning is spelled otherwise than in Python.
    if not len(starts) == len(ends) == len(axes) == len(steps) or min(steps, default=1) < 1:
        return None
    index = [slice(None)] * x.ndim
    for axis, *place in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(*place)
    return x[tuple(index)]


def _unsqueeze(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, axes = inputs
    return None if x is None or axes is None else np.expand_dims(x, tuple(axes.tolist()))


OPERATORS: dict[str, Callable[[ir.Node, list[Array | None]], Array | None]] = {
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Identity": _identity,
    "MatMul": _matmul,
    "Max": _largest,
    "MaxPool": _pool,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
