"""Concatenation along any axis: each place reads the part that has it, the others give 0."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.kernels._access import Access, Instruction, Move
from segrt.cuda.operations import Operation, Weights
from segrt.cuda.readers._base import TENSORS, constant, integer
from segrt.cuda.readers._tensors import axis_of, sizes_of
from segrt.cuda.tensor_operations import Strided

# Parts of one launch: more would want more registers than it is worth.
_MOST = 8


@TENSORS.register("Concat")
def read_join(node: ir.Node, layer: str) -> tuple[Operation, ...]:
    """Read it as one operation; with many parts as several, each with the one before."""
    values = [value for value in node.inputs if value is not None]
    target, output = sizes_of(node.outputs[0]), node.outputs[0].name or ""
    axis = axis_of(integer(node, "axis", 0), len(target))
    parts: list[tuple[str | Weights, int]] = []
    for value in values:
        array = constant(value)
        name = value.name or "" if array is None else np.asarray(array, np.float32)
        parts.append((name, sizes_of(value)[axis]))
    found: list[Operation] = []
    while True:
        some, parts = parts[:_MOST], parts[_MOST:]
        length = sum(size for _, size in some)
        sizes = (*target[:axis], length, *target[axis + 1 :])
        if not parts:
            found.append(_joined(layer, some, output, sizes, axis))
            return tuple(found)
        name = f"{output}:part{len(found)}"
        found.append(_joined(layer, some, name, sizes, axis))
        parts.insert(0, (name, length))


def _joined(
    layer: str,
    parts: list[tuple[str | Weights, int]],
    output: str,
    sizes: tuple[int, ...],
    axis: int,
) -> Strided:
    names: list[tuple[str, Access]] = []
    arrays: list[tuple[Weights, Access]] = []
    begin = 0
    for part, size in parts:
        places = (-1,) * begin + tuple(range(size)) + (-1,) * (sizes[axis] - begin - size)
        moves = [Move(each, indices=places if each == axis else None) for each in range(len(sizes))]
        access = Access(sizes, tuple(moves), (0,) * len(sizes))
        begin += size
        if isinstance(part, str):
            names.append((part, access))
        else:
            arrays.append((part, access))
    operands = len(parts)
    sums = [(0, 1), *((operands + step - 1, step + 1) for step in range(1, operands - 1))]
    program = tuple(Instruction("add", pair) for pair in sums[: operands - 1])
    return Strided(
        layer,
        tuple(name for name, _ in names),
        output,
        tuple(access for _, access in (*names, *arrays)),
        program,
        tuple(array for array, _ in arrays),
        sizes=sizes,
    )
