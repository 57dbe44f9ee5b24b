"""Slice, Pad and Expand: all three are TensorRT's slice layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts

_FREE = -1
# ONNX writes "to the end" as a number beyond any size.
_FAR = 1 << 31


@converts("Slice")
def slice_(writer: Writer, node: ir.Node) -> Tensor:
    """Write a cut with constant bounds; an axis of free size is not cut backwards."""
    x = writer.tensor(node.inputs[0])
    known = list(x.shape)
    rank = len(known)
    starts, ends = (writer.ints(value) for value in node.inputs[1:3])
    if starts is None or ends is None:
        raise writer.unsupported("bounds computed at run time", "constants")
    given = [*node.inputs[3:], None, None][:2]
    axes = writer.ints(given[0]) or list(range(len(starts)))
    steps = writer.ints(given[1]) or [1] * len(starts)
    full = writer.sizes(x)
    cuts = [Cut(size) for size in full]
    for start, end, place, stride in zip(starts, ends, axes, steps, strict=True):
        axis = place % rank
        if known[axis] != _FREE:
            taken = range(*slice(start, end, stride).indices(known[axis]))
            cuts[axis] = Cut(len(taken), taken.start, taken.step)
        elif stride > 0:
            cuts[axis] = _free_cut(writer, full[axis], start, end, stride)
        else:
            raise writer.unsupported("steps backwards on an axis of free size", "a fixed size")
    return _cut(writer, x, cuts)


@dataclass(frozen=True, slots=True)
class Cut:
    """What is taken along one axis: how many, from where, in what steps."""

    count: Size
    start: Size = 0
    step: int = 1


def _free_cut(writer: Writer, full: Size, start: int, end: int, stride: int) -> Cut:
    """Return a forward cut of a size that is known when the engine runs, by NumPy's rules."""

    def bound(place: int) -> Size:
        if place >= _FAR:
            return full
        if place >= 0:
            return writer.combine(place, full, "MIN")
        return writer.combine(writer.combine(full, -place, "SUB"), 0, "MAX")

    # A start behind the end would leave nothing, which no engine takes.
    first = start if start >= 0 else bound(start)
    length = writer.combine(bound(end), first, "SUB")
    if stride > 1:
        grown = writer.combine(length, stride - 1, "SUM")
        length = writer.combine(grown, stride, "FLOOR_DIV")
    return Cut(length, first, stride)


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
    target = writer.ints(node.inputs[1])
    if target is None:
        wanted = writer.tensor(node.inputs[1])
        length = wanted.shape[0]
        target_sizes: list[Size] = [
            writer.layer(writer.network.add_slice(wanted, (i,), (1,), (1,)), f"target{i}")
            for i in range(length)
        ]
    else:
        target_sizes = list(target)
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
    pads = writer.ints(node.inputs[1])
    given: list[Size]
    if pads is not None:
        given = list(pads)
    else:
        tensor = writer.tensor(node.inputs[1])
        given = [
            writer.layer(writer.network.add_slice(tensor, (i,), (1,), (1,)), f"pad{i}")
            for i in range(tensor.shape[0])
        ]
    order = [axis % rank for axis in axes] if axes is not None else list(range(rank))
    before: list[Size] = [0] * rank
    after: list[Size] = [0] * rank
    for place, axis in enumerate(order):
        before[axis], after[axis] = given[place], given[place + len(order)]
    return before, after
