"""What readers of values of any rank share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.cuda.kernels._access import Access, Instruction, Move, broadcast, whole
from segrt.cuda.operations import Weights
from segrt.cuda.readers._base import constant
from segrt.cuda.tensor_operations import Strided


def sizes_of(value: ir.Value | None) -> tuple[int, ...]:
    """Return the sizes of a value, all of which are known."""
    assert value is not None
    assert value.shape is not None
    return tuple(int(str(size)) for size in value.shape)


def integers_in(node: ir.Node, index: int) -> tuple[int, ...] | None:
    """Return an input that is a list of constant integers; None where it is computed or absent."""
    array = constant(node.inputs[index]) if index < len(node.inputs) else None
    return None if array is None else tuple(int(number) for number in array.reshape(-1))


def is_given(node: ir.Node, index: int) -> bool:
    """Say whether a node has an optional input."""
    return index < len(node.inputs) and node.inputs[index] is not None


def axis_of(axis: int, rank: int) -> int:
    """Return an axis counted from the front."""
    return axis + rank if axis < 0 else axis


class Builder:
    """Collects the operands and steps of one `Strided` operation.

    Args:
        node: Whose inputs are the operands.
        layer: The Keras layer.
    """

    def __init__(self, node: ir.Node, layer: str) -> None:
        self._node, self._layer = node, layer
        self._target = sizes_of(node.outputs[0])
        self._inputs: list[tuple[str, Access]] = []
        self._constants: list[tuple[Weights, Access]] = []
        self._steps: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
        # Registers are numbered at the end: operands come first.
        self._registers: list[tuple[str, int]] = []

    def _register(self, kind: str, index: int) -> int:
        self._registers.append((kind, index))
        return len(self._registers) - 1

    def operand(self, index: int) -> int:
        """Take an input of the node, computed or constant; returns its register."""
        value = self._node.inputs[index]
        array = constant(value)
        if array is not None:
            return self.array(array)
        assert value is not None
        self._inputs.append((value.name or "", broadcast(sizes_of(value), self._target)))
        return self._register("input", len(self._inputs) - 1)

    def array(self, array: Weights) -> int:
        """Take a constant; returns its register."""
        if array.size == 1:
            return self.step("number", (), (float(array.reshape(-1)[0]),))
        plain = np.asarray(array, np.float32)
        self._constants.append((plain, broadcast(plain.shape, self._target)))
        return self._register("constant", len(self._constants) - 1)

    def step(self, op: str, registers: Sequence[int] = (), settings: Sequence[float] = ()) -> int:
        """Add a step; returns the register of its result."""
        self._steps.append((op, tuple(registers), tuple(settings)))
        return self._register("step", len(self._steps) - 1)

    def build(self) -> Strided:
        """Return the operation; its result is that of the last step, or the only operand."""
        begins = {"input": 0, "constant": len(self._inputs)}
        begins["step"] = begins["constant"] + len(self._constants)
        numbers = [begins[kind] + index for kind, index in self._registers]
        program = tuple(
            Instruction(op, tuple(numbers[register] for register in registers), settings)
            for op, registers, settings in self._steps
        )
        accesses = [access for _, access in (*self._inputs, *self._constants)]
        names = tuple(name for name, _ in self._inputs)
        arrays = tuple(array for array, _ in self._constants)
        output = self._node.outputs[0].name or ""
        return Strided(self._layer, names, output, tuple(accesses), program, arrays)


def moved(
    node: ir.Node, layer: str, moves: Sequence[Move | None], start: Sequence[int], output: int = 0
) -> Strided:
    """Return an operation that reads a node's first input along its output's axes."""
    value = node.inputs[0]
    assert value is not None
    target = node.outputs[output]
    access = Access(sizes_of(target), tuple(moves), tuple(start))
    return Strided(layer, (value.name or "",), target.name or "", (access,), ())


def copied(node: ir.Node, layer: str) -> Strided:
    """Return an operation that copies a node's first input."""
    value = node.inputs[0]
    assert value is not None
    names, output = (value.name or "",), node.outputs[0].name or ""
    return Strided(layer, names, output, (whole(sizes_of(value)),), ())
