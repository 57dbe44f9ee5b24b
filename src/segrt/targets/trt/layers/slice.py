"""Slice, Pad, Expand and ConstantOfShape: all are TensorRT's slice layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers._entries import entries

_FREE = -1
# ONNX writes "to the end" as a number beyond any size.
_FAR = 1 << 31
_ENDS = ("from", "to")


@converts("Slice")
def slice_(writer: Writer, node: ir.Node) -> Tensor:
    """Write a cut with constant steps, by bounds that may be computed."""
    x = writer.tensor(node.inputs[0])
    known = list(x.shape)
    rank = len(known)
    starts, ends = (
        entries(writer, value, name) for value, name in zip(node.inputs[1:3], _ENDS, strict=True)
    )
    given = [*node.inputs[3:], None, None][:2]
    axes, steps = list(range(len(starts))), [1] * len(starts)
    if given[0] is not None:
        axes = [int(axis) for axis in writer.required(given[0], "axes").reshape(-1)]
    if given[1] is not None:
        steps = [int(step) for step in writer.required(given[1], "steps").reshape(-1)]
    full = writer.sizes(x)
    cuts = [Cut(size) for size in full]
    for start, end, place, stride in zip(starts, ends, axes, steps, strict=True):
        axis = place % rank
        if known[axis] != _FREE and isinstance(start, int) and isinstance(end, int):
            taken = range(*slice(start, end, stride).indices(known[axis]))
            cuts[axis] = Cut(len(taken), taken.start, taken.step)
        else:
            cuts[axis] = _free_cut(writer, full[axis], start, end, stride)
    return _cut(writer, x, cuts)


@dataclass(frozen=True, slots=True)
class Cut:
    """What is taken along one axis: how many, from where, in what steps."""

    count: Size
    start: Size = 0
    step: int = 1


def _free_cut(writer: Writer, full: Size, start: Size, end: Size, stride: int) -> Cut:
    """Return a cut of a size that is known when the engine runs, by NumPy's rules.

    What would leave nothing is not minded: no engine takes that.
    """
    # Backwards the bounds are one lower: the end lies in front of the last one taken.
    lowest = 0 if stride > 0 else -1
    highest = full if stride > 0 else writer.combine(full, 1, "SUB")
    first = _bound(writer, start, full, lowest, highest)
    if stride > 0 and isinstance(start, int) and start >= 0:
        first = start
    last = _bound(writer, end, full, lowest, highest)
    ends = (last, first) if stride > 0 else (first, last)
    length, step = writer.combine(*ends, "SUB"), abs(stride)
    if step > 1:
        grown = writer.combine(length, step - 1, "SUM")
        length = writer.combine(grown, step, "FLOOR_DIV")
    return Cut(length, first, stride)


def _bound(writer: Writer, place: Size, full: Size, lowest: int, highest: Size) -> Size:
    """Return where a bound lies that may count from the end, or beyond it."""
    if not isinstance(place, int):
        # -1 where it counts from the end, else 0.
        behind = writer.combine(writer.combine(place, 0, "MIN"), -1, "MAX")
        place = writer.combine(place, writer.combine(behind, full, "PROD"), "SUB")
        return writer.combine(writer.combine(place, lowest, "MAX"), highest, "MIN")
    if place >= _FAR:
        return highest
    if place <= -_FAR:
        return lowest
    if place >= 0:
        return writer.combine(place, highest, "MIN")
    return writer.combine(writer.combine(full, -place, "SUB"), lowest, "MAX")


def _cut(writer: Writer, x: Tensor, cuts: list[Cut]) -> Tensor:
    starts, sizes = [cut.start for cut in cuts], [cut.count for cut in cuts]
    fixed = [all(isinstance(size, int) for size in part) for part in (starts, sizes)]
    layer = writer.network.add_slice(
        x,
        starts if fixed[0] else [0] * len(cuts),
        sizes if fixed[1] else [1] * len(cuts),
        [cut.step for cut in cuts],
    )
    if not fixed[0]:
        layer.set_input(1, writer.shape_tensor(starts))
    if not fixed[1]:
        layer.set_input(2, writer.shape_tensor(sizes))
    return writer.layer(layer)


@converts("Pad")
def pad(writer: Writer, node: ir.Node) -> Tensor:
    """Write padding by a constant, the edge or a reflection."""
    x = writer.tensor(node.inputs[0])
    mode = node.attributes.get_string("mode", "constant")
    modes = {"constant": "FILL", "edge": "CLAMP", "reflect": "REFLECT", "wrap": "WRAP"}
    if mode not in modes:
        raise writer.unsupported(f"mode {mode}", ", ".join(modes))
    given = [*node.inputs[2:], None, None][:2]
    fill = 0.0
    if given[0] is not None:
        fill = float(writer.required(given[0], "a fill").reshape(()))
    before, after = _amounts(writer, node, x, writer.ints(given[1]))
    numbers = [*before, *after]
    spatial = len(before) == 4 and all(
        isinstance(n, int) and n == 0 for n in (*before[:2], *after[:2])
    )
    if spatial and fill == 0 and mode == "constant" and all(isinstance(n, int) for n in numbers):
        return writer.layer(writer.network.add_padding_nd(x, before[2:], after[2:]))
    sizes = [
        writer.combine(writer.combine(size, front, "SUM"), behind, "SUM")
        for size, front, behind in zip(writer.sizes(x), before, after, strict=True)
    ]
    layer = _beyond(writer, x, before, sizes)
    layer.mode = getattr(writer.trt.SampleMode, modes[mode])
    if mode == "constant" and fill != 0:
        value = writer.scalar(fill, x, "fill")
        layer.set_input(4, writer.reshape(value, [], "fill"))
    return writer.layer(layer)


@converts("Expand")
def expand(writer: Writer, node: ir.Node) -> Tensor:
    """Write a broadcast: a slice that stands still where the size is 1."""
    target_sizes = entries(writer, node.inputs[1], "target")
    value = node.inputs[0]
    array = writer.array(value)
    own = len(target_sizes) if array is None else max(len(target_sizes), array.ndim)
    x = writer.tensor(value, rank=own)
    rank = len(x.shape)
    target_sizes = [1] * (rank - len(target_sizes)) + target_sizes
    # An input's free size is taken to be none that is broadcast: it would be a size of 1.
    sizes, steps = [], []
    for size, known, wish in zip(writer.sizes(x), x.shape, target_sizes, strict=True):
        steps.append(0 if known == 1 and not (isinstance(wish, int) and wish == 1) else 1)
        sizes.append(wish if known == 1 else size)
    return _strided(writer, x, sizes, steps)


@converts("ConstantOfShape")
def constant_of_shape(writer: Writer, node: ir.Node) -> Tensor:
    """Write one number broadcast to a shape."""
    sizes = entries(writer, node.inputs[0], "target")
    given = node.attributes.get("value")
    array = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
    ones = writer.constant(array.reshape([1] * len(sizes)), f"{writer.name}:value")
    return _strided(writer, ones, sizes, [0] * len(sizes))


def _strided(writer: Writer, x: Tensor, sizes: list[Size], steps: list[int]) -> Tensor:
    start = [0] * len(steps)
    if all(isinstance(size, int) for size in sizes):
        return writer.layer(writer.network.add_slice(x, start, sizes, steps))
    layer = writer.network.add_slice(x, start, [1] * len(steps), steps)
    layer.set_input(2, writer.shape_tensor(sizes))
    return writer.layer(layer)


def _beyond(writer: Writer, x: Tensor, before: list[Size], sizes: list[Size]) -> Any:
    """Return a slice layer that begins ``before`` its input; its mode is not set yet."""
    start = [-size if isinstance(size, int) else 0 for size in before]
    fixed = all(isinstance(size, int) for size in sizes)
    ones = [1] * len(sizes)
    layer = writer.network.add_slice(x, start, sizes if fixed else ones, ones)
    if not all(isinstance(size, int) for size in before):
        negative = [writer.combine(0, size, "SUB") for size in before]
        layer.set_input(1, writer.shape_tensor(negative))
    if not fixed:
        layer.set_input(2, writer.shape_tensor(sizes))
    return layer


def _amounts(
    writer: Writer, node: ir.Node, x: Tensor, axes: list[int] | None
) -> tuple[list[Size], list[Size]]:
    """Return how much is put before and behind each axis."""
    rank = len(x.shape)
    given = entries(writer, node.inputs[1], "pad")
    order = [axis % rank for axis in axes] if axes is not None else list(range(rank))
    before: list[Size] = [0] * rank
    after: list[Size] = [0] * rank
    for place, axis in enumerate(order):
        before[axis], after[axis] = given[place], given[place + len(order)]
    return before, after
