"""Move numbers between space and channels, and mirror borders: TensorFlow's orders."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.layers._base import Call
from segrt.importers.layers._inputs import wrong_input

_FAR = (1 << 63) - 1


def depth_to_space(call: Call, value: ir.Value, block: int) -> ir.Value:
    """`tf.nn.depth_to_space` of an N C H W value: channel (by * block + bx) * depth + c."""
    depth = static_shape(value)[1]
    if depth is not None and depth % (block * block):
        raise wrong_input(call, f"{depth} channels", f"a multiple of {block * block}")
    return call.op("DepthToSpace", [value], role="shuffled", blocksize=block, mode="DCR")


def space_to_depth(call: Call, value: ir.Value, block: int) -> ir.Value:
    """`tf.nn.space_to_depth` of an N C H W value: channel (by * block + bx) * depth + c."""
    if any(size is not None and size % block for size in static_shape(value)[2:]):
        raise wrong_input(call, f"an image of {static_shape(value)[2:]}", f"multiples of {block}")
    return call.op("SpaceToDepth", [value], role="packed", blocksize=block)


def mirror(
    call: Call, value: ir.Value, borders: Sequence[tuple[int, int]], *, with_edge: bool
) -> ir.Value:
    """Pad the last axes of ``value`` with their mirror image.

    Args:
        call: The layer's call.
        value: N C spatial...
        borders: (before, after) of each spatial axis.
        with_edge: Whether the edge itself is repeated: `tf.pad`'s SYMMETRIC, else REFLECT.
    """
    sizes = static_shape(value)[2:]
    for size, border in zip(sizes, borders, strict=True):
        if size is not None and max(border) > size - (0 if with_edge else 1):
            raise wrong_input(call, f"an image of {sizes}", f"more pixels than borders {borders}")
    if not with_edge:
        before, after = [b for b, _ in borders], [a for _, a in borders]
        pads = call.ints("pads", [0, 0, *before, 0, 0, *after])
        return call.op("Pad", [value, pads], role="mirrored", mode="reflect")
    for index, border in enumerate(borders):
        value = _symmetric(call, value, 2 + index, *border)
    return value


def _symmetric(call: Call, value: ir.Value, axis: int, before: int, after: int) -> ir.Value:
    """Mirror one axis, edges included: ONNX's Pad has no such mode."""
    axes, back = call.ints("axis", [axis]), call.ints("back", [-1])
    pieces = [value]
    if before:
        ends = [call.ints("before", [before - 1]), call.ints("stop", [-_FAR])]
        pieces.insert(0, call.op("Slice", [value, *ends, axes, back], role="front"))
    if after:
        ends = [call.ints("last", [-1]), call.ints("after", [-after - 1])]
        pieces.append(call.op("Slice", [value, *ends, axes, back], role="behind"))
    if len(pieces) == 1:
        return value
    return call.op("Concat", pieces, role="mirrored", axis=axis)
