"""Split: several slices of one tensor."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Split")
def split(writer: Writer, node: ir.Node) -> tuple[Tensor, ...]:
    """Write one slice a part; the parts' sizes are constants, or all but the last are equal."""
    x = writer.tensor(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % len(x.shape)
    parts = _parts(writer, node, x.shape[axis])
    full, begin, tensors = writer.sizes(x), 0, []
    for index, part in enumerate(parts):
        start = [0] * len(full)
        start[axis] = begin
        sizes: list[Size] = [part if place == axis else size for place, size in enumerate(full)]
        fixed = all(isinstance(size, int) for size in sizes)
        ones = [1] * len(full)
        layer = writer.network.add_slice(x, start, sizes if fixed else ones, ones)
        if not fixed:
            layer.set_input(2, writer.shape_tensor(sizes))
        tensors.append(writer.layer(layer, f"part{index}" if index else ""))
        begin += part
    return tuple(tensors)


def _parts(writer: Writer, node: ir.Node, length: int) -> list[int]:
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        found = writer.ints(given)
        if found is None:
            raise writer.unsupported("sizes computed at run time", "constants")
        return found
    if length < 0:
        raise writer.unsupported("equal parts of an axis of free size", "sizes of the parts")
    count = len(node.outputs)
    each = -(-length // count)
    return [min(each, length - index * each) for index in range(count)]
