"""Join activations that are no ReLU to what they follow, if only they read it.

By itself such a pass reads an image and writes it again; in ways that compute both it is free.
"""

from __future__ import annotations

from dataclasses import replace

from segrt.cuda.epilogues import is_activation
from segrt.cuda.image_operations import GroupNormalize, Slices
from segrt.cuda.operations import (
    ActivatedConvolution,
    Chain,
    Convolution,
    Export,
    Operation,
    Program,
    TransposedConvolution,
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
        joined = ActivatedConvolution(maker.layer, maker.inputs, reader.output, maker, reader.steps)
        kept.append(joined)
    return replace(program, operations=tuple(kept))


def _maker(
    program: Program, kept: list[Operation], reader: Operation
) -> Convolution | TransposedConvolution | GroupNormalize | None:
    """Return the convolution or normalization that can take a chain over."""
    if not isinstance(reader, Chain) or len(reader.inputs) != 1:
        return None
    if not is_activation(reader.steps) or _is_kept_otherwise(program, reader):
        return None
    makers = {operation.output: operation for operation in kept}
    maker = makers.get(reader.inputs[0])
    if isinstance(maker, GroupNormalize):
        return maker if not maker.steps and program.uses(maker.output) == 1 else None
    if not isinstance(maker, (Convolution, TransposedConvolution)):
        return None
    bare = isinstance(maker, TransposedConvolution) or (
        maker.activation == maker.decision == "none" and maker.scales is None
    )
    slices = isinstance(makers.get(maker.inputs[0]), Slices)
    return maker if bare and not slices and program.uses(maker.output) == 1 else None


def _is_kept_otherwise(program: Program, reader: Chain) -> bool:
    """Say whether a chain writes or reads another type than the engine computes in."""
    names = {*reader.inputs, reader.output}
    # A pass writes what leaves the network in full precision.
    leaves = any(isinstance(op, Export) and reader.output in op.inputs for op in program.operations)
    return leaves or bool(names & (program.types.keys() | program.dense))
