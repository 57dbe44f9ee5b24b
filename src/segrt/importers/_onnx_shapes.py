"""The shape of every value of a foreign graph, with free sizes as formulas.

ONNX' own inference knows shapes that are numbers or the input's own names. What it leaves open
(a convolution's size, a Reshape computed in the graph) is worked out here, so that the graph's
shape arithmetic can be replaced by constants. See https://onnx.ai/onnx/operators/ for the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import onnx
import onnx_ir as ir

from segrt.graph.builder import infer_node
from segrt.importers._onnx_contents import CONTENTS
from segrt.importers._onnx_symbols import Formula, number, product, symbol

Sizes: TypeAlias = list[Formula]

# Arrays of at most so many numbers are looked at as shapes.
_SMALL = 64


class Shapes:
    """What is known of a graph's values; grows node by node, in topological order.

    Attributes:
        sizes: Value -> its shape.
        contents: Small array of rank 0 or 1 -> the numbers it holds.
    """

    def __init__(self) -> None:
        self.sizes: dict[ir.Value, Sizes] = {}
        self.contents: dict[ir.Value, Sizes] = {}
        self._formulas: dict[str, Formula] = {}
        self._fresh = 0

    def shape(self, value: ir.Value | None) -> Sizes | None:
        """Return the shape of a value, None if not even its rank is known."""
        if value is None:
            return None
        if value not in self.sizes and value.shape is not None:
            self.sizes[value] = [self._known(size) for size in value.shape]
        return self.sizes.get(value)

    def content(self, value: ir.Value | None) -> Sizes | None:
        """Return the numbers in a small vector or scalar, None if they are unknown."""
        if value is None:
            return None
        constant = value.const_value
        if value not in self.contents and constant is not None and constant.size <= _SMALL:
            array = constant.numpy()
            if array.ndim <= 1 and array.dtype.kind in "iuf" and np.isfinite(array).all():
                self.contents[value] = [number(item) for item in array.reshape(-1).tolist()]
        return self.contents.get(value)

    def infer(self, node: ir.Node) -> None:
        """Work out shapes, types and contents of a node's outputs.

        Raises:
            onnx.shape_inference.InferenceError: The inputs do not fit the operator.
        """
        for output in node.outputs:
            output.shape = None
        infer_node(node)
        rule = _RULES.get(node.op_type)
        own = rule(self, node) if rule is not None else None
        for index, output in enumerate(node.outputs):
            sizes = own if index == 0 and own is not None else self._from_onnx(output)
            if sizes is not None:
                self.sizes[output] = sizes
                output.shape = ir.Shape([self._dim(size) for size in sizes])
        contents = CONTENTS.get(node.op_type)
        found = contents(self, node) if contents is not None else None
        for output, content in zip(node.outputs, found or (), strict=False):
            if content is not None and len(content) <= _SMALL:
                self.contents[output] = content

    def _known(self, size: int | ir.SymbolicDim) -> Formula:
        if isinstance(size, int):
            return number(size)
        name = size.value
        if name is None:
            self._fresh += 1
            name = f"size{self._fresh}"
        return self._formulas.setdefault(name, symbol(name))

    def _dim(self, size: Formula) -> int | str:
        whole = size.whole
        if whole is not None:
            return whole
        name = str(size)
        self._formulas[name] = size
        return name

    def _from_onnx(self, value: ir.Value) -> Sizes | None:
        return None if value.shape is None else [self._known(size) for size in value.shape]


def ints(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    """Return an attribute that is a list of integers."""
    attribute = node.attributes.get(name)
    return list(default) if attribute is None else list(attribute.as_ints())


def text(node: ir.Node, name: str, default: str) -> str:
    """Return an attribute that is a word."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def _flag(node: ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else attribute.as_int()


