"""Joining and parting tensors: concat, stack, split, unstack; tile and repeat."""

from __future__ import annotations

import numpy as np

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.layers._inputs import common_layout
from segrt.importers.operations._axes import (
    inserted,
    items_of,
    order_of,
    picked,
    shaped,
    squeezed,
    vector,
)
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    axis_of,
    contents,
    integer,
    integers,
    remember,
    sizes_of,
    tensor,
    tensors,
)
from segrt.importers.operations.shaping import reshaped


def concatenated(call: Call, xs: list[Tensor], axis: int) -> Tensor:
    """Join tensors of one rank along an axis of Keras' order."""
    if len(xs) == 1:
        return xs[0]
    layout = common_layout(xs)
    values = [call.in_layout(x, layout) for x in xs]
    at = call.stored_axis(Tensor(values[0], layout), axis)
    result = Tensor(call.op("Concat", values, role="concat", axis=at), layout)
    parts = [contents(x) for x in xs]
    if all(part is not None and part.ndim == 1 for part in parts):
        remember(result, np.concatenate([part for part in parts if part is not None]))
    return result


@operation(
    "tf:concat|concat_v2(values, axis)",
    "node:ConcatV2(*values, axis)",
    "keras:Concatenate(xs>values, axis=0)",
)
def concat(call: Call, values: list[Operand], axis: Operand) -> Tensor:
    """Join along an axis; empty lists among tensors add nothing."""
    given = [x for x in values if not (isinstance(x, list) and not x)]
    xs = tensors(call, given)
    return concatenated(call, xs, axis_of(call, xs[0], axis))


@operation("node:Concat(concat_dim>axis, *values)")
def concat_v1(call: Call, axis: Operand, values: list[Operand]) -> Tensor:
    """Join along an axis, which stands in front."""
    xs = tensors(call, values)
    return concatenated(call, xs, axis_of(call, xs[0], axis))


@operation(
    "tf:stack(values, axis=0)", "node:Pack(*values, axis=0)", "keras:Stack(x|xs>values, axis=0)"
)
def stack(call: Call, values: list[Operand], axis: Operand) -> Tensor:
    """Join along a new axis."""
    xs = tensors(call, values)
    rank = xs[0].rank + 1
    at = integer(call, "axis", axis)
    if not -rank <= at < rank:
        raise call.unsupported("axis", at, f"an axis of {rank}")
    rows = [remember(inserted(call, x, [at % rank]), _row(contents(x))) for x in xs]
    return concatenated(call, rows, at % rank)


def _row(known: object) -> np.ndarray | None:
    return known.reshape(1) if isinstance(known, np.ndarray) and not known.ndim else None


@operation("keras:Hstack(xs)")
def hstack(call: Call, xs: list[Operand]) -> Tensor:
    """Join along axis 1."""
    items = tensors(call, xs)
    return concatenated(call, items, min(1, items[0].rank - 1))


@operation("keras:Vstack(xs)")
def vstack(call: Call, xs: list[Operand]) -> Tensor:
    """Join along axis 0."""
    return concatenated(call, tensors(call, xs), 0)


