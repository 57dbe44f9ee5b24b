"""Merge operations on values of any rank: moves into what reads them, steps with steps, products.

A move that is only read is no pass over memory: its readers walk through its source instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from segrt.cuda.kernels._access import Access, Instruction
from segrt.cuda.move_algebra import after_move, after_reshape, is_whole, permutation_of
from segrt.cuda.operations import Chain, Export, Operation, Program
from segrt.cuda.tensor_operations import Product, Reshape, Strided

# Operands of one pass: with more, threads want more registers than it is worth.
_MOST_OPERANDS = 6


def fuse_tensors(program: Program) -> Program:
    """Return a program that computes the same with fewer passes over memory."""
    # Products take transposes as such, before these become part of another walk.
    rules = (_transposed_operand, _transposed_result, _biased, _move, _steps)
    while True:
        found = next((made for rule in rules if (made := _first(program, rule))), None)
        if found is None:
            return program
        program = _without_unread(found)


Rule = Callable[[Program, Operation, Operation, int], "tuple[Operation, ...] | None"]


def _first(program: Program, rule: Rule) -> Program | None:
    """Apply a rule once, to a maker and a reader of it; the result replaces the reader.

    Where the maker is read once only, it is dropped as unread.
    """
    makers = {operation.output: operation for operation in program.operations}
    for place, reader in enumerate(program.operations):
        for index, name in enumerate(reader.inputs):
            maker = makers.get(name)
            merged = None if maker is None else rule(program, maker, reader, index)
            if merged is not None:
                kept = program.operations
                return replace(program, operations=(*kept[:place], *merged, *kept[place + 1 :]))
    return None


def _without_unread(program: Program) -> Program:
    kept: list[Operation] = []
    read: set[str] = set()
    for operation in reversed(program.operations):
        if isinstance(operation, Export) or operation.output in read:
            read |= set(operation.inputs)
            kept.append(operation)
    return replace(program, operations=tuple(kept[::-1]))


def _with_input(reader: Operation, index: int, name: str) -> tuple[str, ...]:
    return (*reader.inputs[:index], name, *reader.inputs[index + 1 :])


def _is_move(operation: Operation) -> bool:
    return isinstance(operation, Strided) and not operation.program and not operation.constants


def _move(
    program: Program, maker: Operation, reader: Operation, index: int
) -> tuple[Operation, ...] | None:
    """Let a pass read what was moved or only has other sizes where it came from."""
    if not isinstance(reader, Strided) or not isinstance(maker, (Strided, Reshape)):
        return None
    source, middle = program.shapes[maker.inputs[0]], program.shapes[maker.output]
    if isinstance(maker, Reshape):
        accesses = after_reshape(reader.accesses, index, middle, source)
    elif _is_move(maker) and maker.accesses[0].walk == middle:
        moved = after_move(reader.accesses[index], maker.accesses[0])
        before, behind = reader.accesses[:index], reader.accesses[index + 1 :]
        accesses = None if moved is None else (*before, moved, *behind)
    else:
        return None
    if accesses is None or not _same_type(program, maker):
        return None
    names = _with_input(reader, index, maker.inputs[0])
    return (replace(reader, inputs=names, accesses=accesses),)


def _same_type(program: Program, maker: Operation) -> bool:
    """Say whether what moves is kept as it was: in integers with a scale it may be rounded."""
    scales = (program.scales.get(maker.inputs[0]), program.scales.get(maker.output))
    return scales[0] == scales[1]


def _transposed_operand(
    program: Program, maker: Operation, reader: Operation, index: int
) -> tuple[Operation, ...] | None:
    """Let a product take an operand's axes in another order."""
    if not isinstance(reader, Product) or not isinstance(maker, Strided):
        return None
    order = permutation_of(maker.accesses[0], program.shapes[maker.inputs[0]])
    if not _is_move(maker) or order is None or not _same_type(program, maker):
        return None
    first = 0 not in reader.constants and index == 0
    letters = reader.left if first else reader.right
    moved = "".join(letters[order.index(axis)] for axis in range(len(order)))
    names = _with_input(reader, index, maker.inputs[0])
    if first:
        return (replace(reader, inputs=names, left=moved),)
    return (replace(reader, inputs=names, right=moved),)


def _transposed_result(
    program: Program, maker: Operation, reader: Operation, _index: int
) -> tuple[Operation, ...] | None:
    """Let a product write its result's axes in another order."""
    if not isinstance(maker, Product) or not isinstance(reader, Strided) or not _is_move(reader):
        return None
    order = permutation_of(reader.accesses[0], program.shapes[maker.output])
    if order is None or program.uses(maker.output) != 1 or maker.bias is not None:
        return None
    result = "".join(maker.result[axis] for axis in order)
    return (replace(maker, result=result, output=reader.output, sizes=reader.sizes),)


