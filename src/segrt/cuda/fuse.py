"""Merge operations: a convolution with its activation, chains with chains, phases in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from segrt.cuda.fuse_activations import fuse_activations
from segrt.cuda.fuse_chains import fuse_chains
from segrt.cuda.fuse_images import IMAGE_RULES
from segrt.cuda.fuse_residuals import fuse_residuals
from segrt.cuda.fuse_tensors import fuse_tensors
from segrt.cuda.heads import decisions, is_head
from segrt.cuda.image_operations import Softmax
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import (
    Chain,
    Convolution,
    Export,
    Import,
    MergedUpsampling,
    Operation,
    Program,
    Shuffle,
)
from segrt.cuda.pixels import prepare_pixels
from segrt.cuda.transposed_phases import merge_transposed, with_relu


def fuse(program: Program) -> Program:
    """Return a program that computes the same with fewer passes over memory."""
    program = fuse_tensors(program)
    for rule in (_identities, *IMAGE_RULES):
        program = _merge(program, rule)
    # Before additions are joined to what follows them, and before ReLUs to convolutions.
    program = fuse_residuals(program)
    for rule in (_activations, decisions, _chains_apart):
        program = _merge(program, rule)
    program = fuse_chains(program)
    for rule in (_chains, _phases, _merged):
        program = _merge(program, rule)
    program = _merge(merge_transposed(program), _merged_relu)
    return fuse_activations(prepare_pixels(program))


# Images that one pass reads: with more, vectors no longer fit into registers.
_MOST_IMAGES = 4

Rule = Callable[[Operation, Operation], "tuple[Operation, ...] | None"]


def _merge(program: Program, rule: Rule) -> Program:
    """Apply ``rule`` to every pair of a value's maker and its only reader."""
    kept: list[Operation] = []
    for reader in program.operations:
        maker = next((op for op in kept if reader.inputs and op.output == reader.inputs[0]), None)
        alone = maker is not None and program.uses(maker.output) == 1
        merged = rule(maker, reader) if maker is not None and alone else None
        if merged is None or maker is None:
            kept.append(reader)
            continue
        index = kept.index(maker)
        # One operation replaces both, at the reader's place: its other inputs exist only then.
        if len(merged) == 1:
            del kept[index]
            kept.append(merged[0])
        else:
            kept[index] = merged[0]
            kept.append(merged[1])
    return replace(program, operations=tuple(kept))


def _identities(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    """Let a value be made under the name, and so in the type, in which it is read."""
    if not isinstance(reader, Chain) or isinstance(maker, (Import, Export)):
        return None
    plain = len(reader.inputs) == 1 and all(step.op == "identity" for step in reader.steps)
    return (replace(maker, output=reader.output),) if plain else None


def _activations(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    if not isinstance(maker, Convolution) or maker.activation != "none":
        return None
    if isinstance(reader, Softmax) and is_head(maker) and not reader.logarithm:
        return (replace(maker, output=reader.output, activation="softmax"),)
    if not isinstance(reader, Chain) or len(reader.steps) != 1 or len(reader.inputs) != 1:
        return None
    op = reader.steps[0].op
    if op == "relu":
        return (replace(maker, output=reader.output, activation="relu"),)
    if op == "sigmoid" and is_head(maker):
        return (replace(maker, output=reader.output, activation="sigmoid"),)
    return None


def _chains(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    if not isinstance(maker, Chain) or not isinstance(reader, Chain):
        return None
    inputs = maker.inputs + reader.inputs[1:]
    if len(inputs) > _MOST_IMAGES:
        return None
    steps = maker.steps + reader.steps
    return (
        replace(
            reader, inputs=inputs, steps=_without_identity(steps),
            vectors=maker.vectors + reader.vectors,
        ),
    )  # fmt: skip


def _chains_apart(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    """Join chains that read images of their own; `fuse_chains` has others read theirs once."""
    return None if set(maker.inputs) & set(reader.inputs[1:]) else _chains(maker, reader)


def _without_identity(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(step for step in steps if step.op != "identity") or (Step("identity"),)


def _phases(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    """Order a convolution's channels by phase, so that the shuffle moves whole vectors."""
    if not isinstance(maker, Convolution) or not isinstance(reader, Shuffle):
        return None
    # What is added would have to be in the same order.
    if reader.phase_first or maker.groups != 1 or maker.residual:
        return None
    order = np.arange(len(maker.bias)).reshape(-1, reader.block**2).T.reshape(-1)
    scales = None if maker.scales is None else maker.scales[order]
    return (
        replace(maker, kernel=maker.kernel[order], bias=maker.bias[order], scales=scales),
        replace(reader, phase_first=True),
    )


def _merged(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    """Join a convolution to phases with their shuffle: the phases need not be stored."""
    if not isinstance(maker, Convolution) or not isinstance(reader, Shuffle):
        return None
    plain = maker.stride == maker.dilation == (1, 1) and maker.groups == 1
    # Only the kernel of last layers knows other activations.
    plain = plain and not maker.residual and maker.activation in ("none", "relu")
    if not plain or not reader.phase_first or reader.block != 2:
        return None
    return (MergedUpsampling(reader.layer, maker.inputs, reader.output, maker),)


def _merged_relu(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    """Let the phases cut off at zero: a ReLU behind a normalization, whose values have a name."""
    if not isinstance(maker, MergedUpsampling) or not isinstance(reader, Chain):
        return None
    if maker.convolution.activation != "none" or reader.steps != (Step("relu"),):
        return None
    return (with_relu(maker, reader.output),)