def _window(shapes: Shapes, node: ir.Node) -> Sizes | None:
    """Conv and pooling: ``floor((size + pads - reach) / stride) + 1``."""
    before = shapes.shape(node.inputs[0])
    if before is None:
        return None
    space = len(before) - 2
    weight = shapes.shape(node.inputs[1]) if node.op_type == "Conv" else None
    kernel = ints(node, "kernel_shape", [s.whole or 0 for s in weight[2:]] if weight else [])
    strides, dilations = ints(node, "strides", [1] * space), ints(node, "dilations", [1] * space)
    pads, mode = ints(node, "pads", [0] * (2 * space)), text(node, "auto_pad", "NOTSET")
    if len(kernel) != space or _flag(node, "ceil_mode"):
        return None
    if weight is not None:
        _check_channels(node, before[1], weight[1])
    after = []
    for axis in range(space):
        stride = number(Fraction(1, strides[axis]))
        if mode.startswith("SAME"):
            after.append(-((-before[2 + axis] * stride).floor()))
            continue
        given = 0 if mode == "VALID" else pads[axis] + pads[space + axis]
        reach = number(given - (kernel[axis] - 1) * dilations[axis] - 1)
        after.append(((before[2 + axis] + reach) * stride).floor() + number(1))
    channels = weight[0] if weight is not None else before[1]
    return [before[0], channels, *after]


def _check_channels(node: ir.Node, given: Formula, wanted: Formula) -> None:
    """Refuse what ONNX' inference lets through: a kernel for another number of channels."""
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    found, needed = given.whole, (wanted * number(groups)).whole
    if found is not None and needed is not None and found != needed:
        raise ValueError(f"{found} channels come in, the kernel takes {needed}")


def _deconvolution(shapes: Shapes, node: ir.Node) -> Sizes | None:
    """ConvTranspose: ``(size - 1) * stride + output_padding + reach - pads``."""
    before, weight = shapes.shape(node.inputs[0]), shapes.shape(node.inputs[1])
    if before is None or weight is None or "output_shape" in node.attributes:
        return None
    space = len(before) - 2
    kernel = ints(node, "kernel_shape", [s.whole or 0 for s in weight[2:]])
    strides, dilations = ints(node, "strides", [1] * space), ints(node, "dilations", [1] * space)
    pads, extra = ints(node, "pads", [0] * (2 * space)), ints(node, "output_padding", [0] * space)
    mode = text(node, "auto_pad", "NOTSET")
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    after = []
    for axis in range(space):
        stride = number(strides[axis])
        reach = (kernel[axis] - 1) * dilations[axis] + 1 + extra[axis]
        if mode.startswith("SAME"):
            # Nothing is cut off, and nothing added, where a window is shorter than the stride.
            given = max(0, reach - strides[axis])
        else:
            given = 0 if mode == "VALID" else pads[axis] + pads[space + axis]
        reach -= given
        after.append((before[2 + axis] - number(1)) * stride + number(reach))
    return [before[0], weight[1] * number(groups), *after]


def _reshape(shapes: Shapes, node: ir.Node) -> Sizes | None:
    before, wanted = shapes.shape(node.inputs[0]), shapes.content(node.inputs[1])
    if before is None or wanted is None:
        return None
    keep_zero = _flag(node, "allowzero")
    after = list(wanted)
    for axis, size in enumerate(wanted):
        if size.whole == 0 and not keep_zero:
            if axis >= len(before):
                return None
            after[axis] = before[axis]
    rest = [axis for axis, size in enumerate(wanted) if size.whole == -1]
    if len(rest) == 1:
        known = product(size for axis, size in enumerate(after) if axis != rest[0])
        left = _divide(before, known, after, rest[0])
        if left is None:
            return None
        after[rest[0]] = left
    return after


def _divide(before: Sizes, known: Formula, after: Sizes, rest: int) -> Formula | None:
    """Return what -1 stands for: equal factors on both sides cancel first."""
    upper, lower = list(before), [size for axis, size in enumerate(after) if axis != rest]
    for size in list(lower):
        if size in upper:
            upper.remove(size)
            lower.remove(size)
    return product(upper).over(product(lower)) if known.terms else None


def _resize(shapes: Shapes, node: ir.Node) -> Sizes | None:
    before = shapes.shape(node.inputs[0])
    sizes = shapes.content(node.inputs[3]) if len(node.inputs) > 3 else None
    scales = shapes.content(node.inputs[2]) if len(node.inputs) > 2 else None
    if before is None or "axes" in node.attributes:
        return None
    if sizes and text(node, "keep_aspect_ratio_policy", "stretch") == "stretch":
        return sizes
    if scales and len(scales) == len(before):
        return [(a * b).floor() for a, b in zip(before, scales, strict=True)]
    return None


