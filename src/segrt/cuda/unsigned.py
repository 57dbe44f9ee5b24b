"""Keep integers that are never negative without a sign: twice as fine, at no cost.

Behind a ReLU half the numbers of a signed type are never used. The integers are only then doubled
if all that read and write them can: Hopper's own kernels multiply unsigned images by signed
weights, the library's do not. What a graph's quantisation can say remains exact.
"""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.operations import (
    Chain,
    Convolution,
    Export,
    Import,
    Join,
    MergedUpsampling,
    Operation,
    Pool,
    Program,
    Shuffle,
    Upsample,
)
from segrt.cuda.plan import first_spec, phase_int8_spec, resident_int8_spec
from segrt.cuda.views import View

_HOPPER = (9, 0)


def drop_signs(program: Program, capability: tuple[int, int]) -> Program:
    """Return a program whose integers are unsigned, with half the scale, where they can be."""
    if capability != _HOPPER or not program.scales:
        return program
    chosen = _never_negative(program) & program.scales.keys()
    while True:
        refused = {
            name
            for operation in program.operations
            for name in (*operation.inputs, operation.output)
            if name in chosen and not _allows(program, operation, name, chosen)
        }
        if not refused:
            break
        chosen -= refused
    scales = {
        name: scale / 2 if name in chosen else scale for name, scale in program.scales.items()
    }
    return replace(program, scales=scales, unsigned=frozenset(chosen))


def _never_negative(program: Program) -> set[str]:
    """Return the values that a ReLU made, or what only moves, picks or averages such."""
    found: set[str] = set()
    for operation in program.operations:
        inner = operation.convolution if isinstance(operation, MergedUpsampling) else operation
        if isinstance(inner, Convolution):
            positive = inner.activation == "relu"
        elif isinstance(operation, Chain):
            positive = operation.steps[-1].op == "relu"
        else:
            moves = isinstance(operation, (Pool, Upsample, Shuffle, Join))
            positive = moves and all(name in found for name in operation.inputs)
        if positive:
            found.add(operation.output)
    return found


def _allows(program: Program, operation: Operation, name: str, chosen: set[str]) -> bool:
    """Say whether an operation can read or write ``name`` without a sign."""
    if isinstance(operation, (Pool, Chain, Import, Export)):
        return True
    if isinstance(operation, (Join, Upsample, Shuffle)):
        # What lies in one piece of memory, or is moved as it is, has one type.
        return all(other in chosen for other in (*operation.inputs, operation.output))
    target = _view(program, operation.output)
    if isinstance(operation, MergedUpsampling):
        return phase_int8_spec(operation, _view(program, operation.inputs[0]), target) is not None
    if not isinstance(operation, Convolution):
        return False
    source = _view(program, operation.inputs[0])
    if name == operation.output and first_spec(operation, source, target) is not None:
        return True
    return resident_int8_spec(operation, source, target) is not None


def _view(program: Program, name: str) -> View:
    """Return a value by itself; a sign makes no difference to what takes it."""
    return View.of(program.shapes[name], "int8" if name in program.scales else "fp16")