@operation(
    "tf:split(value>x, num_or_size_splits>parts, axis=0, num=None)",
    "node:Split(split_dim>axis, value>x, num_split>parts)",
    "node:SplitV(value>x, size_splits>parts, split_dim>axis, num_split>num=None)",
)
def split(
    call: Call, x: Operand, parts: Operand, axis: Operand, num: Operand = None
) -> list[Tensor]:
    """Part an axis: into so many equal parts, or into these sizes."""
    x = tensor(call, x)
    at = axis_of(call, x, axis)
    found = integers(call, "num_or_size_splits", parts)
    size = x.shape[at]
    if np.ndim(contents(parts)) == 0:  # type: ignore[arg-type]
        if size is None or size % found[0]:
            raise call.unsupported("num_or_size_splits", found, f"a divisor of {size}")
        found = [size // found[0]] * found[0]
    elif -1 in found:
        if size is None or found.count(-1) > 1:
            raise call.unsupported("num_or_size_splits", found, "known sizes")
        rest = size - sum(item for item in found if item != -1)
        found = [rest if item == -1 else item for item in found]
    return parted(call, x, at, found)


@operation(
    "keras:Split|ArraySplit(x, indices_or_sections>sections, axis=0)",
)
def split_at(call: Call, x: Operand, sections: Operand, axis: Operand) -> list[Tensor]:
    """Part an axis: into so many equal parts, or before these indices."""
    x = tensor(call, x)
    at = axis_of(call, x, axis)
    size = x.shape[at]
    if size is None:
        raise call.unsupported("axis", at, "an axis of known size")
    found = integers(call, "indices_or_sections", sections)
    if np.ndim(contents(sections)) == 0:  # type: ignore[arg-type]
        lengths = [len(part) for part in np.array_split(np.arange(size), found[0])]
        if "ArraySplit" not in call.class_name and len(set(lengths)) > 1:
            raise call.unsupported("indices_or_sections", found, f"a divisor of {size}")
        return parted(call, x, at, lengths)
    return parted(call, x, at, np.diff([0, *found, size]).tolist())


def parted(call: Call, x: Tensor, axis: int, sizes: list[int]) -> list[Tensor]:
    """Part an axis into these sizes."""
    if len(sizes) == 1:
        return [x]
    if any(size < 1 for size in sizes):
        raise call.unsupported("the sizes of a split", sizes, "one or more each")
    values = call.ops(
        "Split",
        [x.value, call.ints("split", sizes)],
        outputs=len(sizes),
        role="part",
        axis=call.stored_axis(x, axis),
    )
    known = contents(x)
    ends = np.cumsum(sizes).tolist()
    return [
        remember(
            Tensor(value, x.layout),
            None if known is None or known.ndim != 1 else known[end - size : end],
        )
        for value, size, end in zip(values, sizes, ends, strict=True)
    ]


@operation(
    "tf:unstack(value>x, num=None, axis=0)",
    "node:Unpack(value>x, num=None, axis=0)",
    "keras:Unstack(x, num=None, axis=0)",
)
def unstack(call: Call, x: Operand, num: Operand, axis: Operand) -> list[Tensor]:
    """Part an axis into single indices and drop it."""
    x = tensor(call, x)
    at = axis_of(call, x, axis)
    size = x.shape[at] if x.shape[at] is not None else num
    if size is None:
        raise call.unsupported("axis", at, "an axis of known size")
    parts = parted(call, x, at, [1] * int(size))
    return [remember(squeezed(call, part, [at]), _single(contents(part))) for part in parts]


def _single(known: object) -> np.ndarray | None:
    return known.reshape(()) if isinstance(known, np.ndarray) and known.size == 1 else None


@operation(
    "tf:tile(input>x, multiples)",
    "node:Tile(input>x, multiples)",
    "keras:Tile(x, repeats>multiples)",
)
def tile(call: Call, x: Operand, multiples: Operand) -> Tensor:
    """Repeat the whole tensor along axes."""
    x = tensor(call, x)
    items = items_of(call, "multiples", multiples)
    x = inserted(call, x, list(range(len(items) - x.rank)))
    counts: Operand = multiples if len(items) == x.rank else [1] * (x.rank - len(items)) + items
    repeats = picked(call, "repeats", vector(call, "multiples", counts), order_of(x))
    value = call.op("Tile", [x.value, repeats], role="tiled")
    items = items_of(call, "multiples", counts)
    sizes = [_times(*pair) for pair in zip(sizes_of(x).tolist(), items, strict=True)]
    return Tensor(shaped(value, [sizes[axis] for axis in order_of(x)]), x.layout)


def _times(size: object, count: object) -> int | str | None:
    if isinstance(size, int) and isinstance(count, int):
        return size * count
    if count == 1 and isinstance(size, str):
        return size
    return count if size == 1 and isinstance(count, str) else None


@operation(
    "tf:repeat(input|x>x, repeats|rep>repeats, axis=None)", "keras:Repeat(x, repeats, axis=None)"
)
def repeat(call: Call, x: Operand, repeats: Operand, axis: Operand) -> Tensor:
    """Repeat each element along an axis."""
    x = tensor(call, x)
    if axis is None:
        x, axis = reshaped(call, x, [-1]), 0
    at, counts = axis_of(call, x, axis), integers(call, "repeats", repeats)
    size = x.shape[at]
    if len(counts) > 1 and size != len(counts):
        raise call.unsupported("repeats", counts, f"one number, or {size}")
    image = x.layout is Layout.CHANNELS_FIRST and x.rank == 4 and 0 < at < 3
    if image and len(set(counts)) == 1:
        # Nearest upsampling by another name: a Resize is what targets know it as.
        scales = np.ones(4, dtype=np.float32)
        scales[call.stored_axis(x, at)] = counts[0]
        value = call.op(
            "Resize",
            [x.value, None, call.constant("scales", scales)],
            role="repeated",
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        return Tensor(value, x.layout)
    if size is None:
        return _repeat_free(call, x, at, counts[0])
    indices = np.repeat(np.arange(size), counts if len(counts) > 1 else counts[0]).tolist()
    stored = call.stored_axis(x, at)
    value = call.op(
        "Gather", [x.value, call.ints("indices", indices)], role="repeated", axis=stored
    )
    return Tensor(value, x.layout)


def _repeat_free(call: Call, x: Tensor, axis: int, count: int) -> Tensor:
    """Repeat along an axis of unknown size: a new axis behind it, and both made one."""
    row = call.op("Unsqueeze", [call.source(x), call.ints("axes", [axis + 1])], role="row")
    counts = [1] * (x.rank + 1)
    counts[axis + 1] = count
    tiled = call.op("Tile", [row, call.ints("counts", counts)], role="tiled")
    sizes = call.op("Shape", [call.source(x)], role="sizes")
    parts = [picked(call, "size", sizes, [at]) for at in range(x.rank)]
    parts[axis] = call.ints("all", [-1])
    target = call.op("Concat", parts, role="target", axis=0)
    value = call.op("Reshape", [tiled, target], role="repeated")
    known = sizes_of(x).tolist()
    known[axis] = None
    return Tensor(shaped(value, known), Layout.SOURCE)
