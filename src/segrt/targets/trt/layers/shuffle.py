"""What moves elements and computes nothing: transposes, reshapes and pixel shuffles."""

from __future__ import annotations

import math

import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Transpose")
def transpose(writer: Writer, node: ir.Node) -> Tensor:
    """Write a permutation of the axes."""
    x = writer.tensor(node.inputs[0])
    reverse = list(range(len(x.shape)))[::-1]
    return writer.transpose(x, list(node.attributes.get_ints("perm", reverse)))


@converts("Reshape")
def reshape(writer: Writer, node: ir.Node) -> Tensor:
    """Write a reshape; 0 keeps a size, -1 is what is left."""
    x = writer.tensor(node.inputs[0])
    target = writer.ints(node.inputs[1])
    if node.attributes.get_int("allowzero", 0):
        raise writer.unsupported("allowzero", "0 keeps a size")
    if target is None:
        shuffle = writer.network.add_shuffle(x)
        shuffle.set_input(1, writer.tensor(node.inputs[1]))
        return writer.layer(shuffle)
    if -1 in x.shape:
        # TensorRT reads 0 and -1 as ONNX does.
        shuffle = writer.network.add_shuffle(x)
        shuffle.reshape_dims = target
        return writer.layer(shuffle)
    sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(x.shape) // rest
    return writer.reshape(x, sizes)


@converts("Flatten")
def flatten(writer: Writer, node: ir.Node) -> Tensor:
    """Write a reshape to two axes."""
    x = writer.tensor(node.inputs[0])
    axis = node.attributes.get_int("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    sizes = writer.sizes(x)
    return writer.reshape(x, [_product(writer, sizes[:axis]), _product(writer, sizes[axis:])])


@converts("Squeeze", "Unsqueeze")
def change_rank(writer: Writer, node: ir.Node) -> Tensor:
    """Write a reshape that takes out or puts in axes of size 1."""
    x = writer.tensor(node.inputs[0])
    sizes = writer.sizes(x)
    axes = writer.ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.op_type == "Squeeze":
        if axes is None:
            if -1 in x.shape:
                raise writer.unsupported("no axes on an image of free size", "axes")
            axes = [axis for axis, size in enumerate(sizes) if size == 1]
        gone = {axis % len(sizes) for axis in axes}
        if any(x.shape[axis] == -1 for axis in gone):
            raise writer.unsupported("an axis of free size", "axes of size 1")
        return writer.reshape(x, [size for axis, size in enumerate(sizes) if axis not in gone])
    if axes is None:
        raise writer.unsupported("axes computed at run time", "constants")
    rank = len(sizes) + len(axes)
    new, rest = {axis % rank for axis in axes}, iter(sizes)
    return writer.reshape(x, [1 if axis in new else next(rest) for axis in range(rank)])


@converts("DepthToSpace")
def depth_to_space(writer: Writer, node: ir.Node) -> Tensor:
    """Write a pixel shuffle: reshape, transpose, reshape."""
    x = writer.tensor(node.inputs[0])
    b = node.attributes.get_int("blocksize", 0)
    n, c, h, w = writer.sizes(x)
    column_row = node.attributes.get_string("mode", "DCR") == "CRD"
    depth = writer.combine(c, b * b, "FLOOR_DIV")
    apart: list[Size] = [n, depth, b, b, h, w] if column_row else [n, b, b, depth, h, w]
    axes = [0, 1, 4, 2, 5, 3] if column_row else [0, 3, 4, 1, 5, 2]
    y = writer.transpose(writer.reshape(x, apart, "apart"), axes, "mixed")
    tall, wide = (writer.combine(size, b, "PROD") for size in (h, w))
    return writer.reshape(y, [n, depth, tall, wide])


@converts("SpaceToDepth")
def space_to_depth(writer: Writer, node: ir.Node) -> Tensor:
    """Write the inverse of a pixel shuffle (DCR order)."""
    x = writer.tensor(node.inputs[0])
    b = node.attributes.get_int("blocksize", 0)
    n, c, h, w = writer.sizes(x)
    low, narrow = (writer.combine(size, b, "FLOOR_DIV") for size in (h, w))
    y = writer.reshape(x, [n, c, low, b, narrow, b], "apart")
    y = writer.transpose(y, [0, 3, 5, 1, 2, 4], "mixed")
    return writer.reshape(y, [n, writer.combine(c, b * b, "PROD"), low, narrow])


@converts("Identity", "Dropout")
def identity(writer: Writer, node: ir.Node) -> Tensor:
    """Write an identity: the value keeps a name of its own, the engine drops the layer."""
    return writer.layer(writer.network.add_identity(writer.tensor(node.inputs[0])))


def _product(writer: Writer, sizes: list[Size]) -> Size:
    result: Size = 1
    for size in sizes:
        result = size if isinstance(result, int) and result == 1 else _times(writer, result, size)
    return result


def _times(writer: Writer, a: Size, b: Size) -> Size:
    return writer.combine(a, b, "PROD")
