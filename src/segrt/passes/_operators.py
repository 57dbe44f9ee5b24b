"""The operators a proof meets most, in plain NumPy.

Written for small images with many channels, where the ONNX reference evaluator is slow (Resize,
Conv) or slow to import. A function returns None for settings it does not know; the reference
evaluator then takes over. All compute in the type of their first input.
"""

from __future__ import annotations

from collections.abc import Callable
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
        if any(stride != 1 for stride in _ints(node, "strides", [1, 1])):
            return None
        dilations = _ints(node, "dilations", [1] * len(kernel))
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
        return [*small, *large] if mode == "SAME_UPPER" else [*large, *small]
    return [0] * (2 * len(kernel)) if mode == "VALID" else _ints(node, "pads", [0, 0, 0, 0])


def _conv(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    if x is None or weight is None or weight.ndim != 4:
        return None
    pads = conv_pads(node, weight.shape[2:])
    if pads is None:
        return None
    groups = _int(node, "group", 1)
    (sy, sx), (dy, dx) = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    ky, kx = (weight.shape[2] - 1) * dy + 1, (weight.shape[3] - 1) * dx + 1
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (ky, kx), axis=(2, 3))
    windows = windows[:, :, ::sy, ::sx, ::dy, ::dx]
    n, c, height, width = windows.shape[:4]
    # (group, N*H*W, C/group * kh * kw): one matrix product a group
    split = windows.reshape(n, groups, c // groups, height, width, *weight.shape[2:])
    columns = split.transpose(1, 0, 3, 4, 2, 5, 6).reshape(groups, n * height * width, -1)
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    result = np.empty((groups, n * height * width, rows.shape[1]), dtype=x.dtype)
    for start in range(0, rows.shape[1], _ROWS):
        piece = rows[:, start : start + _ROWS].astype(x.dtype)
        result[:, :, start : start + _ROWS] = columns @ piece.transpose(0, 2, 1)
    result = result.reshape(groups, n, height, width, -1).transpose(1, 0, 4, 2, 3)
    result = result.reshape(n, weight.shape[0], height, width)
    return result if bias is None else result + bias.astype(x.dtype)[:, None, None]


def _conv_transpose(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    auto_pad = node.attributes.get("auto_pad")
    explicit = auto_pad is None or auto_pad.as_string() in ("NOTSET", "VALID")
    if x is None or weight is None or weight.ndim != 4 or not explicit:
        return None
    if "output_shape" in node.attributes:
        return None
    groups = _int(node, "group", 1)
    (sy, sx), (dy, dx) = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    pads = _ints(node, "pads", [0, 0, 0, 0])
    extra = _ints(node, "output_padding", [0, 0])
    n, c, height, width = x.shape
    per_group, ky, kx = weight.shape[1:]
    split = x.reshape(n, groups, c // groups, height, width)
    taps = weight.reshape(groups, c // groups, per_group, ky, kx)
    tall = (height - 1) * sy + dy * (ky - 1) + 1 + extra[0]
    wide = (width - 1) * sx + dx * (kx - 1) + 1 + extra[1]
    canvas = np.zeros((n, groups, per_group, tall, wide), dtype=x.dtype)
    for i in range(ky):
        for j in range(kx):
            tap = taps[:, :, :, i, j].astype(x.dtype)
            part = np.einsum("ngchw,gcm->ngmhw", split, tap, optimize=True)
            rows = slice(i * dy, i * dy + (height - 1) * sy + 1, sy)
            columns = slice(j * dx, j * dx + (width - 1) * sx + 1, sx)
            canvas[:, :, :, rows, columns] += part
    result = canvas.reshape(n, groups * per_group, tall, wide)
    result = result[:, :, pads[0] : tall - pads[2], pads[1] : wide - pads[3]]
    return result if bias is None else result + bias.astype(x.dtype)[:, None, None]


def _resize(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    rule = read_rule(node)
    if rule is None or inputs[0] is None:
        return None
    result = inputs[0]
    for axis, factor in ((2, rule.factors[0]), (3, rule.factors[1])):
        size = result.shape[axis]
        if rule.linear:
            low, high, weight = rule.linear_taps(size, factor)
            shape = [1, 1, 1, 1]
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


def _unsqueeze(_node: ir.Node, inputs: list[Array | None]) -> Array | None:
    x, axes = inputs
    return None if x is None or axes is None else np.expand_dims(x, tuple(axes.tolist()))


OPERATORS: dict[str, Callable[[ir.Node, list[Array | None]], Array | None]] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Identity": _identity,
    "MatMul": _matmul,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
