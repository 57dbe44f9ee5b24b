"""Join activations that are no ReLU to what they follow, if only they read it.

By itself such a pass reads an image and writes it again; in ways that compute both it is free.
"""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.affine import split
from segrt.cuda.epilogues import Sliding, is_activation
from segrt.cuda.image_operations import GroupNormalize, Slices
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import (
    ActivatedConvolution,
    Chain,
    Convolution,
    Export,
    Join,
    Operation,
    Program,
    TransposedConvolution,
    Weights,
)


def fuse_activations(program: Program) -> Program:
    """Return a program whose convolutions and normalizations activate what they make.

    Graphs in integers stay as they are, and volumes, which are convolved in parts.
    """
    if program.scales:
        return program
    kept: list[Operation] = []
    for reader in program.operations:
        maker = _maker(program, kept, reader)
        if maker is None or not isinstance(reader, Chain):
            kept.append(reader)
            continue
        kept.remove(maker)
        if isinstance(maker, GroupNormalize):
            kept.append(replace(maker, output=reader.output, steps=reader.steps))
            continue
        steps, vectors = _in_order(program, reader)
        kept.append(
            ActivatedConvolution(maker.layer, maker.inputs, reader.output, maker, steps, vectors)
        )
    return replace(program, operations=tuple(kept))


def _maker(
    program: Program, kept: list[Operation], reader: Operation
) -> Convolution | TransposedConvolution | GroupNormalize | None:
    """Return the convolution or normalization that can take a chain over."""
    if not isinstance(reader, Chain) or len(reader.inputs) != 1:
        return None
    makers = {operation.output: operation for operation in kept}
    maker = makers.get(reader.inputs[0])
    if maker is None or program.uses(maker.output) != 1 or _is_kept_otherwise(program, reader):
        return None
    if isinstance(maker, GroupNormalize):
        return maker if not maker.steps and is_activation(reader.steps) else None
    if not isinstance(maker, (Convolution, TransposedConvolution)):
        return None
    if not _takes(program, maker, reader):
        return None
    slices = isinstance(makers.get(maker.inputs[0]), Slices)
    return maker if not slices and _in_order(program, reader)[0] else None


def _takes(program: Program, maker: Sliding, reader: Chain) -> bool:
    """Say whether a convolution has nothing else behind it, but perhaps a ReLU before factors."""
    joined = any(isinstance(op, Join) and reader.output in op.inputs for op in program.operations)
    if maker.scales is not None:
        return False
    if isinstance(maker, Convolution):
        # What alone can prepare pixels writes vectors; in a slice these might not be aligned.
        prepares = maker.ranges is not None or maker.inputs[0] in program.types
        if maker.decision != "none" or (prepares and joined):
            return False
    front = split(reader.steps, reader.vectors, len(maker.bias))
    relu = maker.activation == "relu" and front is not None and not front[0]
    return relu or maker.activation == "none"


def _in_order(program: Program, reader: Chain) -> tuple[tuple[Step, ...], tuple[Weights, ...]]:
    """Return a chain as an activation with factors and shifts behind it; nothing: it is none."""
    found = split(reader.steps, reader.vectors, program.shapes[reader.output][1])
    if found is None or (found[0] and not is_activation(found[0])):
        return (), ()
    front, affine = found
    return (*front, *affine.steps), affine.vectors


def _is_kept_otherwise(program: Program, reader: Chain) -> bool:
    """Say whether a chain writes or reads another type than the engine computes in."""
    names = {*reader.inputs, reader.output}
    # A pass writes what leaves the network in full precision.
    leaves = any(isinstance(op, Export) and reader.output in op.inputs for op in program.operations)
    return leaves or bool(names & (program.types.keys() | program.dense))
