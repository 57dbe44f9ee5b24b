"""Evaluate a few nodes with NumPy, to prove a rewrite on small arrays.

Every operator comes from the ONNX reference evaluator, except those it is too slow for; these
are written here in plain NumPy. Floating arrays may be widened to float64, so that a comparison
shows the rewrite's error and not the arithmetic's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph.builder import OPSET
from segrt.passes._resize_rule import read_rule

Array: TypeAlias = npt.NDArray[Any]
Feeds: TypeAlias = Mapping[ir.Value, Array]

# Rows of a weight matrix widened at a time: keeps the extra memory near 10 MB.
_ROWS = 64


def evaluate(value: ir.Value, feeds: Feeds, *, wide: bool) -> Array:
    """Return the array that ``value`` holds.

    Args:
        value: What to compute.
        feeds: Arrays of the values where the computation starts.
        wide: Compute in float64 wherever the graph says float32.

    Raises:
        PassError: It depends on a value that is neither fed nor constant.
    """
    known: dict[ir.Value, Array] = {
        key: _widen(array) if wide else array for key, array in feeds.items()
    }
    # An own stack: chains of nodes may be longer than Python's recursion allows.
    stack = [value]
    while stack:
        current = stack[-1]
        if current in known:
            stack.pop()
            continue
        node = current.producer()
        if current.const_value is not None:
            # Large weights stay as they are: the operators widen them piece by piece.
            known[current] = current.const_value.numpy()
        elif node is None:
            raise PassError(f"cannot evaluate {value.name!r}: {current.name!r} has no value")
        elif missing := [item for item in node.inputs if item is not None and item not in known]:
            stack.extend(missing)
        else:
            inputs = [None if item is None else known[item] for item in node.inputs]
            known.update(zip(node.outputs, run_node(node, inputs, wide=wide), strict=True))
    return known[value]


def run_node(node: ir.Node, inputs: list[Array | None], *, wide: bool) -> list[Array]:
    """Return the outputs of one node.

    Raises:
        PassError: The reference evaluator cannot run it.
    """
    own = _OWN.get(node.op_type) if node.domain == "" else None
    if own is not None:
        result = own(node, inputs)
        if result is not None:
            return [result]
    if wide:
        inputs = [None if array is None else _widen(array) for array in inputs]
    return _reference(node, inputs)


def _reference(node: ir.Node, inputs: list[Array | None]) -> list[Array]:
    # Slow to import, and only needed where a rewrite is being proven.
    from onnx.reference import ReferenceEvaluator

    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name or "")
    proto.input.extend("" if array is None else f"i{i}" for i, array in enumerate(inputs))
    proto.output.extend(f"o{i}" for i in range(len(node.outputs)))
    proto.attribute.extend(ir.to_proto(attribute) for attribute in node.attributes.values())
    feeds = {f"i{i}": array for i, array in enumerate(inputs) if array is not None}
    try:
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(proto, opsets={"": OPSET}).run(None, feeds)
    except Exception as error:
        # The evaluator raises whatever NumPy raises; none of it may reach the user bare.
        raise PassError(
            f"node {node.name!r} ({node.op_type}) cannot be evaluated", found=str(error)
        ) from error
    return [np.asarray(array) for array in cast("list[Any]", found)]


def _widen(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


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


_OWN: dict[str, Callable[[ir.Node, list[Array | None]], Array | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Resize": _resize,
}