def _biased(
    program: Program, maker: Operation, reader: Operation, _index: int
) -> tuple[Operation, ...] | None:
    """Let a product multiply with a number, and add what differs along its last axis only."""
    if not isinstance(maker, Product) or program.uses(maker.output) != 1 or maker.bias is not None:
        return None
    factor, vector = _factor(reader), None
    if isinstance(reader, Strided) and len(reader.inputs) == 1:
        sizes = program.shapes[maker.output]
        if not is_whole(reader.accesses[0], sizes) or program.shapes[reader.output] != sizes:
            return None
        if [step.op for step in reader.program] == ["add"] and len(reader.constants) == 1:
            vector = reader.constants[0]
        if vector is not None and not vector.size == sizes[-1] == vector.shape[-1]:
            return None
    if factor is None and vector is None:
        return None
    bias = None if vector is None else vector.reshape(-1)
    return (replace(maker, output=reader.output, factor=maker.factor * (factor or 1.0), bias=bias),)


def _factor(reader: Operation) -> float | None:
    """Return the number that an operation multiplies with, if that is all it does."""
    op, number, order = "", 0.0, (0, 1)
    if isinstance(reader, Chain) and len(reader.steps) == len(reader.inputs) == 1:
        step = reader.steps[0]
        if step.other == "number":
            op, number = step.op, step.settings[0]
    elif isinstance(reader, Strided) and [s.op for s in reader.program[:1]] == ["number"]:
        alone = len(reader.inputs) == 1 and len(reader.program) == 2 and not reader.constants
        if alone and len(reader.program[1].registers) == 2:
            op, number = reader.program[1].op, reader.program[0].settings[0]
            order = (reader.program[1].registers[0], reader.program[1].registers[1])
    if op == "mul" and number:
        return number
    return 1 / number if op == "div" and number and order == (0, 1) else None


def _steps(
    program: Program, maker: Operation, reader: Operation, index: int
) -> tuple[Operation, ...] | None:
    """Join a pass to the one that reads all of its result as it is."""
    if not isinstance(maker, Strided) or not isinstance(reader, Strided):
        return None
    sizes = program.shapes[maker.output]
    alone = program.uses(maker.output) == 1 and is_whole(reader.accesses[index], sizes)
    alike = all(access.walk == sizes for access in (*maker.accesses, *reader.accesses))
    operands = len(maker.accesses) + len(reader.accesses) - 1
    plain = maker.output not in program.scales and maker.output not in program.types
    if not alone or not alike or not plain or operands > _MOST_OPERANDS:
        return None
    return (_joined(maker, reader, index),)


def _joined(maker: Strided, reader: Strided, index: int) -> Strided:
    inputs = (*reader.inputs[:index], *reader.inputs[index + 1 :], *maker.inputs)
    constants = (*reader.constants, *maker.constants)
    # Where each operand's number is found: computed operands come before the constants.
    dynamic, others = len(reader.inputs), len(inputs)
    registers: dict[int, int] = {}
    for old in range(len(reader.accesses)):
        if old < dynamic and old != index:
            registers[old] = old - (old > index)
        elif old >= dynamic:
            registers[old] = others + old - dynamic
    made: dict[int, int] = {}
    for old in range(len(maker.accesses)):
        if old < len(maker.inputs):
            made[old] = dynamic - 1 + old
        else:
            made[old] = others + len(reader.constants) + old - len(maker.inputs)
    steps: list[Instruction] = []
    first = len(inputs) + len(constants)
    for number, step in enumerate(maker.program, len(maker.accesses)):
        steps.append(_renamed(step, made))
        made[number] = first + len(steps) - 1
    last = len(maker.accesses) + len(maker.program) - 1
    registers[index] = made[last if maker.program else 0]
    for number, step in enumerate(reader.program, len(reader.accesses)):
        steps.append(_renamed(step, registers))
        registers[number] = first + len(steps) - 1
    if not reader.program and registers[index] != first + len(steps) - 1:
        steps.append(Instruction("identity", (registers[index],)))
    return replace(
        reader,
        inputs=inputs,
        constants=constants,
        accesses=_accesses(maker, reader, index),
        program=tuple(steps),
    )


def _renamed(step: Instruction, registers: dict[int, int]) -> Instruction:
    return replace(step, registers=tuple(registers[old] for old in step.registers))


def _accesses(maker: Strided, reader: Strided, index: int) -> tuple[Access, ...]:
    dynamic, own = len(reader.inputs), len(maker.inputs)
    return (
        *reader.accesses[:index],
        *reader.accesses[index + 1 : dynamic],
        *maker.accesses[:own],
        *reader.accesses[dynamic:],
        *maker.accesses[own:],
    )