def _tile(shapes: Shapes, node: ir.Node) -> Sizes | None:
    before, times = shapes.shape(node.inputs[0]), shapes.content(node.inputs[1])
    if before is None or times is None:
        return None
    return [a * b for a, b in zip(before, times, strict=True)]


def _expand(shapes: Shapes, node: ir.Node) -> Sizes | None:
    before, wanted = shapes.shape(node.inputs[0]), shapes.content(node.inputs[1])
    if before is None or wanted is None:
        return None
    rank = max(len(before), len(wanted))
    one = number(1)
    pairs = zip(
        [one] * (rank - len(before)) + before, [one] * (rank - len(wanted)) + wanted, strict=True
    )
    after = []
    for old, new in pairs:
        if old != new and one not in (old, new):
            return None
        after.append(new if old == one else old)
    return after


def _concat(shapes: Shapes, node: ir.Node) -> Sizes | None:
    parts = [shapes.shape(value) for value in node.inputs]
    first = parts[0]
    if first is None or any(part is None for part in parts):
        return None
    axis = node.attributes["axis"].as_int() % max(1, len(first))
    after = list(first)
    after[axis] = sum((part[axis] for part in parts if part is not None), number(0))
    return after


def _pad(shapes: Shapes, node: ir.Node) -> Sizes | None:
    before, pads = shapes.shape(node.inputs[0]), shapes.content(node.inputs[1])
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    if before is None or pads is None or axes is not None or len(pads) != 2 * len(before):
        return None
    rank = len(before)
    return [before[axis] + pads[axis] + pads[rank + axis] for axis in range(rank)]


def slice_bounds(shapes: Shapes, node: ir.Node) -> list[tuple[int, Formula, Formula]] | None:
    """Return ``(axis, start, end)`` of a Slice of stride 1, ends beyond the size cut to it."""
    before = shapes.shape(node.inputs[0])
    starts, ends = shapes.content(node.inputs[1]), shapes.content(node.inputs[2])
    given = node.inputs[3] if len(node.inputs) > 3 else None
    axes = shapes.content(given)
    steps = shapes.content(node.inputs[4]) if len(node.inputs) > 4 else None
    if before is None or starts is None or ends is None or (given is not None and axes is None):
        return None
    if steps is not None and any(step.whole != 1 for step in steps):
        return None
    picked = range(len(starts)) if axes is None else [(a.whole or 0) % len(before) for a in axes]
    found = []
    for axis, start, end in zip(picked, starts, ends, strict=True):
        size = before[axis]
        lower, upper = _bound(start, size), _bound(end, size)
        if lower is None or upper is None:
            return None
        found.append((axis, lower, upper))
    return found


def _bound(place: Formula, size: Formula) -> Formula | None:
    whole = place.whole
    if whole is not None and whole < 0:
        from_end = size + place
        return number(max(0, from_end.whole)) if from_end.whole is not None else from_end
    if (whole is not None and whole >= 1 << 30) or (place - size).at_least(0):
        return size
    return place if (size - place).at_least(0) or place.at_least(0) else None


def _slice(shapes: Shapes, node: ir.Node) -> Sizes | None:
    before, bounds = shapes.shape(node.inputs[0]), slice_bounds(shapes, node)
    if before is None or bounds is None:
        return None
    after = list(before)
    for axis, start, end in bounds:
        # An end whose relation to the size is unknown could be cut: then nothing is said.
        if end != before[axis] and not (before[axis] - end).at_least(0):
            return None
        length = end - start
        after[axis] = number(max(0, length.whole)) if length.whole is not None else length
    return after


_RULES: dict[str, Callable[[Shapes, ir.Node], Sizes | None]] = {
    "Conv": _window,
    "MaxPool": _window,
    "AveragePool": _window,
    "ConvTranspose": _deconvolution,
    "Reshape": _reshape,
    "Resize": _resize,
    "Tile": _tile,
    "Expand": _expand,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
}

InferenceError = onnx.shape_inference.InferenceError
