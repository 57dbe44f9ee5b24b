"""Blocks of pixels moved into the batch and back, as TensorFlow spells dilated convolutions.

https://www.tensorflow.org/api_docs/python/tf/space_to_batch and ``batch_to_space``: the batch
counts the places in a block first, then the images.
"""

from __future__ import annotations

import numpy as np

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import integers, tensor
from segrt.importers.operations.padding import padded


@operation(
    "tf:space_to_batch_nd|space_to_batch(input>x, block_shape>block, paddings)",
    "node:SpaceToBatchND(input>x, block_shape>block, paddings)",
)
def space_to_batch(call: Call, x: Operand, block: Operand, paddings: Operand) -> Tensor:
    """Part the axes behind the batch into blocks; each place in a block is an image."""
    x = tensor(call, x)
    blocks = integers(call, "block_shape", block)
    pairs = _pairs(call, "paddings", paddings, len(blocks))
    none = [(0, 0)] * (x.rank - 1 - len(blocks))
    x = padded(call, x, [(0, 0), *pairs, *none], "constant", 0.0)
    sizes, rest = _sizes(call, x, blocks)
    if any(size % count for size, count in zip(sizes, blocks, strict=True)):
        raise call.unsupported("paddings", pairs, f"sizes that {blocks} divides, not {sizes}")
    small = [size // count for size, count in zip(sizes, blocks, strict=True)]
    parted = [n for pair in zip(small, blocks, strict=True) for n in pair]
    count = len(blocks)
    perm = [2 * i + 2 for i in range(count)] + [0] + [2 * i + 1 for i in range(count)]
    perm += [1 + 2 * count + i for i in range(len(rest))]
    return _moved(call, x, [-1, *parted, *rest], perm, [-1, *small, *rest])


@operation(
    "tf:batch_to_space_nd|batch_to_space(input|images>x, block_shape>block, crops)",
    "node:BatchToSpaceND(input>x, block_shape>block, crops)",
)
def batch_to_space(call: Call, x: Operand, block: Operand, crops: Operand) -> Tensor:
    """Put the images of each block's places back side by side, and crop."""
    x = tensor(call, x)
    blocks = integers(call, "block_shape", block)
    pairs = _pairs(call, "crops", crops, len(blocks))
    sizes, rest = _sizes(call, x, blocks)
    large = [size * count for size, count in zip(sizes, blocks, strict=True)]
    count = len(blocks)
    perm = [count] + [n for i in range(count) for n in (count + 1 + i, i)]
    perm += [1 + 2 * count + i for i in range(len(rest))]
    whole = _moved(call, x, [*blocks, -1, *sizes, *rest], perm, [-1, *large, *rest])
    if not any(first or last for first, last in pairs):
        return whole
    value = call.op(
        "Slice",
        [
            whole.value,
            call.ints("starts", [first for first, _ in pairs]),
            call.ints("ends", [n - last for n, (_, last) in zip(large, pairs, strict=True)]),
            call.ints("axes", list(range(1, 1 + count))),
        ],
        role="cropped",
    )
    return Tensor(value, Layout.SOURCE)


def _moved(call: Call, x: Tensor, parted: list[int], perm: list[int], joined: list[int]) -> Tensor:
    value = call.op("Reshape", [call.source(x), call.ints("parts", parted)], role="parted")
    value = call.op("Transpose", [value], role="moved", perm=perm)
    value = call.op("Reshape", [value, call.ints("whole", joined)], role="joined")
    return Tensor(value, Layout.SOURCE)


def _sizes(call: Call, x: Tensor, blocks: list[int]) -> tuple[list[int], list[int]]:
    """Return the sizes of the axes that the blocks lie on, and those behind them."""
    if not blocks or len(blocks) >= x.rank or any(count < 1 for count in blocks):
        raise call.unsupported("block_shape", blocks, f"1 to {x.rank - 1} numbers")
    sizes = [size for size in x.shape[1:] if size is not None]
    if len(sizes) < x.rank - 1:
        raise call.unsupported("the input's sizes", x.shape, "known sizes")
    return sizes[: len(blocks)], sizes[len(blocks) :]


def _pairs(call: Call, name: str, pairs: Operand, count: int) -> list[tuple[int, int]]:
    found = integers(call, name, pairs)
    if len(found) != 2 * count or min(found, default=0) < 0:
        raise call.unsupported(name, found, f"{count} pairs of 0 or more")
    table = np.reshape(found, (count, 2)).tolist()
    return [(first, last) for first, last in table]
